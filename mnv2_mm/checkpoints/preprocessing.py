"""The scaling of pixels that trained weights expect.

A converted checkpoint states it in its ``meta``, as mean and standard
deviation in RGB order. Where the weights are only run it replaces the
config's: TFLite files use 128 instead of 127.5, torchvision's weights the
mean and deviation of ImageNet.
"""

import torch
from torch import nn

from mnv2_mm.utils.errors import InputError


def apply_preprocessing(model: nn.Module, meta: dict | None) -> str | None:
    """Set the model's data preprocessor to what the weights expect.

    Returns:
        What was changed, in a sentence, or None.

    Raises:
        InputError: the config does not turn images into RGB.
    """
    wanted, processor = _both(model, meta)
    if wanted is None:
        return None
    if not rgb(processor):
        raise InputError(
            'these weights expect RGB, and the data_preprocessor of the '
            'config keeps the order of OpenCV; set bgr_to_rgb=True (to_rgb '
            'in mmpretrain)'
        )
    changed = []
    for name in ('mean', 'std'):
        own = getattr(processor, name)
        value = torch.tensor(wanted[name]).to(own).reshape(own.shape)
        if not torch.allclose(own, value):
            changed.append(name)
            own.copy_(value)
    if not changed:
        return None
    mean = ', '.join(f'{value:.4g}' for value in wanted['mean'])
    std = ', '.join(f'{value:.4g}' for value in wanted['std'])
    return f'pixels are scaled as the weights expect: mean {mean}, std {std}'


def other_preprocessing(model: nn.Module, meta: dict | None) -> str | None:
    """What to set when a training is to start from such weights."""
    wanted, processor = _both(model, meta)
    if wanted is None:
        return None
    for name in ('mean', 'std'):
        own = getattr(processor, name).flatten()
        # 127.5 or 128 makes no difference to a training
        if not torch.allclose(own, torch.tensor(wanted[name]), rtol=0.01):
            return (
                'the weights to start from expect pixels scaled by '
                f'mean={wanted["mean"]} and std={wanted["std"]}; set them '
                'in model.data_preprocessor'
            )
    return None


def rgb(processor: nn.Module) -> bool:
    """Whether a host's data preprocessor turns images into RGB."""
    return bool(
        getattr(processor, '_channel_conversion', False)
        or getattr(processor, 'to_rgb', False)
    )


def _both(model: nn.Module, meta: dict | None) -> tuple[dict | None, nn.Module | None]:
    """The stated preprocessing and the module, or (None, None)."""
    processor = getattr(model, 'data_preprocessor', None)
    wanted = (meta or {}).get('preprocessing')
    if wanted is None or getattr(processor, 'mean', None) is None:
        return None, None
    return wanted, processor
