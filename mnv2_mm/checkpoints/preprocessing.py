"""The scaling of pixels that trained weights expect.

A converted checkpoint states it in its ``meta``, as mean and standard deviation in RGB
order. For inference it replaces that of the config: TFLite files use 128 instead of
127.5, torchvision's weights the mean and deviation of ImageNet.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mnv2_mm.utils.errors import InputError


def apply_preprocessing(model: nn.Module, meta: Mapping | None) -> str | None:
    """Set the data preprocessor of a model to the scaling that the weights expect.

    Returns:
        What was changed, in a sentence, or None.

    Raises:
        InputError: the config does not turn images into RGB.
    """
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


def rgb(processor: nn.Module) -> bool:
    """Whether the data preprocessor of a host turns images into RGB."""
    return bool(
        getattr(processor, '_channel_conversion', False)
        or getattr(processor, 'to_rgb', False)
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
