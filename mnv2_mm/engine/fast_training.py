"""What ``tools/train.py`` does for speed: memory on a CPU, numbers by ``--fast``.

- bfloat16: mmengine's AmpOptimWrapper is for float16 on a GPU, whose small range needs
  a scaled loss; bfloat16 has the range of float32. Processors with AVX512-BF16 or AMX
  multiply it twice as fast as float32; others do not get it.
- channels last: a 1x1 convolution, which is most of MobileNetV2, is then a matrix
  product over the pixels. A map takes the layout of the weights that produce it, so
  converting the weights is enough. Rounding is coarser in torch's batch norm on the
  CPU, 1e-6 instead of 1e-7, and a training from TF's random start amplifies the last
  digit from layer to layer: its course differs as with another seed.
- memory: glibc returns large blocks to the system at once, and the system clears every
  page before it gives it out again, which costs a tenth of a training step on a
  processor.
"""

import ctypes
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn

from mnv2_mm.registry import HOOKS, OPTIM_WRAPPERS
from mnv2_mm.runtime.machine import bfloat16_pays, check_bfloat16, no_bfloat16
from mnv2_mm.utils.config import is_of_mmengine
from mnv2_mm.utils.errors import InputError


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """mmengine's OptimWrapper with the forward pass under bfloat16 autocast.

    Weights, their gradients and the optimizer stay in float32.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """The context of a forward pass, on the model's device."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, torch.bfloat16):
            yield


def set_mixed_precision(cfg: Config) -> str:
    """Let a config train in mixed precision: float16 on a GPU, else bfloat16.

    Returns:
        The type of the numbers.

    Raises:
        InputError: a processor without bfloat16 arithmetic, or another optim_wrapper.
    """
    wrapper = cfg.optim_wrapper
    kind = wrapper.get('type', 'OptimWrapper')
    ours = f'mnv2_mm.{BFloat16OptimWrapper.__name__}'
    known = ('OptimWrapper', 'AmpOptimWrapper')
    if kind != ours and not any(is_of_mmengine(kind, name) for name in known):
        raise InputError(
            'mixed precision needs a config whose optim_wrapper.type is OptimWrapper, '
            f'and it is {kind}'
        )
    if torch.cuda.is_available() and kind != ours:
        wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')
        return 'float16'
    if not torch.cuda.is_available():
        check_bfloat16()
    wrapper.type = ours
    for key in ('loss_scale', 'dtype'):
        wrapper.pop(key, None)  # of AmpOptimWrapper
    return 'bfloat16'


def set_memory_use(cfg: Config) -> str:
    """Lay tensors out channels last and keep freed memory.

    Every training on a CPU does; results differ by rounding alone.

    Returns:
        The choice in one line.
    """
    use_channels_last(cfg)
    kept = ', freed memory kept' if keep_freed_memory() else ''
    return f'memory: channels last{kept}'


def set_fast(cfg: Config) -> str:
    """Set what ``--fast`` stands for, as far as it pays on this machine.

    Returns:
        The choice in one line.
    """
    if torch.cuda.is_available():
        use_channels_last(cfg)
        return f'--fast: channels last, {set_mixed_precision(cfg)}'
    if bfloat16_pays():
        return f'--fast: {set_mixed_precision(cfg)}'
    return f'--fast changes nothing here: float32, as {no_bfloat16()}'


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Convert the model before a training, validation or test."""

    priority = 'VERY_HIGH'  # before the hooks that copy the model (EMA)

    def before_train(self, runner: Runner) -> None:
        """Convert ``runner.model`` in place.

        Not in ``before_run``: the weights are initialized after that, and the random
        numbers would fill them in another order. The buckets of a
        DistributedDataParallel have the layout at its making: gradients of another one
        would be scrambled, so it stays as it is where the runner did not prepare it.
        """
        if is_model_wrapper(runner.model) and not getattr(runner, 'prepared', False):
            return
        runner.model.to(memory_format=torch.channels_last)

    before_val = before_test = before_train


def use_channels_last(cfg: Config) -> None:
    """Add the hook to a config that has none."""
    if not has_channels_last(cfg):
        kind = f'mnv2_mm.{ChannelsLastHook.__name__}'
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), dict(type=kind)]


def has_channels_last(cfg: Config) -> bool:
    """Whether a config has the hook."""
    hooks = list(cfg.get('custom_hooks') or [])
    hooks += (cfg.get('default_hooks') or {}).values()
    kinds = f'mnv2_mm.{ChannelsLastHook.__name__}', ChannelsLastHook
    return any(isinstance(h, Mapping) and h.get('type') in kinds for h in hooks)


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory for the next step; returns whether that worked.

    The process holds as much memory as its largest step needs, until it ends. It
    changes the process, so tools call it, never the library. Environment variables of
    glibc that the user has set take precedence.
    """
    libc = ctypes.CDLL(None) if sys.platform.startswith('linux') else None
    if not hasattr(libc, 'mallopt'):  # not glibc
        return False
    options = {  # by the numbers of malloc.h
        'MALLOC_TRIM_THRESHOLD_': (-1, 2**31 - 1),  # bytes to keep: all
        'MALLOC_MMAP_MAX_': (-4, 0),
    }
    return all(
        libc.mallopt(*option) == 1
        for name, option in options.items()
        if name not in os.environ
    )
