"""Import the packages that matter in a child process, for :mod:`mnv2_mm.check`.

A package that was compiled for another torch or numpy can crash the interpreter.
"""

import importlib
import json
import subprocess
import sys
from dataclasses import dataclass, field
from types import ModuleType

from mnv2_mm.utils import compat
from mnv2_mm.utils.mmcv_ops import ops_kind

#: The hosts, by import name; mnv2_mm plugs into each.
HOSTS = ('mmdet', 'mmseg', 'mmpretrain')
#: In this order; an import that others make comes before them. mmcv.ops
#: imports mmcv's compiled part, or the stand-ins.
MODULES = ('torch', 'torchvision', 'numpy', 'cv2', 'timm')
MODULES += ('mmengine', 'mmcv', 'mmcv.ops', *HOSTS)

_MARK = '@mnv2_mm '  # begins the lines that are results and not chatter


@dataclass
class ImportResult:
    """The result of importing one module."""

    module: str
    found: bool = False
    error: str = ''
    missing: str = ''  # module that the import did not find
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def works(self) -> bool:
        """Whether the import succeeded."""
        return self.found and not self.error


def check_imports(modules: tuple[str, ...] = MODULES) -> list[ImportResult]:
    """Import each of ``modules`` in a child process, outliving crashes."""
    results: list[ImportResult] = []
    while len(results) < len(modules):
        rest = modules[len(results) :]
        code = f'from {__name__} import print_imports; print_imports({rest!r})'
        child = subprocess.run(
            [sys.executable, '-W', 'ignore', '-c', code],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors='replace',
        )
        done = [
            ImportResult(**json.loads(line.removeprefix(_MARK)))
            for line in child.stdout.splitlines()
            if line.startswith(_MARK)
        ]
        results += done
        if len(done) < len(rest):
            last = (child.stderr.strip().splitlines() or [''])[-1]
            error = f'the import crashed (exit code {child.returncode}) {last}'
            results.append(ImportResult(rest[len(done)], True, error.rstrip()))
    return results


def print_imports(modules: tuple[str, ...]) -> None:
    """Import ``modules`` here and print the results, one line each."""
    for name in modules:
        result = ImportResult(name)
        try:
            result.found = compat.installed(name)
            if result.found:
                result.facts = _facts(name, importlib.import_module(name))
            if result.found and name in HOSTS:  # its top level imports little
                importlib.import_module(f'{name}.models')
        except BaseException as error:  # also SystemExit and the like
            result.found = True
            text = str(error).strip().splitlines() or ['']
            result.error = f'{type(error).__name__}: {text[0]}'
            if isinstance(error, ModuleNotFoundError):
                result.missing = error.name or ''
        print(f'\n{_MARK}{json.dumps(vars(result))}', flush=True)


def _facts(name: str, module: ModuleType) -> dict[str, str]:
    facts = {'version': str(getattr(module, '__version__', '?'))}
    if name == 'torch':
        facts['cuda'] = module.version.cuda or ''
        if module.cuda.is_available():
            facts['gpu'] = module.cuda.get_device_name(0)
    elif name == 'torchvision':
        facts['ops'] = 'yes' if module.extension._has_ops() else ''
    elif name == 'mmcv.ops':
        facts['cuda'] = module.get_compiling_cuda_version()
        facts['kind'] = ops_kind()
    return facts
