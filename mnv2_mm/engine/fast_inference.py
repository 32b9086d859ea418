"""Make a trained model predict faster: fold, lay out, halve, and graph.

Nothing of the model's code knows of it: weights are rewritten, and the
``forward`` of the model's parts is wrapped.
"""

from typing import Any

import torch
from mmcv.cnn.utils import fuse_conv_bn
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from mnv2_mm.engine.graphs import GraphForward, can_graph
from mnv2_mm.registry import HOOKS
from mnv2_mm.utils.malloc_tuning import keep_freed_memory

_PARTS = ('backbone', 'neck', 'bbox_head', 'decode_head', 'head')
#: A classifier's last layer costs nothing, and ranks by small differences.
_HALVED = _PARTS[:-1]


def make_fast(model: nn.Module, *, half: bool = False) -> nn.Module:
    """Change a model in place, for prediction only.

    Batch norm is folded into the convolutions, and tensors lie channels last:
    the same results up to rounding, here 1e-5 of the largest value. On a
    processor the parts run as graphs (:mod:`mnv2_mm.engine.graphs`) from the
    second image of a size on, and the process keeps the memory that a
    image took for the next one.

    Args:
        model: A detector, segmentor or classifier of the hosts.
        half: Compute in bfloat16 too, up to the logits and codes; a
            classifier's head stays in float32. Boxes move by pixels; it pays
            on processors with bfloat16 arithmetic and on GPUs.

    Returns:
        The model, in eval mode.
    """
    model = fuse_conv_bn(model.eval())
    model.to(memory_format=torch.channels_last)
    if next(model.parameters()).device.type == 'cpu':
        keep_freed_memory()
    for name in _PARTS:
        part = getattr(model, name, None)
        if part is None:
            continue
        if half and name in _HALVED:
            part.forward = HalfForward(part.to(torch.bfloat16))
        if can_graph(part):
            part.forward = GraphForward(part)
    return model


@HOOKS.register_module()
class FastInferenceHook(Hook):
    """Test as :func:`make_fast` makes the model, to see what it costs.

    Args:
        half: As of :func:`make_fast`.
    """

    priority = 'LOWEST'  # after the hooks that exchange weights (EMA)

    def __init__(self, half: bool = False) -> None:
        self.half = half

    def before_test(self, runner: Runner) -> None:
        """Change ``runner.model`` in place, also inside a wrapper."""
        model = runner.model
        while hasattr(model, 'module'):
            model = model.module
        make_fast(model, half=self.half)


class HalfForward:
    """A part's ``forward``, between float32 on both sides.

    Args:
        part: With weights in bfloat16.
    """

    def __init__(self, part: nn.Module) -> None:
        self.plain = part.forward

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the part gives, in float32."""
        found = self.plain(*_cast(args, torch.bfloat16), **kwargs)
        return _cast(found, torch.float32)


def _cast(nested: Any, dtype: torch.dtype) -> Any:
    """Tensors, also in sequences, in another type; the rest as it is."""
    if type(nested) in (list, tuple):
        return type(nested)(_cast(part, dtype) for part in nested)
    if isinstance(nested, Tensor) and nested.is_floating_point():
        return nested.to(dtype)
    return nested
