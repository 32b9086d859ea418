"""Look at every checkpoint before mmengine loads it.

The rules are in :mod:`mnv2_mm.checkpoints.validate`; here they are applied
inside a runner (the hook) and outside of one (:func:`load`).
"""

import logging
from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from torch import nn

from mnv2_mm.checkpoints.file import read, state_dict_of
from mnv2_mm.checkpoints.preprocessing import (
    apply_preprocessing,
    other_preprocessing,
)
from mnv2_mm.checkpoints.validate import Use, check
from mnv2_mm.engine.unfuse_conv_bn import UnfuseConvBNHook, fused_norms
from mnv2_mm.registry import HOOKS
from mnv2_mm.utils.modules import unwrap


@HOOKS.register_module()
class CheckpointGuardHook(Hook):
    """Check every checkpoint that the runner loads; see the module.

    It comes before the other hooks, so that the moving average of EMAHook
    too is filled from what was checked.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Warn of converted weights that training would spoil."""
        if any(isinstance(h, UnfuseConvBNHook) for h in runner.hooks):
            return
        model = unwrap(runner.model)
        model.train()  # which norm_eval keeps from fixed statistics
        folded = [norm for norm in fused_norms(model) if norm.training]
        if folded:
            runner.logger.warning(
                f'{len(folded)} batch norms come folded from a converted '
                'file, and training would normalize what is normalized: add '
                "custom_hooks=[dict(type='mnv2_mm.UnfuseConvBNHook')], or "
                'keep them fixed with model.backbone.norm_eval=True'
            )

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Raise or warn before mmengine loads the weights."""
        source = str(runner._load_from or 'the checkpoint')
        training = isinstance(runner._train_loop, BaseLoop)  # built
        use: Use = 'test'
        if runner._resume:
            use = 'resume'
        elif training:
            use = 'finetune'
        loop = runner._train_loop if training else runner._test_loop
        classes = _classes(getattr(loop, 'dataloader', None))
        message = check(
            checkpoint,
            runner.model,
            source=source,
            use=use,
            classes=classes,
        )
        if message:
            runner.logger.log(logging.WARNING, message)
        _match_pixels(checkpoint, runner, use)
        _fit(checkpoint, runner.model, source)


def _match_pixels(checkpoint: dict, runner: Runner, use: Use) -> None:
    """Scale pixels as converted weights state it, or warn before training."""
    model, meta = unwrap(runner.model), checkpoint.get('meta')
    if use == 'test':
        message = apply_preprocessing(model, meta)
        level = logging.INFO
    else:
        message = other_preprocessing(model, meta)
        level = logging.WARNING
    if message:
        runner.logger.log(level, message)


def _classes(loader: object) -> Sequence[str] | None:
    """Class names of the data set behind a data loader."""
    dataset = getattr(loader, 'dataset', None)
    return (getattr(dataset, 'metainfo', None) or {}).get('classes')


def _fit(checkpoint: dict, model: nn.Module, source: str) -> None:
    """Complete the weights by the model's own, so that all keys match.

    mmengine would print every other key once more, twice with EMA. Models
    that convert keys themselves while loading are left to do so.
    """
    inner = unwrap(model)
    if any(module._load_state_dict_pre_hooks for module in inner.modules()):
        return
    weights = state_dict_of(checkpoint, source)
    own = inner.state_dict()
    fitting = {
        key: weights[key]
        if key in weights and weights[key].shape == value.shape
        else value.detach().clone()
        for key, value in own.items()
    }
    if 'state_dict' not in checkpoint:
        checkpoint.clear()  # EMAHook looks for this key
    checkpoint['state_dict'] = type(own)(fitting)
    checkpoint['state_dict']._metadata = getattr(own, '_metadata', {})


def load(
    model: nn.Module,
    source: str,
    *,
    use: Use = 'test',
    classes: Sequence[str] | None = None,
) -> tuple[dict, str | None]:
    """Read, check and load a checkpoint outside of a runner.

    Returns:
        The checkpoint (for its ``meta``) and a warning or None.
    """
    checkpoint = read(source)
    warning = check(checkpoint, model, source=source, use=use, classes=classes)
    weights = state_dict_of(checkpoint, source)
    own = unwrap(model).state_dict()
    weights = {
        key: value
        for key, value in weights.items()
        if key not in own or own[key].shape == value.shape
    }
    unwrap(model).load_state_dict(weights, strict=False)
    apply_preprocessing(unwrap(model), checkpoint.get('meta'))
    return checkpoint, warning
