"""Assign translated weights to the network of a config.

Some differences keep the same function of the image and are converted: a fused batch
norm, another epsilon of a batch norm, classes that the data set never had. Others are
errors: different shapes, different anchors, a tensor without a source.
"""

import logging
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mnv2_mm.checkpoints.key_maps.slim import SLIM, remove_extra_classes
from mnv2_mm.checkpoints.report import WeightReport, brief
from mnv2_mm.checkpoints.source import Anchors, Source, Translation
from mnv2_mm.models.blocks import make_divisible
from mnv2_mm.utils.errors import InputError


def assign(
    translation: Translation,
    model: nn.Module,
    source: Source,
    *,
    allow_missing: bool = False,
) -> tuple[dict[str, Tensor], WeightReport]:
    """Fill the state dict of a model with translated weights.

    Args:
        translation: The weights with our keys.
        model: Of the config, with its initial values.
        source: Their file, for messages.
        allow_missing: Let tensors of the model without a source keep their initial
            values, also heads of another class count.

    Returns:
        The complete state dict, and what became of every tensor.
    """
    own = model.state_dict()
    tensors, names = dict(translation.tensors), dict(translation.origin)
    for layer, module in model.named_modules():
        if isinstance(module, _BatchNorm):
            _convert_norm(layer, module.eps, tensors, names, translation.bn_eps)
    if translation.key_map == SLIM:
        for key in own.keys() & tensors.keys():
            value, note = remove_extra_classes(key, tensors[key], own[key].shape)
            tensors[key], names[key] = value, names[key] + note
    report = WeightReport.compare(tensors, own, source=source.path, names=names)
    report.key_map, report.set_aside = translation.key_map, source.set_aside
    report.unused += translation.unused
    backbone = any(key.startswith('backbone.') for key in report.reshaped)
    if report.reshaped and (backbone or not allow_missing):
        raise InputError(_other_shapes(report, tensors, own))
    if report.missing and not allow_missing:
        raise InputError(
            f'{source.path} does not fill the network: it has no '
            f'{brief(report.missing)}. Give the config that belongs to the file; '
            'mnv2 convert --allow-missing keeps their initial values'
        )
    if source.anchors is not None and hasattr(model, 'bbox_head'):
        check_anchors(model, source.anchors, source.path)
    _warn_of_padding(translation, model, source.path)
    own.update((key, tensors[key].to(own[key].dtype)) for key in report.matched)
    return own, report


def _convert_norm(
    layer: str,
    eps: float,
    tensors: dict[str, Tensor],
    names: dict[str, str],
    bn_eps: Mapping[str, float],
) -> None:
    """Convert the tensors of a batch norm to its ``eps``, in place."""
    conv_bias = f'{layer.removesuffix(".bn")}.conv.bias'
    if f'{layer}.weight' not in tensors and conv_bias in tensors:
        # fused: what remains adds the bias, since variance and epsilon sum up to 1
        bias, name = tensors.pop(conv_bias), names.pop(conv_bias)
        for leaf, value in {
            'weight': torch.ones_like(bias),
            'bias': bias,
            'running_mean': torch.zeros_like(bias),
            'running_var': torch.full_like(bias, 1 - eps),
        }.items():
            tensors[f'{layer}.{leaf}'] = value
            names[f'{layer}.{leaf}'] = f'{name} (fused batch norm)'
        return
    starts = [start for start in bn_eps if f'{layer}.'.startswith(start)]
    gamma = tensors.get(f'{layer}.weight')
    variance = tensors.get(f'{layer}.running_var')
    trained = bn_eps[max(starts, key=len)] if starts else eps
    if trained != eps and gamma is not None and variance is not None:
        scale = (variance.double() + eps) / (variance + trained)
        tensors[f'{layer}.weight'] = (gamma * scale.sqrt()).to(gamma.dtype)


#: Layers whose channels tell the width, and these channels at width 1.
_WIDTH_LAYERS = {
    f'backbone.layer{stage}.0.linear_conv.conv.weight': channels
    for stage, channels in ((2, 24), (6, 160), (7, 320))
}


def _other_shapes(
    report: WeightReport, tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> str:
    """Message that says which shapes differ, and what to set."""
    key, (theirs, ours) = next(iter(report.reshaped.items()))
    count = len(report.reshaped)
    text = (
        f'{report.source} does not fit the network: {count} tensor{"s" * (count > 1)} '
        f'of another shape, first {key}: {theirs} in the file, {ours} in the network. '
    )
    if not key.startswith('backbone.'):
        return (
            f'{text}Set num_classes, in_channels and anchors to those of the file, or '
            'start this layer from its initial values by mnv2 convert '
            '--allow-missing'
        )
    widths, own_widths = (
        [len(weights[layer]) for layer in _WIDTH_LAYERS if layer in weights]
        for weights in (tensors, own)
    )
    if widths == own_widths:  # the width was set already
        return f'{text}Set model.backbone.shrink_last, or take the config of the file'
    text += 'Set model.backbone.widen_factor to the width of the file'
    for divisor in (8, 1):
        for width in (0.35, 0.5, 0.75, 1.0, 1.3, 1.4):
            channels = [
                make_divisible(c * width, divisor) for c in _WIDTH_LAYERS.values()
            ]
            if widths == channels:
                rounding = f' and divisor={divisor}' if divisor != 8 else ''
                return f'{text}; the file looks like widen_factor={width}{rounding}'
    return text


def check_anchors(model: nn.Module, anchors: Anchors, path: str) -> float:
    """Compare a detector's anchors with those of its file; returns the difference."""
    head: Any = model.bbox_head
    generator = head.prior_generator
    own = torch.cat(generator.grid_priors(generator.featmap_sizes, device='cpu'))
    width, height = generator.input_size
    if len(own) != len(anchors.boxes):
        raise InputError(
            f'{path} has {len(anchors.boxes)} anchors, the config makes {len(own)} for '
            f'an input of {width}x{height}; set '
            'model.bbox_head.anchor_generator.input_size to the size of the file'
        )
    x1, y1, x2, y2 = (own / own.new_tensor([width, height] * 2)).T
    own = torch.stack([(y1 + y2) / 2, (x1 + x2) / 2, y2 - y1, x2 - x1], dim=1)
    difference = float((own - anchors.boxes).abs().max())
    if difference > anchors.step / 2 + 1e-4:
        raise InputError(
            f'{path} has other anchors than the config ({difference:.3f} of the side '
            'of the image apart): set scales and reduce_lowest of '
            'model.bbox_head.anchor_generator as the file was trained'
        )
    return difference


def _warn_of_padding(translation: Translation, model: nn.Module, path: str) -> None:
    """Warn if the padding differs: no shape shows it, and it costs accuracy."""
    trained = translation.padding
    padding = getattr(getattr(model, 'backbone', None), 'padding', None)
    if None not in (padding, trained) and padding != trained:
        print_log(
            f"{path} was trained with padding={trained!r}, the config's backbone has "
            f'{padding!r}: unless every map is odd (inputs of 16n+1), set '
            f'model.backbone.padding={trained!r}, and the same in neck and head',
            'current',
            logging.WARNING,
        )
