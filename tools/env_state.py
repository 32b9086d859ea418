"""What a virtual environment holds, for tools/setup_env.sh.

    python tools/env_state.py repair               undo what a kill left
    python tools/env_state.py save FILE            remember what is installed
    python tools/env_state.py changed FILE         since `save`
    python tools/env_state.py lacks CONSTRAINTS NAME...

Each prints one line per finding; no line means that all is OK. Run with the
environment's own interpreter, it needs nothing installed, not even pip.
"""

import csv
import json
import re
import shutil
import sys
import sysconfig
from importlib.metadata import Distribution, distributions
from pathlib import Path

SITE = Path(sysconfig.get_path('purelib'))


def normalized(name: str) -> str:
    """The name as package indexes compare it (PEP 503)."""
    return re.sub(r'[-_.]+', '-', name).lower()


def installed() -> dict[str, str]:
    """Name and version of everything in this environment, by name."""
    found = {}
    for dist in distributions(path=[str(SITE)]):
        if dist.metadata['Name']:
            found[normalized(dist.metadata['Name'])] = dist.version
    return found


def whole(dist: Distribution) -> bool:
    """Whether every file that pip recorded is there.

    pip writes RECORD last, so a killed installation has none. Byte code may
    come and go. `dist.files` will not do: from Python 3.12 on it leaves out
    what is missing.
    """
    rows = list(csv.reader((dist.read_text('RECORD') or '').splitlines()))
    return bool(rows) and all(
        row[0].endswith('.pyc') or Path(dist.locate_file(row[0])).exists()
        for row in rows
        if row
    )


def repair() -> list[str]:
    """Make pip see half-installed packages as absent; what was so.

    pip takes a package for installed once its metadata folder exists, and
    moves what it is replacing to folders that begin with a tilde.
    """
    undone = []
    for leftover in SITE.glob('~*'):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()
        undone.append(leftover.name)
    for folder in sorted(SITE.glob('*.dist-info')):
        if not whole(Distribution.at(folder)):
            shutil.rmtree(folder)
            undone.append(folder.name.removesuffix('.dist-info'))
    return undone


def save(file: str) -> list[str]:
    """Write what is installed to ``file``."""
    Path(file).write_text(json.dumps(installed(), indent=1) + '\n')
    return []


def changed(file: str) -> list[str]:
    """What was saved in ``file`` and is gone or of another version now."""
    now = installed()
    before = json.loads(Path(file).read_text())
    return [
        f'{name} was {version}, is {now.get(name, "missing")}'
        for name, version in before.items()
        if now.get(name) != version
    ]


def lacks(constraints: str, *names: str) -> list[str]:
    """Which of ``names`` are not installed as ``constraints`` says."""
    pins = {}
    for line in Path(constraints).read_text().splitlines():
        name, found, version = line.partition('==')
        if found and not name.startswith('#'):
            pins[normalized(name)] = version.strip()
    now = installed()
    wanted = {normalized(name): pins[normalized(name)] for name in names}
    return [
        f'{name}=={version}'
        for name, version in wanted.items()
        # a build such as 2.13.0+cpu is that version
        if now.get(name, '').partition('+')[0] != version
    ]


if __name__ == '__main__':
    commands = {f.__name__: f for f in (repair, save, changed, lacks)}
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    for finding in commands[sys.argv[1]](*sys.argv[2:]):
        print(finding)
