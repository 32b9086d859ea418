"""Check every checkpoint before it is loaded, in a runner or outside of one.

mmengine loads weights non-strictly: a checkpoint of another model leaves the network
at its random start, and only a long list of keys is printed. Here the keys and shapes
are compared first. What must fit depends on the use:

======== ==========================================================================
resume   everything; each difference is an error
test     every tensor of the model; extra tensors in the file are a warning
finetune half of the backbone; what keeps its initial value is named, as a warning
         unless the whole backbone is there
======== ==========================================================================

A converted checkpoint states in its ``meta`` how pixels are scaled, as mean and std in
RGB order (TFLite files use 128 instead of 127.5, torchvision's weights the mean and
deviation of ImageNet). For inference this replaces the scaling of the config.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from torch import Tensor, nn

from mnv2_mm.checkpoints.content import check_entries, check_values
from mnv2_mm.checkpoints.file import read, state_dict_of
from mnv2_mm.checkpoints.key_maps.torch_models import model_key_map_of
from mnv2_mm.checkpoints.report import WeightReport
from mnv2_mm.engine.description import rgb
from mnv2_mm.engine.unfuse_conv_bn import UnfuseConvBNHook, fused_norms
from mnv2_mm.registry import HOOKS
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.modules import unwrap

Use = Literal['resume', 'test', 'finetune']

#: Share of the backbone's tensors that a checkpoint to start from must have.
MIN_BACKBONE_SHARE = 0.5


@HOOKS.register_module()
class CheckpointGuardHook(Hook):
    """Check every checkpoint that the runner loads; see the module.

    It runs before EMAHook, which also fills its moving average from the weights.
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
        # built; a hook may build the training set in an evaluation too
        training, testing = (
            isinstance(loop, BaseLoop)
            for loop in (runner._train_loop, runner._test_loop)
        )
        training = training and not testing
        use: Use = 'resume' if runner._resume else 'finetune' if training else 'test'
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
            # a new head is what one expects of a start from weights of another task
            usual = use == 'finetune' and report.share('backbone.') == 1
            level = logging.INFO if usual else logging.WARNING
            runner.logger.log(level, str(report))
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
    """Read, check and load a checkpoint; returns it and what fits."""
    model, checkpoint = unwrap(model), read(source)
    report = check(checkpoint, model, source=source, use=use, classes=classes)
    trained = ((checkpoint.get('meta') or {}).get('dataset_meta') or {}).get('classes')
    count = class_count(model)
    if use == 'test' and trained is not None and len(trained) < (count or 0):
        raise InputError(
            f'{source} is damaged: {len(trained)} class names for a network of {count} '
            'classes; copy it again, or take another checkpoint'
        )
    weights = state_dict_of(checkpoint, source)
    weights = {key: v for key, v in weights.items() if key not in report.reshaped}
    model.load_state_dict(weights, strict=False)
    apply_preprocessing(model, checkpoint.get('meta'))
    return checkpoint, report


def check(
    checkpoint: Mapping,
    model: nn.Module,
    *,
    source: str,
    use: Use,
    classes: Sequence[str] | None = None,
) -> WeightReport:
    """Compare a checkpoint with a model for one of the three uses.

    Args:
        checkpoint: What ``file.read`` or ``torch.load`` returned.
        source: File name, for the message.
        use: What the weights are for; see the module.
        classes: Class names of the config, for the message.

    Returns:
        The comparison; a warning is due unless it is ``exact``.
    """
    check_entries(checkpoint, source, resume=use == 'resume')
    weights = state_dict_of(checkpoint, source)
    own = unwrap(model).state_dict()
    check_values(weights, own, source)
    report = WeightReport.compare(weights, own, source=source)
    if report.exact:
        return report
    backbone = 'backbone.' if any(key.startswith('backbone.') for key in own) else ''
    if report.share(backbone) < MIN_BACKBONE_SHARE:
        raise InputError(_foreign(report, backbone, weights))
    if use == 'resume' or (use == 'test' and (report.reshaped or report.missing)):
        raise InputError(_unfit(report, use, checkpoint, classes))
    return report


def class_count(model: nn.Module) -> int | None:
    """Number of classes of a model's head, None without one."""
    heads = (getattr(model, f'{name}head', None) for name in ('bbox_', 'decode_', ''))
    counts = (getattr(head, 'num_classes', None) for head in heads)
    return next((count for count in counts if count is not None), None)


def _foreign(report: WeightReport, backbone: str, weights: Mapping) -> str:
    """Message for a checkpoint of another network."""
    source = report.source
    alike = sum(key.startswith(backbone) for key in report.matched)
    text = (
        f'{source} is a checkpoint of another model: {alike} tensors of the '
        f'{"backbone" if backbone else "model"} fit\n{report.differences()}\n'
    )
    key_map = model_key_map_of(weights)
    if backbone and key_map is not None and 'mnv2_mm' not in key_map.name:
        return text + (
            f'Its names are those of {key_map.name}; make a checkpoint of it by: '
            f'mnv2 convert {source} OUT.pth --config CONFIG'
        )
    if not backbone or any(key.startswith(backbone) for key in weights):
        return text + (
            'Give the checkpoint that belongs to this config, or the config of the '
            'checkpoint (it lies next to it in the work_dir).'
        )
    return text + (
        'Weights of a backbone alone are given in the config, as '
        "model=dict(backbone=dict(init_cfg=dict(type='Pretrained', "
        f"checkpoint='{source}'))), not as load_from."
    )


def _unfit(
    report: WeightReport, use: Use, checkpoint: Mapping, classes: Sequence[str] | None
) -> str:
    """Message for a checkpoint of the same backbone that must fit completely."""
    text = f'{report.source} does not fit the model:\n{report.differences()}\n'
    trained = ((checkpoint.get('meta') or {}).get('dataset_meta') or {}).get('classes')
    if trained:
        text += f'It was trained with {len(trained)} classes ({_few(trained)}); '
    if trained and classes and len(trained) != len(classes):
        text += (
            f'the config has {len(classes)} ({_few(classes)}): set `classes` of the '
            'config to those of the checkpoint.'
        )
    else:
        text += (
            'give the config that the checkpoint was trained with (it lies next to it '
            'in the work_dir).'
        )
    if use == 'resume':
        text += (
            '\nTo start a new training from these weights instead, use --cfg-options '
            f'load_from={report.source} without --resume.'
        )
    return text


def _few(names: Sequence[str]) -> str:
    """At most five names."""
    return ', '.join(map(str, names[:5])) + (', ...' if len(names) > 5 else '')


def apply_preprocessing(model: nn.Module, meta: Mapping | None) -> str | None:
    """Scale pixels as the weights expect; returns what was changed, in a sentence."""
    pairs = _own_and_expected(model, meta)
    processor: Any = getattr(model, 'data_preprocessor', None)
    if pairs and not rgb(processor):
        raise InputError(
            'these weights expect RGB, and the data_preprocessor of the config keeps '
            'the order of OpenCV; set bgr_to_rgb=True (to_rgb in mmpretrain)'
        )
    if all(torch.allclose(own, value) for own, value in pairs):
        return None
    for own, value in pairs:
        own.copy_(value)
    mean, std = (', '.join(f'{v:.4g}' for v in own.flatten()) for own, _ in pairs)
    return f'pixels are scaled as the weights expect: mean {mean}, std {std}'


def other_preprocessing(model: nn.Module, meta: Mapping | None) -> str | None:
    """What to set if a training starts from weights that expect another scaling."""
    # 127.5 or 128 makes no difference to a training
    pairs = _own_and_expected(model, meta)
    if all(torch.allclose(own, value, rtol=0.01) for own, value in pairs):
        return None
    wanted = (meta or {})['preprocessing']
    return (
        f'the weights to start from expect pixels scaled by mean={wanted["mean"]} and '
        f'std={wanted["std"]}; set them in model.data_preprocessor'
    )


def _own_and_expected(
    model: nn.Module, meta: Mapping | None
) -> list[tuple[Tensor, Tensor]]:
    """Mean and std of the model, each with the stated one; empty without either."""
    processor = getattr(model, 'data_preprocessor', None)
    wanted = (meta or {}).get('preprocessing')
    if wanted is None or getattr(processor, 'mean', None) is None:
        return []
    own = [(getattr(processor, name), wanted[name]) for name in ('mean', 'std')]
    return [(o, torch.tensor(value).to(o).reshape(o.shape)) for o, value in own]
