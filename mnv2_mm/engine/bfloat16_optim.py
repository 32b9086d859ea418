"""Mixed precision in bfloat16, on processors too.

mmengine's AmpOptimWrapper is for float16 on a GPU, whose small range needs a
scaled loss. bfloat16 has the range of float32 and needs no scaling. Processors
with AVX512-BF16 or AMX multiply it twice as fast as float32.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from torch import nn

from mnv2_mm.registry import OPTIM_WRAPPERS
from mnv2_mm.utils.errors import InputError


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """mmengine's wrapper with the forward pass under bfloat16 autocast.

    Weights, their gradients and the optimizer stay in float32. Takes the
    arguments of :class:`mmengine.optim.OptimWrapper`.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """The context of a forward pass, on the model's device."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, torch.bfloat16):
            yield


def set_mixed_precision(cfg: Config) -> list[str]:
    """Let a config train in mixed precision: float16 on a GPU, or bfloat16.

    Returns:
        Warnings for the user.

    Raises:
        InputError: the config has an optimizer wrapper of another kind.
    """
    ours = f'mnv2_mm.{BFloat16OptimWrapper.__name__}'
    kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
    if kind == ours:
        return []
    if kind not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise InputError(
            'mixed precision needs a config whose optim_wrapper.type is '
            f'OptimWrapper, and it is {kind}'
        )
    if torch.cuda.is_available():
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.loss_scale = 'dynamic'
        return []
    cfg.optim_wrapper.type = ours
    for key in ('loss_scale', 'dtype'):
        cfg.optim_wrapper.pop(key, None)  # of AmpOptimWrapper
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return []
    return [
        'this processor has no bfloat16 arithmetic (AVX512-BF16 or AMX); '
        'mixed precision is slower on it than float32'
    ]
