"""Let torchvision be imported beside a torch that its compiled part does not fit.

The torchvision of the package index is linked against CUDA. Beside a CPU-only torch
``import torchvision`` ends in "operator torchvision::nms does not exist", which takes
mmdet and mmpretrain along. With the two operators declared the pure-Python transforms
work; OpenMMLab uses nothing else of it.

:func:`repair_torchvision` copies this file, which needs the standard library only, into
site-packages, where a .pth file calls :func:`install` at every start of Python. So the
hosts' own tools work too, in any import order, and ``import mnv2_mm`` changes nothing.
"""

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

#: The copy of this file, and the line that calls it.
MODULE = '_mnv2_mm_torchvision'
_LINE = f'import {MODULE}; {MODULE}.install()\n'

_kept = []  # torch.library handles; what they declare dies with them


def repair_torchvision(site: Path | None = None) -> str | None:
    """Make ``import torchvision`` work for every program of this environment.

    Returns:
        What was written to ``site`` (site-packages), in a sentence; None where nothing
        was needed.
    """
    import shutil
    import sysconfig

    site = site or Path(sysconfig.get_path('purelib'))
    module, line = site / f'{MODULE}.py', site / f'{MODULE}.pth'
    # an older copy must not decide whether one is needed
    for file in (line, module):
        file.unlink(missing_ok=True)
    if not _torchvision_fails():
        return None
    shutil.copyfile(__file__, module)
    line.write_text(_LINE, encoding='utf-8')
    return (
        'torchvision is imported without its compiled operators, which do not fit this '
        f'torch and are not needed ({line.name})'
    )


def _torchvision_fails() -> bool:
    """Whether the import ends for want of its compiled operators."""
    import subprocess

    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', 'import torchvision'],
        capture_output=True,
        text=True,
        errors='replace',
    )
    return 'operator torchvision::' in done.stderr


class _BeforeTorchvision:
    """A meta-path entry that declares the operators before the import."""

    def find_spec(
        self, name: str, path: object = None, target: object = None
    ) -> ModuleSpec | None:
        """Find nothing: the import goes on with the next entry."""
        if name == 'torchvision':
            sys.meta_path.remove(self)
            _declare_missing_operators()
        return None


def install() -> None:
    """Declare the operators when torchvision is imported."""
    sys.meta_path.insert(0, _BeforeTorchvision())


def _declare_missing_operators() -> None:
    """Declare nms and qnms, unless torchvision's own library loads."""
    spec = importlib.util.find_spec('torchvision')
    torch_there = importlib.util.find_spec('torch') is not None
    if spec is None or spec.origin is None or not torch_there:
        return
    import torch

    try:
        torch.ops.load_library(Path(spec.origin).parent / '_C.so')
    except OSError:
        declared = torch.library.Library('torchvision', 'FRAGMENT')
        for op in ('nms', 'qnms'):
            if not hasattr(torch.ops.torchvision, op):
                declared.define(
                    f'{op}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor'
                )
        _kept.append(declared)
