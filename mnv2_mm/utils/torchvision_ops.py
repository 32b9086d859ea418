"""Let torchvision be imported beside a torch that its compiled part does not fit.

The torchvision of the package index is linked against CUDA. Beside a CPU-only
torch its library cannot be loaded, and ``import torchvision`` ends in "operator
torchvision::nms does not exist", which takes mmdet and mmpretrain along. With
the two operators declared the pure-Python transforms work; OpenMMLab uses
nothing else of it.

This file needs the standard library only. :mod:`mnv2_mm.utils.environment`
copies it into an environment that needs it, where a .pth file calls
:func:`install` at every start of Python. So the hosts' own tools work too, in
any import order, and ``import mnv2_mm`` changes nothing.
"""

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

_kept = []  # torch.library handles; what they declare dies with them


class _BeforeTorchvision:
    """A meta-path entry that declares the operators before the import."""

    def find_spec(
        self, name: str, path: object = None, target: object = None
    ) -> ModuleSpec | None:
        """Find nothing: the import goes on with the next entry."""
        if name == 'torchvision':
            sys.meta_path.remove(self)
            declare_missing_operators()
        return None


def install() -> None:
    """Declare the operators when torchvision is imported."""
    sys.meta_path.insert(0, _BeforeTorchvision())


def declare_missing_operators() -> None:
    """Declare nms and qnms, unless torchvision's own library loads."""
    spec = importlib.util.find_spec('torchvision')
    torch_there = importlib.util.find_spec('torch') is not None
    if _kept or spec is None or spec.origin is None or not torch_there:
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
