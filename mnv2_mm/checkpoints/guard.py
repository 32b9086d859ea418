"""Check every checkpoint before it is loaded, in a runner or outside of one.

The rules are in :mod:`mnv2_mm.checkpoints.validate`.
"""

import logging
from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from torch import nn

from mnv2_mm.checkpoints.file import read, state_dict_of
from mnv2_mm.checkpoints.preprocessing import apply_preprocessing, other_preprocessing
from mnv2_mm.checkpoints.report import WeightReport
from mnv2_mm.checkpoints.validate import Use, check
from mnv2_mm.engine.unfuse_conv_bn import UnfuseConvBNHook, fused_norms
from mnv2_mm.registry import HOOKS
from mnv2_mm.utils.modules import unwrap


@HOOKS.register_module()
class CheckpointGuardHook(Hook):
    """Check every checkpoint that the runner loads; see the module.

    It runs before the other hooks, so that EMAHook too fills its moving average from
    checked weights.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Warn of fused batch norms, which training would spoil."""
        if any(isinstance(h, UnfuseConvBNHook) for h in runner.hooks):
            return
        model = unwrap(runner.model)
        model.train()  # norm_eval then fixes the statistics
        fused = [norm for norm in fused_norms(model) if norm.training]
        if fused:
            runner.logger.warning(
                f'{len(fused)} batch norms of the converted weights are fused into '
                'their convolutions, and training would normalize twice: add '
                "custom_hooks=[dict(type='mnv2_mm.UnfuseConvBNHook')], or keep the "
                'statistics fixed with model.backbone.norm_eval=True'
            )

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Raise or warn before mmengine loads the weights."""
        training = isinstance(runner._train_loop, BaseLoop)  # built
        use: Use = 'test'
        if runner._resume:
            use = 'resume'
        elif training:
            use = 'finetune'
        loop = runner._train_loop if training else runner._test_loop
        dataset = getattr(getattr(loop, 'dataloader', None), 'dataset', None)
        report = check(
            checkpoint,
            runner.model,
            source=str(runner._load_from or 'the checkpoint'),
            use=use,
            classes=(getattr(dataset, 'metainfo', None) or {}).get('classes'),
        )
        if not report.exact:
            runner.logger.warning(str(report))
        model, meta = unwrap(runner.model), checkpoint.get('meta')
        if use == 'test':
            level, message = logging.INFO, apply_preprocessing(model, meta)
        else:
            level, message = logging.WARNING, other_preprocessing(model, meta)
        if message:
            runner.logger.log(level, message)
        _complete(checkpoint, model, report)


def _complete(checkpoint: dict, model: nn.Module, report: WeightReport) -> None:
    """Replace the weights in place by a whole state dict of the model.

    mmengine would print each differing key again, twice with EMA. Models that convert
    keys themselves while loading are left alone.
    """
    if any(module._load_state_dict_pre_hooks for module in model.modules()):
        return
    weights = state_dict_of(checkpoint, report.source)
    own = model.state_dict()
    for key, value in own.items():
        fits = key in weights and key not in report.reshaped
        own[key] = weights[key] if fits else value.detach().clone()
    if 'state_dict' not in checkpoint:
        checkpoint.clear()  # EMAHook looks for this key
    checkpoint['state_dict'] = own


def load(
    model: nn.Module,
    source: str,
    *,
    use: Use = 'test',
    classes: Sequence[str] | None = None,
) -> tuple[dict, WeightReport]:
    """Read, check and load a checkpoint outside of a runner.

    Returns:
        The checkpoint (for its ``meta``), and what fits the model.
    """
    model, checkpoint = unwrap(model), read(source)
    report = check(checkpoint, model, source=source, use=use, classes=classes)
    weights = state_dict_of(checkpoint, source)
    weights = {key: v for key, v in weights.items() if key not in report.reshaped}
    model.load_state_dict(weights, strict=False)
    apply_preprocessing(model, checkpoint.get('meta'))
    return checkpoint, report
