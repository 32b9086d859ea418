"""Lay the network's tensors out channels last.

A 1x1 convolution, which is most of MobileNetV2, is then a plain matrix
product over the pixels, and oneDNN and cuDNN need no reordering around it.
Maps take the layout of the weights that made them, so converting the weights
is enough and no model file knows of it.

The values are the same up to rounding, which is coarser in torch's batch norm
on the CPU: its statistics are off by some 1e-6 instead of 1e-7. A training
from TF's random start, whose gradients amplify the last digit from layer to
layer, takes another course with it, as it would with another seed.
"""

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mnv2_mm.registry import HOOKS


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Convert the model before a training, validation or test.

    With several processes too, though torch warns then that gradients no
    longer lie as DistributedDataParallel's buckets do: it copies them.
    """

    priority = 'VERY_HIGH'  # before the hooks that copy the model (EMA)

    def before_train(self, runner: Runner) -> None:
        """Convert ``runner.model`` in place.

        Not in ``before_run``: the random start comes after that, and would
        fill the weights in another order.
        """
        runner.model.to(memory_format=torch.channels_last)

    before_val = before_train
    before_test = before_train


def use_channels_last(cfg: Config) -> None:
    """Give a config the hook, where it has none."""
    hooks = list(cfg.get('custom_hooks') or [])
    named = list((cfg.get('default_hooks') or {}).values())
    kind = f'mnv2_mm.{ChannelsLastHook.__name__}'
    if not any(hook and hook.get('type') == kind for hook in hooks + named):
        cfg.custom_hooks = [*hooks, dict(type=kind)]
