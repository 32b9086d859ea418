"""What shapes do not show: anchors and the padding of converted weights."""

import logging

import torch
from mmengine.logging import print_log
from torch import nn

from mnv2_mm.checkpoints.source import Anchors, Translation
from mnv2_mm.utils.errors import InputError


def check_anchors(model: nn.Module, anchors: Anchors, path: str) -> float:
    """Compare the anchors of a detector with those stored in its file.

    Returns:
        The largest difference, as a share of the input's side.

    Raises:
        InputError: there are fewer or more, or they lie elsewhere.
    """
    generator = model.bbox_head.prior_generator
    own = torch.cat(generator.grid_priors(generator.featmap_sizes, device='cpu'))
    width, height = generator.input_size
    if len(own) != len(anchors.boxes):
        raise InputError(
            f'{path} has {len(anchors.boxes)} anchors, the config makes '
            f'{len(own)} for an input of {width}x{height}; set '
            'model.bbox_head.anchor_generator.input_size to the size of the '
            'file'
        )
    x1, y1, x2, y2 = (own / own.new_tensor([width, height] * 2)).T
    own = torch.stack([(y1 + y2) / 2, (x1 + x2) / 2, y2 - y1, x2 - x1], dim=1)
    difference = float((own - anchors.boxes).abs().max())
    if difference > anchors.step / 2 + 1e-4:
        raise InputError(
            f'{path} has other anchors than the config: they differ by '
            f'{difference:.3f} of the side of the image. Set scales and '
            'reduce_lowest of model.bbox_head.anchor_generator as the file '
            'was trained'
        )
    return difference


def warn_of_padding(translation: Translation, model: nn.Module, path: str) -> None:
    """Warn of the padding rule: its wrong choice costs accuracy only."""
    backbone = getattr(model, 'backbone', None)
    padding = getattr(backbone, 'padding', None)
    if None in (padding, translation.padding):
        return
    if padding != translation.padding:
        print_log(
            f'{path} was trained with padding={translation.padding!r}, the '
            f"config's backbone has {padding!r}: unless every map is odd "
            '(inputs of 16n+1), set model.backbone.padding'
            f'={translation.padding!r}, and the same of neck and head',
            'current',
            logging.WARNING,
        )
