"""Optimize a trained model for prediction: fuse, lay out, cast, trace.

The code of the model does not change. Weights are rewritten, and the ``forward`` of the
model's stages is wrapped.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from mmcv.cnn.utils import fuse_conv_bn
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from mnv2_mm.engine.onednn_graphs import GraphForward, can_graph
from mnv2_mm.registry import HOOKS
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.modules import unwrap

DType = Literal['float32', 'bfloat16']

_STAGES = ('backbone', 'neck', 'bbox_head', 'decode_head', 'head')
#: A classifier's last layer costs nothing, and ranks by small differences.
_BFLOAT16_STAGES = _STAGES[:-1]


def optimize_for_inference(model: nn.Module, dtype: DType = 'float32') -> nn.Module:
    """Make a model predict faster, in place; it cannot be trained on afterwards.

    Batch norm is fused into the convolutions, and tensors are laid out channels last:
    the same results up to rounding, here 1e-5 of the largest value. On a processor the
    stages run as oneDNN graphs (:mod:`mnv2_mm.engine.onednn_graphs`) from the second
    image of a size on.

    Args:
        model: A detector, segmentor or classifier of the hosts.
        dtype: ``'bfloat16'`` also computes in bfloat16, up to the logits and box codes;
            a classifier's head stays in float32. Boxes move by pixels. It pays on GPUs
            and on processors with bfloat16 arithmetic.

    Returns:
        The model, in eval mode.
    """
    if dtype not in get_args(DType):
        raise InputError(
            f'dtype={dtype!r} is not offered; use one of {", ".join(get_args(DType))}'
        )
    model = fuse_conv_bn(model.eval())
    model.to(memory_format=torch.channels_last)
    for name in _STAGES:
        stage = getattr(model, name, None)
        if stage is None:
            continue
        if dtype == 'bfloat16' and name in _BFLOAT16_STAGES:
            forward = stage.to(torch.bfloat16).forward
            stage.forward = functools.partial(_in_bfloat16, forward)
        if can_graph(stage):
            stage.forward = GraphForward(stage)
    return model


@HOOKS.register_module()
class OptimizedInferenceHook(Hook):
    """Evaluate a model as :func:`optimize_for_inference` makes it."""

    priority = 'LOWEST'  # after the hooks that exchange weights (EMA)

    def __init__(self, dtype: DType = 'float32') -> None:
        self.dtype = dtype

    def before_test(self, runner: Runner) -> None:
        """Change the network of ``runner.model`` in place."""
        optimize_for_inference(unwrap(runner.model), self.dtype)


def _in_bfloat16(forward: Callable, *args: Any, **kwargs: Any) -> Any:
    """Run the ``forward`` of a module with bfloat16 weights; return float32."""
    return _cast(forward(*_cast(args, torch.bfloat16), **kwargs), torch.float32)


def _cast(nested: Any, dtype: torch.dtype) -> Any:
    """Cast floating-point tensors, also in sequences; leave the rest."""
    return pytree.tree_map(
        lambda x: x.to(dtype) if isinstance(x, Tensor) and x.is_floating_point() else x,
        nested,
    )
