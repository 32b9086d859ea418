"""All builds of one model: size, latency and accuracy of each.

Every measurement of a build is a process of its own, by the same tools that
a user calls for one: a backend that is missing, or that takes its process
down, costs its row and not the table.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mnv2_mm.runtime import timing
from mnv2_mm.runtime.model import JSON, read_info
from mnv2_mm.runtime.timing import BENCHMARK, size_of
from mnv2_mm.utils.config import config_root
from mnv2_mm.utils.errors import InputError


@dataclass
class Row:
    """What is known of one build.

    Args:
        name: Of its folder.
        backend: As build.json has it.
        precision: Likewise.
        bytes: Size of its files.
        input: (B, 3, H, W) of the network, None for an open axis.
        times: Content of its benchmark.json; empty without one.
        metrics: Figures of the evaluation by name; empty without one.
        problems: Why something is missing.
    """

    name: str
    backend: str = ''
    precision: str = ''
    bytes: int | None = None
    input: Sequence[int | None] = ()
    times: Mapping = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def latency(self, threads: int | None = None) -> dict | None:
        """Stages with so many threads, or with the first number timed."""
        found = self.times.get('times') or ()
        for one in found:
            if threads in (None, one['threads']):
                return one
        return None


def find_builds(work_dir: str | Path) -> list[tuple[Path, Row]]:
    """The builds in the folders of a folder, or the one that it is.

    Raises:
        InputError: there are none that can be read, or they are of several
            models.
    """
    work_dir = Path(work_dir)
    if not work_dir.is_dir():
        raise InputError(f'there is no folder {work_dir}')
    folders = [work_dir, *sorted(p for p in work_dir.iterdir() if p.is_dir())]
    found, models = [], {}
    for folder in folders:
        if not (folder / JSON).is_file():
            continue
        row = Row(folder.resolve().name)
        found.append((folder, row))
        try:
            _, info = read_info(folder)
        except InputError as error:
            row.problems.append(str(error))
            continue
        models[row.name] = _model(info)
        row.backend, row.precision = info['backend'], info['precision']
        row.bytes, row.input = size_of(folder, info), info['input']['shape']
        row.times = timing.read(folder)
    if not models:
        reasons = [row.problems[0] for _, row in found]
        raise InputError(
            f'{work_dir} has no build that can be read in it or its folders: '
            + (
                '; '.join(reasons)
                or 'tools/deploy.py makes one by --work-dir '
                f'{work_dir / "onnxruntime_fp32"}'
            )
        )
    first = next(iter(models))
    for name, model in models.items():
        if difference := _differ(models[first], model):
            raise InputError(
                f'{first} and {name} in {work_dir} are builds of two models '
                f'({difference}); one table is of one model: give each its '
                'folder'
            )
    return found


def _model(info: Mapping) -> dict:
    """By which two builds are of the same model."""
    return {
        'task': info['task'],
        'config': info.get('config'),  # not in builds of older versions
        'classes': list(info['classes']),
    }


def _differ(first: Mapping, second: Mapping) -> str:
    """The first difference of two models, in words; empty without one."""
    for key in first:
        a, b = first[key], second[key]
        if a == b or a is None or b is None:
            continue
        if key == 'classes' and len(a) != len(b):
            a, b = len(a), len(b)
        elif key == 'classes':
            a, b = next((x, y) for x, y in zip(a, b, strict=True) if x != y)
        return f'{key}: {a} and {b}'
    return ''


def time_build(folder: Path, row: Row, image: str, *flags: str) -> None:
    """Time a build by tools/run_build.py, into its folder and the row."""
    command = ['run_build.py', folder, image, '--benchmark', *flags]
    before = timing.read(folder)
    if _run(command, row):
        row.times = timing.read(folder)
        if row.times == before:
            row.problems.append(f'{BENCHMARK} could not be written')


def evaluate(
    what: Path, row: Row, config: str, *, limit: int = 0, flags: Sequence = ()
) -> None:
    """Evaluate a build or a checkpoint by tools/test.py, into the row."""
    with tempfile.TemporaryDirectory() as folder:
        command = ['test.py', config, what, '--work-dir', folder, *flags]
        if limit:
            command += ['--limit', limit]
        if _run(command, row):
            text = (Path(folder) / 'metrics.json').read_text(encoding='utf-8')
            row.metrics = json.loads(text)['metrics']


def _run(command: Sequence, row: Row) -> bool:
    """Run a tool beside this project's tools; False, noted, if it fails."""
    name, *arguments = map(str, command)
    path = config_root().parent / 'tools' / name
    done = subprocess.run(
        [sys.executable, str(path), *arguments],
        capture_output=True,
        text=True,
        errors='replace',
    )
    if done.returncode == 0:
        return True
    said = done.stderr.strip().splitlines() or ['it says nothing']
    reasons = [line for line in said if line.startswith('error: ')]
    reason = (reasons or said)[-1].removeprefix('error: ')
    if done.returncode < 0:
        reason = f'{name} was killed by signal {-done.returncode}'
    if reason not in row.problems:
        row.problems.append(reason)
    return False
