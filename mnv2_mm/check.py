"""``python -m mnv2_mm.check``: what is installed, what is missing, and the remedy.

Prints every package that matters with its version, then what is missing, mixed or
broken, each with the command that fixes it. A failure is only what makes the
plug-in unusable: torch, mmengine or mmcv (with its compiled ops) missing, broken or
mixed from two families, or none of the three hosts there. An untested version is a
warning: the hosts' upper-bound asserts have locked out more users than they
protected. ``--deploy`` adds what deployment needs (:mod:`mnv2_mm.utils.deploy_check`),
``--repair`` first repairs what can be repaired in place
(:mod:`mnv2_mm.utils.environment`).

It runs without any other package installed.
"""

import argparse
import platform
import shlex
import sys
from pathlib import Path

from mnv2_mm.utils import compat, deploy_check
from mnv2_mm.utils.environment import repair_torchvision
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
    """Rows of the table, problems and warnings, from the import results.

    Args:
        results: The import result of each module, by name.
        family: The family that commands install from.
    """

    def __init__(self, results: dict[str, ImportResult], family: str) -> None:
        self.results = results
        self.family = family
        self.pins = tested(family)
        self.rows: list[tuple[str, str, str]] = []
        self.problems: list[tuple[str, str]] = []  # text, command that fixes it
        self.warnings: list[tuple[str, str]] = []
        self._judge()

    def _judge(self) -> None:
        python = platform.python_version()
        self.rows.append(('Python', python, ''))
        if python.rpartition('.')[0] not in PYTHONS:
            self.warnings.append((f'Python {python} is not tested', ''))
        for name in ('torch', 'torchvision', 'numpy', 'cv2', 'timm'):
            self._library(name)
        for name in compat.PACKAGES:
            self._openmmlab(name)
            if name == 'mmcv' and self.results[name].works:
                self._ops()
        if not any(self.results[host].works for host in HOSTS):
            self.problems.append(
                (
                    'none of mmdet, mmseg and mmpretrain works, for which '
                    'mnv2_mm is a plug-in; install what you want of them',
                    '\n'.join(self._install(host) for host in HOSTS),
                )
            )
        for host, gives in GIVES.items():
            state = 'available'
            if not self.results[host].found:
                state = f'needs {host}'
            elif self.problems or self.results[host].error:
                state = 'fix the rest first'
            self.rows.append((gives, '', state))

    def _add(self, name: str, text: str, fix: str) -> None:
        """Add a problem where nothing works without ``name``, else a warning."""
        where = self.problems if name in NEEDED else self.warnings
        where.append((text, fix))

    def _library(self, name: str) -> None:
        found = self.results[name]
        what = self._pinned(name)
        version = compat.version_of(DISTRIBUTIONS.get(name, name))
        version = version or found.facts.get('version', '?')
        if not found.found:
            self.rows.append((name, '-', 'missing'))
            if name in NEEDED:
                self._add(name, f'{name} is missing', _pip(f'install {what}'))
            elif name == 'timm':
                text = 'timm is missing; the ImageNet recipe needs it'
                self._add(name, text, _pip(f'install {what}'))
        elif found.error:
            self.rows.append((name, version, 'broken'))
            fix = _pip(f'install --force-reinstall {what}')
            if 'operator torchvision::' in found.error:
                fix = f'{shlex.quote(sys.executable)} -m mnv2_mm.check --repair'
            self._add(name, f'{name} cannot be imported: {found.error}', fix)
        else:
            self.rows.append((name, version, _state(name, found.facts)))
            self._untested(DISTRIBUTIONS.get(name, name), version)

    def _openmmlab(self, name: str) -> None:
        found = self.results[name]
        families = compat.families(name)
        names = [compat.PACKAGES[name][family] for family in families]
        version = ', '.join(families.values()) or found.facts.get('version')
        if len(families) > 1:
            found.error = found.error or 'mixed'
            self.rows.append((name, version, 'mixed'))
            self._add(
                name,
                f'{" and ".join(names)} overwrite each other in the folder '
                f'{name}; keep one of them',
                _pip(f'uninstall -y {" ".join(names)}') + f'\n{self._install(name)}',
            )
        elif not found.found:
            self.rows.append((name, '-', 'missing'))
            if name in NEEDED:
                self._add(name, f'{name} is missing', self._install(name))
        elif found.error:
            own = next(iter(families), 'of neither family')
            self.rows.append((name, version or '?', f'{own}, broken'))
            text = f'{name} cannot be imported: {found.error}'
            self._add(name, text, self._fix_import(found))
        elif families and self.family not in families:
            self.rows.append((name, version, f'{next(iter(families))}, mixed'))
            self._add(
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
        found, torch = self.results['mmcv.ops'], self.results['torch'].facts
        if not found.works:
            self.rows.append(('mmcv.ops', '', 'broken'))
            self.problems.append(
                (
                    "mmcv's compiled ops do not load beside this torch "
                    f'({found.error}); compile them again, which takes about '
                    'ten minutes and a C++ compiler',
                    self._install('mmcv', again=True),
                )
            )
            return
        cuda = found.facts['cuda']
        for_gpu = cuda != 'not available'
        state = f'compiled for CUDA {cuda}' if for_gpu else 'compiled for CPU'
        self.rows.append(('mmcv.ops', '', state))
        if 'gpu' in torch and not for_gpu:
            self.warnings.append(
                (
                    "mmcv's ops are compiled for the CPU alone, so NMS on "
                    'the GPU fails; to compile them for it, with nvcc of '
                    f'CUDA {torch["cuda"]}:',
                    self._install('mmcv', again=True),
                )
            )

    def _fix_import(self, found: ImportResult) -> str:
        """Command for a package that is there but fails to import."""
        lacking = found.missing.partition('.')[0]
        if lacking in compat.PACKAGES and lacking != found.module:
            return self._install(lacking)
        if lacking and lacking != found.module:
            return _pip(f'install {self._pinned(lacking)}')
        return self._install(found.module, again=True)

    def _untested(self, distribution: str, version: str) -> None:
        pin = self.pins.get(distribution)
        if pin and version.partition('+')[0] != pin:
            text = f'{distribution} {version} is not tested, {pin} is'
            self.warnings.append((text, ''))

    def _install(self, module: str, *, again: bool = False) -> str:
        """Command that installs a package of the family at hand."""
        what = self._pinned(compat.PACKAGES[module][self.family])
        forced = '--force-reinstall --no-deps ' if again else ''
        if module != 'mmcv':
            return _pip(f'install {forced}{what}')
        forced += '--no-cache-dir ' if again else ''
        return '\n'.join(
            (
                _pip("install 'setuptools<81' wheel ninja packaging numpy"),
                'MMCV_WITH_OPS=1 '
                + _pip(f'install --no-build-isolation {forced}{what}'),
            )
        )

    def _pinned(self, name: str) -> str:
        name = DISTRIBUTIONS.get(name, name)
        return f'{name}=={self.pins[name]}' if name in self.pins else name


def _state(name: str, facts: dict[str, str]) -> str:
    if name == 'torch':
        build = f'CUDA {facts["cuda"]}' if facts['cuda'] else 'CPU'
        return f'{build} build, {facts.get("gpu", "no GPU")}'
    if name == 'torchvision' and not facts['ops']:
        return 'without its compiled part (not needed)'
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
        description='Say what is installed, what is missing, and the remedy',
    )
    parser.add_argument(
        '--deploy', action='store_true', help='also what deployment needs'
    )
    parser.add_argument(
        '--repair',
        action='store_true',
        help='first repair what can be repaired in place: a torchvision that does '
        'not fit this torch',
    )
    args = parser.parse_args()
    deploy = args.deploy
    if args.repair and (done := repair_torchvision()):
        print(f'repaired: {done}')
    # mmcv decides: it is the one that is hard to replace
    family = next(iter(compat.families('mmcv')), compat.stack())
    family = 'upstream' if family == 'upstream' else 'onedl'
    modules = MODULES + (deploy_check.MODULES if deploy else ())
    results = {p.module: p for p in check_imports(modules)}
    report = Report(results, family)
    if deploy:
        part = deploy_check.DeployReport(results, report.pins, _pip)
        report.rows += part.rows
        report.problems += part.problems
        report.warnings += part.warnings
    print(f'mnv2_mm {__version__} in {sys.prefix}\n')
    widths = [max(len(row[i]) for row in report.rows) for i in (0, 1)]
    for name, version, state in report.rows:
        print(f'  {name:{widths[0]}}  {version:{widths[1]}}  {state}'.rstrip())
    _print('to fix', report.problems)
    _print('warnings', report.warnings)
    if not report.problems:
        print('\nusable' if report.warnings else '\nOK')
        return 0
    if (root() / 'setup.py').is_file():
        setup = shlex.quote(str(root() / 'tools/setup_env.sh'))
        print('\nA new environment fixes all of this at once:')
        print(f'      bash {setup}' + (' --deploy' if deploy else ''))
    return 1


def _print(title: str, entries: list[tuple[str, str]]) -> None:
    if entries:
        print(f'\n{title}:')
    for text, fix in entries:
        print(f'- {text}')
        for line in fix.splitlines():
            print(f'      {line}')


if __name__ == '__main__':
    sys.exit(main())
