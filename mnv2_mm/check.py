"""``python -m mnv2_mm.check``: what is installed, and how to mend it.

Prints every package that matters with its version, then what is missing,
mixed or broken, each with the command that mends it. Only that counts as a
failure which makes the plug-in unusable: torch, mmengine or mmcv (with its
compiled ops) missing, broken or mixed from two families, or none of the
three hosts there. A version that was not tested is a remark: the hosts'
upper-bound asserts have locked out more users than they protected. With
``--deploy`` also what the deployment needs, see ``mnv2_mm.utils.deploy_check``.

Nothing need be installed for this to run.
"""

import argparse
import platform
import shlex
import sys
from pathlib import Path

from mnv2_mm.utils import compat
from mnv2_mm.utils import deploy_check as check_deploy
from mnv2_mm.utils.import_check import HOSTS, MODULES, ImportResult, check_imports
from mnv2_mm.version import __version__

#: Per host what of mnv2_mm it makes available.
GIVES = {
    'mmdet': 'SSDLite detection (det)',
    'mmseg': 'Mobile DeepLabv3 segmentation (seg)',
    'mmpretrain': 'ImageNet classification (cls)',
}
#: Without these nothing works.
NEEDED = ('torch', 'mmengine', 'mmcv')
#: Distributions whose name is not that of their module.
DISTRIBUTIONS = {
    'cv2': 'opencv-python',
    'PIL': 'pillow',
    'yaml': 'pyyaml',
    'skimage': 'scikit-image',
}
PYTHONS = ('3.10', '3.11', '3.12')


class Report:
    """Rows of the table, problems and remarks, from what was probed.

    Args:
        probes: What came of importing each module, by its name.
        family: The family that commands install from.
    """

    def __init__(self, probes: dict[str, ImportResult], family: str) -> None:
        self.probes = probes
        self.family = family
        self.pins = tested(family)
        self.rows: list[tuple[str, str, str]] = []
        self.problems: list[tuple[str, str]] = []  # text, mending command
        self.remarks: list[tuple[str, str]] = []
        self._judge()

    def _judge(self) -> None:
        python = platform.python_version()
        self.rows.append(('Python', python, ''))
        if python.rpartition('.')[0] not in PYTHONS:
            self.remarks.append((f'Python {python} is not tested', ''))
        for name in ('torch', 'torchvision', 'numpy', 'cv2', 'timm'):
            self._library(name)
        for name in compat.PACKAGES:
            self._openmmlab(name)
            if name == 'mmcv' and self.probes[name].works:
                self._ops()
        if not any(self.probes[host].works for host in HOSTS):
            self.problems.append(
                (
                    'none of mmdet, mmseg and mmpretrain works, for which '
                    'mnv2_mm is a plug-in; install what you want of them',
                    '\n'.join(self._install(host) for host in HOSTS),
                )
            )
        for host, gives in GIVES.items():
            state = 'available'
            if not self.probes[host].found:
                state = f'needs {host}'
            elif self.problems or self.probes[host].error:
                state = 'not before the rest is mended'
            self.rows.append((gives, '', state))

    def _say(self, name: str, text: str, mend: str) -> None:
        """A problem where nothing works without ``name``, else a remark."""
        where = self.problems if name in NEEDED else self.remarks
        where.append((text, mend))

    def _library(self, name: str) -> None:
        found = self.probes[name]
        what = self._pinned(name)
        version = compat.version_of(DISTRIBUTIONS.get(name, name))
        version = version or found.facts.get('version', '?')
        if not found.found:
            self.rows.append((name, '-', 'missing'))
            if name in NEEDED:
                self._say(name, f'{name} is missing', _pip(f'install {what}'))
            elif name == 'timm':
                text = 'timm is missing; the ImageNet recipe needs it'
                self._say(name, text, _pip(f'install {what}'))
        elif found.error:
            self.rows.append((name, version, 'broken'))
            self._say(
                name,
                f'{name} cannot be imported: {found.error}',
                _pip(f'install --force-reinstall {what}'),
            )
        else:
            self.rows.append((name, version, _state(name, found.facts)))
            self._untested(DISTRIBUTIONS.get(name, name), version)

    def _openmmlab(self, name: str) -> None:
        found = self.probes[name]
        families = compat.families(name)
        names = [compat.PACKAGES[name][family] for family in families]
        version = ', '.join(families.values()) or found.facts.get('version')
        if len(families) > 1:
            found.error = found.error or 'mixed'
            self.rows.append((name, version, 'mixed'))
            self._say(
                name,
                f'{" and ".join(names)} overwrite each other in the folder '
                f'{name}; keep one of them',
                _pip(f'uninstall -y {" ".join(names)}') + f'\n{self._install(name)}',
            )
        elif not found.found:
            self.rows.append((name, '-', 'missing'))
            if name in NEEDED:
                self._say(name, f'{name} is missing', self._install(name))
        elif found.error:
            own = next(iter(families), 'of neither family')
            self.rows.append((name, version or '?', f'{own}, broken'))
            text = f'{name} cannot be imported: {found.error}'
            self._say(name, text, self._mend_import(found))
        elif families and self.family not in families:
            self.rows.append((name, version, f'{next(iter(families))}, mixed'))
            self._say(
                name,
                f'{names[0]} is not of the {self.family} packages, which the '
                'others are; the two families are not tested together',
                _pip(f'uninstall -y {names[0]}') + f'\n{self._install(name)}',
            )
        else:
            own = next(iter(families), 'of neither family')
            self.rows.append((name, version or '?', own))
            self._untested(compat.PACKAGES[name][self.family], version or '?')

    def _ops(self) -> None:
        found, torch = self.probes['mmcv.ops'], self.probes['torch'].facts
        if not found.works:
            self.rows.append(('mmcv.ops', '', 'broken'))
            self.problems.append(
                (
                    "mmcv's compiled ops do not load beside this torch "
                    f'({found.error}); compile them anew, which takes about '
                    'ten minutes and a C++ compiler',
                    self._install('mmcv', anew=True),
                )
            )
            return
        cuda = found.facts['cuda']
        for_gpu = cuda != 'not available'
        state = f'compiled for CUDA {cuda}' if for_gpu else 'compiled for CPU'
        self.rows.append(('mmcv.ops', '', state))
        if 'gpu' in torch and not for_gpu:
            self.remarks.append(
                (
                    "mmcv's ops are compiled for the CPU alone, so NMS on "
                    'the GPU fails; to compile them for it, with nvcc of '
                    f'CUDA {torch["cuda"]}:',
                    self._install('mmcv', anew=True),
                )
            )

    def _mend_import(self, found: ImportResult) -> str:
        """Command for a package that is there but fails to import."""
        lacking = found.missing.partition('.')[0]
        if lacking in compat.PACKAGES and lacking != found.module:
            return self._install(lacking)
        if lacking and lacking != found.module:
            return _pip(f'install {self._pinned(lacking)}')
        return self._install(found.module, anew=True)

    def _untested(self, distribution: str, version: str) -> None:
        pin = self.pins.get(distribution)
        if pin and version.partition('+')[0] != pin:
            text = f'{distribution} {version} is not tested, {pin} is'
            self.remarks.append((text, ''))

    def _install(self, module: str, *, anew: bool = False) -> str:
        """Command that installs a package of the family at hand."""
        what = self._pinned(compat.PACKAGES[module][self.family])
        again = '--force-reinstall --no-deps ' if anew else ''
        if module != 'mmcv':
            return _pip(f'install {again}{what}')
        again += '--no-cache-dir ' if anew else ''
        return '\n'.join(
            (
                _pip("install 'setuptools<81' wheel ninja packaging numpy"),
                'MMCV_WITH_OPS=1 '
                + _pip(f'install --no-build-isolation {again}{what}'),
            )
        )

    def _pinned(self, name: str) -> str:
        name = DISTRIBUTIONS.get(name, name)
        return f'{name}=={self.pins[name]}' if name in self.pins else name


def _state(name: str, facts: dict[str, str]) -> str:
    if name == 'torch':
        build = f'CUDA {facts["cuda"]}' if facts['cuda'] else 'CPU'
        return f'{build} build, {facts.get("gpu", "no GPU in sight")}'
    if name == 'torchvision' and not facts['ops']:
        return 'without its compiled part, which nothing here needs'
    return ''


def _pip(arguments: str) -> str:
    return f'{shlex.quote(sys.executable)} -m pip {arguments}'


def root() -> Path:
    """The repository, or what a wheel carries of it."""
    package = Path(__file__).resolve().parent
    if (package.parent / 'requirements').is_dir():
        return package.parent
    return package / '.mim'


def tested(family: str) -> dict[str, str]:
    """Version by distribution of the tested combination."""
    file = root() / f'requirements/constraints-{family}.txt'
    if not file.is_file():
        return {}
    lines = (line.partition('==') for line in file.read_text().splitlines())
    return {name: version for name, found, version in lines if found}


def main() -> int:
    """Print the report; 0 when the plug-in is usable, else 1."""
    parser = argparse.ArgumentParser(
        prog='python -m mnv2_mm.check',
        description='Say what is installed and how to mend it',
    )
    parser.add_argument(
        '--deploy', action='store_true', help='also what deployment needs'
    )
    deploy = parser.parse_args().deploy
    # mmcv decides: it is the one that is hard to replace
    family = next(iter(compat.families('mmcv')), compat.stack())
    family = 'upstream' if family == 'upstream' else 'onedl'
    modules = MODULES + (check_deploy.MODULES if deploy else ())
    probes = {p.module: p for p in check_imports(modules)}
    report = Report(probes, family)
    if deploy:
        part = check_deploy.DeployReport(probes, report.pins, _pip)
        report.rows += part.rows
        report.problems += part.problems
        report.remarks += part.remarks
    print(f'mnv2_mm {__version__} in {sys.prefix}\n')
    widths = [max(len(row[i]) for row in report.rows) for i in (0, 1)]
    for name, version, state in report.rows:
        print(f'  {name:{widths[0]}}  {version:{widths[1]}}  {state}'.rstrip())
    _print('to mend', report.problems)
    _print('remarks', report.remarks)
    if not report.problems:
        print('\nusable' if report.remarks else '\nall well')
        return 0
    if (root() / 'setup.py').is_file():
        setup = shlex.quote(str(root() / 'tools/setup_env.sh'))
        print('\nAn environment of its own mends all of this at once:')
        print(f'      bash {setup}' + (' --deploy' if deploy else ''))
    return 1


def _print(title: str, entries: list[tuple[str, str]]) -> None:
    if entries:
        print(f'\n{title}:')
    for text, mend in entries:
        print(f'- {text}')
        for line in mend.splitlines():
            print(f'      {line}')


if __name__ == '__main__':
    sys.exit(main())
