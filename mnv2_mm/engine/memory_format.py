"""Train and test with tensors laid out channels last.

A 1x1 convolution, which is most of MobileNetV2, is then a matrix product over
the pixels, and oneDNN and cuDNN need no reordering around it. A map takes the
layout of the weights that produce it, so converting the weights is enough.

The values are the same up to rounding. Rounding is coarser in torch's batch norm
on the CPU: the error of its statistics is 1e-6 instead of 1e-7. A training from
TF's random start amplifies the last digit from layer to layer, so its course
differs as with another seed.
"""

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mnv2_mm.registry import HOOKS


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Convert the model before a training, validation or test.

    With several processes torch warns that the layout of the gradients differs
    from the buckets of DistributedDataParallel: it copies them.
    """

    priority = 'VERY_HIGH'  # before the hooks that copy the model (EMA)

    def before_train(self, runner: Runner) -> None:
        """Convert ``runner.model`` in place.

        Not in ``before_run``: the weights are initialized after that, and the
        random numbers would fill them in another order.
        """
        runner.model.to(memory_format=torch.channels_last)

    before_val = before_train
    before_test = before_train


def use_channels_last(cfg: Config) -> None:
    """Add the hook to a config that has none."""
    hooks = list(cfg.get('custom_hooks') or [])
    named = list((cfg.get('default_hooks') or {}).values())
    kind = f'mnv2_mm.{ChannelsLastHook.__name__}'
    if not any(hook and hook.get('type') == kind for hook in hooks + named):
        cfg.custom_hooks = [*hooks, dict(type=kind)]
