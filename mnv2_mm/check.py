"""``python -m mnv2_mm.check``: what is installed, what is missing, and the remedy.

A failure is only what makes the plug-in unusable: torch, mmengine or mmcv (with its
ops) missing, broken or mixed from two families, or none of the three hosts
there. An untested version is a warning: the hosts' upper-bound asserts have locked out
more users than they protected. ``--deploy`` adds what deployment needs
(:mod:`mnv2_mm.utils.deploy_check`), ``--repair`` first repairs torchvision in place
(:mod:`mnv2_mm.utils.environment`) and adds the stand-ins for the ops of an mmcv without
any (:mod:`mnv2_mm.utils.mmcv_ops`). It runs without any other package installed.
"""

import argparse
import platform
import shlex
import sys

from mnv2_mm.utils import compat, deploy_check
from mnv2_mm.utils.cli import repository_root
from mnv2_mm.utils.config_names import add_names
from mnv2_mm.utils.environment import repair_torchvision
from mnv2_mm.utils.errors import command
from mnv2_mm.utils.import_check import HOSTS, MODULES, ImportResult, check_imports
from mnv2_mm.utils.mmcv_ops import SENTENCES, add_standin_ops
from mnv2_mm.version import __version__

#: Per host what of mnv2_mm it makes available.
GIVES = {
    'mmdet': 'SSDLite detection (det)',
    'mmseg': 'Mobile DeepLabv3 segmentation (seg)',
    'mmpretrain': 'ImageNet classification (cls)',
}
#: Without these nothing works.
NEEDED = ('torch', 'mmengine', 'mmcv', 'mmcv.ops')
#: Distributions whose name is not that of their module.
DISTRIBUTIONS = {'cv2': 'opencv-python', 'PIL': 'pillow', 'yaml': 'pyyaml'}
DISTRIBUTIONS |= {'skimage': 'scikit-image'}
PYTHONS = ('3.10', '3.11', '3.12', '3.13')


#: Parts of the errors that REPAIR fixes.
REPAIRABLE = ('operator torchvision::', "No module named 'mmcv._ext'")
REPAIR = f'{shlex.quote(sys.executable)} -m mnv2_mm.check --repair'


class Report:
    """Rows of the table, problems and warnings, from the import results.

    Commands install from ``family``.
    """

    def __init__(self, results: dict[str, ImportResult], family: str) -> None:
        self.results = results
        self.family = family
        self.pins = tested(family)
        self.rows: list[tuple[str, str, str]] = []
        self.problems: list[tuple[str, str]] = []  # text, command that fixes it
        self.warnings: list[tuple[str, str]] = []
        python = platform.python_version()
        self._row('Python', python, '')
        if python.rpartition('.')[0] not in PYTHONS:
            self.warnings.append((f'Python {python} is not tested', ''))
        for name in ('torch', 'torchvision', 'numpy', 'cv2', 'timm'):
            self._library(name)
        for name in compat.PACKAGES:
            self._openmmlab(name)
            if name == 'mmcv' and results[name].works:
                self._ops()
        if not any(results[host].works for host in HOSTS):
            text = 'none of mmdet, mmseg and mmpretrain works; install what you want'
            fixes = [self._fix_import(results[host]) for host in HOSTS]
            self.problems.append((text, '\n'.join(dict.fromkeys(fixes))))
        for host, gives in GIVES.items():
            state = 'available'
            if not results[host].found:
                state = f'needs {host}'
            elif self.problems or results[host].error:
                state = 'fix the rest first'
            self._row(gives, '', state)

    def _row(
        self, name: str, version: str, state: str, text: str = '', fix: str = ''
    ) -> None:
        """Add a row, and what is wrong: a problem where nothing works without it."""
        self.rows.append((name, version, state))
        if text:
            where = self.problems if name in NEEDED else self.warnings
            where.append((text, fix))

    def _library(self, name: str) -> None:
        found, what = self.results[name], self._pinned(name)
        distribution = DISTRIBUTIONS.get(name, name)
        version = compat.version_of(distribution) or found.facts.get('version', '?')
        if not found.found:
            text = f'{name} is missing' if name in NEEDED else ''
            if name == 'timm':
                text = 'timm is missing; the ImageNet recipe needs it'
            self._row(name, '-', 'missing', text, _pip(f'install {what}'))
        elif found.error:
            fix = _pip(f'install --force-reinstall {what}')
            if any(sign in found.error for sign in REPAIRABLE):
                fix = REPAIR
            text = f'{name} cannot be imported: {found.error}'
            self._row(name, version, 'broken', text, fix)
        else:
            self._row(name, version, _state(name, found.facts))
            self._untested(distribution, version)

    def _openmmlab(self, name: str) -> None:
        found, families = self.results[name], compat.families(name)
        names = [compat.PACKAGES[name][family] for family in families]
        version = ', '.join(families.values()) or found.facts.get('version') or '?'
        own = next(iter(families), 'of neither family')
        again = _pip(f'uninstall -y {" ".join(names)}') + f'\n{self._install(name)}'
        if len(families) > 1:
            found.error = found.error or 'mixed'
            text = f'{" and ".join(names)} share the folder {name}; keep one of them'
            self._row(name, version, 'mixed', text, again)
        elif not found.found:
            text = f'{name} is missing' if name in NEEDED else ''
            self._row(name, '-', 'missing', text, self._install(name))
        elif found.error:
            text = f'{name} cannot be imported: {found.error}'
            self._row(name, version, f'{own}, broken', text, self._fix_import(found))
        elif families and self.family not in families:
            text = (
                f'{names[0]} is not of the {self.family} packages, as the others are; '
                'the two families are not tested together'
            )
            self._row(name, version, f'{own}, mixed', text, again)
        else:
            self._row(name, version, own)
            self._untested(compat.PACKAGES[name][self.family], version)

    def _ops(self) -> None:
        found, torch = self.results['mmcv.ops'], self.results['torch'].facts
        again = self._install('mmcv', again=True)
        if REPAIRABLE[1] in found.error:
            text = 'mmcv has no ops; put the stand-ins of mnv2_mm there'
            self._row('mmcv.ops', '', 'missing', text, REPAIR)
            return
        if not found.works:
            text = (
                f"mmcv's ops do not load beside this torch ({found.error}); install "
                'mmcv without them, and the stand-ins of mnv2_mm'
            )
            self._row('mmcv.ops', '', 'broken', text, again)
            return
        cuda, state = found.facts['cuda'], SENTENCES[found.facts['kind']]
        if found.facts['kind'] == 'compiled':
            for_gpu = cuda != 'not available'
            state = f'compiled for CUDA {cuda}' if for_gpu else 'compiled for CPU'
            if 'gpu' in torch and not for_gpu:
                text = (
                    "mmcv's ops are compiled for the CPU alone, so NMS on the GPU "
                    'fails; the stand-ins of mnv2_mm work there:'
                )
                self.warnings.append((text, again))
        self._row('mmcv.ops', '', state)

    def _fix_import(self, found: ImportResult) -> str:
        """Command for a package that is not there or fails to import."""
        if any(sign in found.error for sign in REPAIRABLE):
            return REPAIR
        lacking = found.missing.partition('.')[0]
        if lacking in compat.PACKAGES and lacking != found.module:
            return self._install(lacking)
        if lacking and lacking != found.module:
            return _pip(f'install {self._pinned(lacking)}')
        return self._install(found.module, again=found.found)

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
        first = ''
        if self.family == 'upstream':
            what = self._pinned('mmcv-lite')
            first = _pip('uninstall -y mmcv\n') if again else ''
        # built in isolation, without torch, it has no ops; a cached build may have
        return f'{first}{_pip(f"install {forced}--no-cache-dir {what}")}\n{REPAIR}'

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


def tested(family: str) -> dict[str, str]:
    """Version by distribution of the tested combination."""
    file = repository_root() / f'requirements/constraints-{family}.txt'
    if not file.is_file():
        return {}
    lines = (line.partition('==') for line in file.read_text().splitlines())
    return {name: version for name, found, version in lines if found}


def main() -> int:
    """Print the report; 0 when the plug-in is usable, else 1."""
    parser = argparse.ArgumentParser(
        prog=sys.argv[0] if sys.argv[0] == 'mnv2 check' else 'python -m mnv2_mm.check',
        description='Say what is installed, what is missing, and the remedy',
    )
    parser.add_argument(
        '--deploy', action='store_true', help='also what deployment needs'
    )
    parser.add_argument(
        '--repair',
        action='store_true',
        help='first repair a torchvision that does not fit this torch, and give an '
        'mmcv without ops the stand-ins of mnv2_mm',
    )
    args = parser.parse_args()
    if args.repair:
        for done in (repair_torchvision(), add_standin_ops(), add_names()):
            if done:
                print(f'repaired: {done}')
    # mmcv decides: it is the one that is hard to replace
    family = next(iter(compat.families('mmcv')), compat.stack())
    family = 'upstream' if family == 'upstream' else 'onedl'
    modules = MODULES + (deploy_check.MODULES if args.deploy else ())
    results = {p.module: p for p in check_imports(modules)}
    report = Report(results, family)
    if args.deploy:
        part = deploy_check.DeployReport(results, report.pins, _pip)
        report.rows += part.rows
        report.problems += part.problems
        report.warnings += part.warnings
    print(f'mnv2_mm {__version__} in {sys.prefix}\n')
    widths = [max(len(row[i]) for row in report.rows) for i in (0, 1)]
    for name, version, state in report.rows:
        print(f'  {name:{widths[0]}}  {version:{widths[1]}}  {state}'.rstrip())
    for title, entries in (('to fix', report.problems), ('warnings', report.warnings)):
        if entries:
            print(f'\n{title}:')
        for text, fix in entries:
            print('\n      '.join((f'- {text}', *fix.splitlines())))
    if not report.problems:
        print('\nusable' if report.warnings else '\nOK')
        return 0
    setup = repository_root() / 'tools/setup_env.sh'
    if (repository_root() / 'setup.py').is_file():
        print('\nA new environment fixes all of this at once:')
        print(f'      bash {shlex.quote(str(setup))}' + ' --deploy' * args.deploy)
    return 1


if __name__ == '__main__':
    command(main)()
