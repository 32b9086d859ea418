"""Optimize a trained model for prediction: fuse, lay out, cast, trace.

The code of the model does not change. Weights are rewritten, and the ``forward`` of
some parts is wrapped.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal

import torch
from mmcv.cnn.utils import fuse_conv_bn
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from mnv2_mm.engine.network_graph import use_graph
from mnv2_mm.registry import HOOKS
from mnv2_mm.runtime.machine import check_bfloat16, describe
from mnv2_mm.utils.arguments import check_choice
from mnv2_mm.utils.compat import installed
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.modules import unwrap

Backend = Literal['auto', 'pytorch', 'onnxruntime']
DType = Literal['float32', 'bfloat16']

#: A classifier's last layer, ``head``, costs nothing, and ranks by small differences.
_BFLOAT16_STAGES = ('backbone', 'neck', 'bbox_head', 'decode_head')
#: What an export to ONNX Runtime needs.
_NEEDS = ('onnxruntime', 'onnx')


def optimize_for_inference(
    model: nn.Module, dtype: DType = 'float32', backend: Backend = 'auto'
) -> nn.Module:
    """Make a model predict faster, in place; it cannot be trained on afterwards.

    Batch norm is fused into the convolutions, and tensors are laid out channels last
    (not in float32 on a GPU, where that was not measured): the same results up to
    rounding, here 1e-5 of the largest value. On a processor the network runs as a graph
    (:mod:`mnv2_mm.engine.network_graph`) after a few images.

    Args:
        model: A detector, segmentor or classifier of the hosts.
        dtype: ``'bfloat16'`` also computes in bfloat16, up to the logits and box codes;
            a classifier's head stays in float32. Boxes move by pixels. For GPUs, and
            for processors with bfloat16 arithmetic.
        backend: What runs the graph: ``'onnxruntime'``, ``'pytorch'`` (oneDNN), or
            ``'auto'``, the first where it is installed and can.

    Returns:
        The model, in eval mode.

    Raises:
        InputError: one of these is not offered, or does not go with the others.
    """
    check_choice('dtype', dtype, DType)
    check_choice('backend', backend, Backend)
    on_cpu = all(weight.device.type == 'cpu' for weight in model.parameters())
    if dtype == 'bfloat16' and on_cpu:
        check_bfloat16()
    missing = [name for name in _NEEDS if not installed(name)]
    onnx = on_cpu and dtype == 'float32' and not missing
    if backend == 'onnxruntime' and not onnx:
        remedy = f'pip install {" ".join(missing)}' if missing else "use 'auto'"
        raise InputError(
            f"backend='onnxruntime' needs {', '.join(_NEEDS)}, a processor and "
            f'float32: {remedy}'
        )
    model = fuse_conv_bn(model.eval())
    if on_cpu or dtype == 'bfloat16':
        model.to(memory_format=torch.channels_last)
    for name in _BFLOAT16_STAGES if dtype == 'bfloat16' else ():
        if stage := getattr(model, name, None):
            forward = stage.to(torch.bfloat16).forward
            stage.forward = functools.partial(_in_bfloat16, forward)
    if on_cpu:
        use_graph(model, onnx=onnx and backend != 'pytorch')
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
        runner.logger.info(f'optimized for inference in {self.dtype} on {describe()}')


def _in_bfloat16(forward: Callable, *args: Any, **kwargs: Any) -> Any:
    """Run the ``forward`` of a module with bfloat16 weights; return float32."""
    return _cast(forward(*_cast(args, torch.bfloat16), **kwargs), torch.float32)


def _cast(nested: Any, dtype: torch.dtype) -> Any:
    """Cast floating-point tensors, also in sequences; leave the rest."""
    return pytree.tree_map(
        lambda x: x.to(dtype) if isinstance(x, Tensor) and x.is_floating_point() else x,
        nested,
    )
