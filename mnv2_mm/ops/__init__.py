"""mmcv's compiled ops in plain torch: the few that detection needs.

mmcv finds its ops in the module ``mmcv._ext``, which takes ten minutes and a C++
compiler to build. :func:`mnv2_mm.utils.environment.add_standin_ops` writes one there
that imports this package, so that the hosts' own tools use it in any import order. A
compiled ``_ext`` is imported before it by Python's own rules.

Every other op exists here, since mmcv asks for all at its import, and raises
:class:`InputError` when it is called.
"""

from collections.abc import Callable

from mnv2_mm.ops.focal_loss import (
    sigmoid_focal_loss_backward,
    sigmoid_focal_loss_forward,
)
from mnv2_mm.ops.roi_align import roi_align_backward, roi_align_forward
from mnv2_mm.ops.suppression import nms, softnms
from mnv2_mm.utils.errors import InputError

__all__ = [
    'get_compiler_version',
    'get_compiling_cuda_version',
    'nms',
    'roi_align_backward',
    'roi_align_forward',
    'sigmoid_focal_loss_backward',
    'sigmoid_focal_loss_forward',
    'softnms',
]


def get_compiler_version() -> str:
    """What mmcv reports as its compiler."""
    return 'none (stand-ins of mnv2_mm)'


def get_compiling_cuda_version() -> str:
    """What mmcv reports for ops without CUDA."""
    return 'not available'


def __getattr__(name: str) -> Callable:
    """A function in place of an op that is missing here, which says so."""
    if name.startswith('__'):
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')

    def missing(*args: object, **kwargs: object) -> None:
        raise InputError(
            f'{name} is not among the stand-ins of mnv2_mm for the compiled ops of '
            'mmcv; compile them by `bash tools/setup_env.sh --compile-ops`, or install '
            'a wheel of mmcv that has them'
        )

    return missing
