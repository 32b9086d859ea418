"""The only file that knows of version differences.

Two families of OpenMMLab packages share their import names: upstream's last
releases and the maintained ``onedl-*`` continuation. Which of the two is
installed, what current torch changed under them, and what a torchvision
without its compiled part needs, is answered here and nowhere else.
"""

import importlib
import importlib.util
import sys

_torchvision_ops = None  # torch.library handle; must outlive the process


def installed(module: str) -> bool:
    """Whether ``module`` could be imported (it is not imported here)."""
    return importlib.util.find_spec(module) is not None


def apply() -> None:
    """Mend the installed torch stack in this process; safe to repeat."""
    if not installed('torch'):
        return
    _mend_torchvision()
    _mend_checkpoint_loading()


def _mend_torchvision() -> None:
    """Make ``import torchvision`` work beside a CPU-only torch.

    The wheel of the package index is linked against CUDA. Its compiled part
    then fails to load, and the import dies on two operators that part would
    have declared. With their schemas declared the pure-Python transforms
    work, which is all that mmdet and mmpretrain use.
    """
    global _torchvision_ops
    if not installed('torchvision') or _torchvision_ops is not None:
        return
    try:
        importlib.import_module('torchvision')
    except RuntimeError as error:
        if 'torchvision::' not in str(error):
            raise
        import torch

        for name in [n for n in sys.modules if n.startswith('torchvision')]:
            del sys.modules[name]
        library = torch.library.Library('torchvision', 'DEF')
        for op in ('nms', 'qnms'):
            library.define(
                f'{op}(Tensor dets, Tensor scores, float iou_threshold)'
                ' -> Tensor'
            )
        _torchvision_ops = library
        importlib.import_module('torchvision')


def _mend_checkpoint_loading() -> None:
    """Let upstream mmengine read its own checkpoints under torch >= 2.6.

    torch.load reads tensors only by default since then; a checkpoint of
    mmengine also holds its message hub. Only those classes are allowed, so
    a file that wants to run code is still refused.
    """
    # filled in with the environment work
