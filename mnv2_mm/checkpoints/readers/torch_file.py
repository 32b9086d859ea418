"""Read the weights in a file of PyTorch or safetensors.

Checkpoints hold more than weights, and each code base nests them differently. This
reads the innermost state dict, or its moving average if there is one; everything else
is set aside with the reason.
"""

import os
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from mnv2_mm.checkpoints.file import holds_tensors, is_safetensors, read, state_dict_of
from mnv2_mm.checkpoints.key_maps.backbones import key_map_of
from mnv2_mm.checkpoints.source import Source, sha256_of
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.files import user_path

#: Keys of moving averages in timm, torchvision's training scripts and others. They are
#: what was evaluated and published. mmengine's 'ema_state_dict' is the opposite: its
#: EMAHook saves the average as 'state_dict' and the raw weights here.
AVERAGES = ('state_dict_ema', 'model_ema', 'ema')
#: Keys of weights.
WEIGHTS = ('state_dict', 'model_state_dict', 'model', 'net', 'module')
#: What wrappers (DDP, torch.compile, Lightning) add before every name.
WRAPPERS = ('module.', '_orig_mod.', 'model.')


def read_torch(path: str | os.PathLike, *, trust: bool = False) -> Source:
    """Read the floating-point tensors of a state dict or a checkpoint.

    Args:
        path: The file.
        trust: Let the file run code; see :func:`~mnv2_mm.checkpoints.file.read`.

    Returns:
        Copies in float32, by the names in the file without :data:`WRAPPERS`.
    """
    path = user_path(path)
    found, where, set_aside = _innermost(read(path, trust=trust))
    named = {
        key: value
        for key, value in found.items()
        if isinstance(key, str) and isinstance(value, Tensor)
    }
    set_aside |= {str(key): 'no tensor' for key in found if key not in named}
    weights = state_dict_of(named, str(path))
    for prefix in WRAPPERS * 2:
        if all(key.startswith(prefix) for key in weights):
            weights = {k.removeprefix(prefix): v for k, v in weights.items()}
    if key_map_of(weights) is None:
        # keys of something else beside the network, such as a loss, have no wrapper
        wrapped = f'^({"|".join(map(re.escape, WRAPPERS))})+'
        bare = {re.sub(wrapped, '', k): v for k, v in weights.items()}
        if key_map_of(bare) and len(bare) == len(weights):
            weights = bare
    reasons = {key: _no_weight(key, value) for key, value in weights.items()}
    set_aside |= {key: reason for key, reason in reasons.items() if reason}
    tensors = {key: value for key, value in weights.items() if not reasons[key]}
    if not tensors:
        raise InputError(
            f'{path} holds no floating-point weights, only {len(named)} tensors of '
            'other kinds; give the file of a float network'
        )
    # copies, since torch maps the file, which may be overwritten
    tensors = {
        key: value.detach().float().clone(memory_format=torch.contiguous_format)
        for key, value in tensors.items()
    }
    kind = 'safetensors' if is_safetensors(path) else 'PyTorch'
    form = f'{kind}, {where[-1]}' if where else kind
    return Source(str(path), form, sha256_of(path), tensors, set_aside)


def _innermost(content: Mapping) -> tuple[Mapping, list[str], dict[str, str]]:
    """The innermost state dict, the keys on the way to it, the rest with reasons."""
    where: list[str] = []
    set_aside: dict[str, str] = {}
    while True:
        inner = [k for k in (*AVERAGES, *WEIGHTS) if holds_tensors(content.get(k))]
        if not inner:
            return content, where, set_aside
        for key in content:
            if key == inner[0]:
                continue
            if key in WEIGHTS and inner[0] in AVERAGES:
                reason = 'raw weights; their moving average is read'
            elif key == 'ema_state_dict':
                reason = 'raw weights, kept by EMAHook to resume'
            elif 'optim' in str(key):
                reason = 'state of the optimizer'
            else:
                reason = 'of the training, no weights'
            set_aside['.'.join([*where, str(key)])] = reason
        where.append(inner[0])
        content = content[inner[0]]


def _no_weight(key: str, value: Tensor) -> str | None:
    """Why a tensor is no weight, or None if it may be one."""
    if key.endswith('num_batches_tracked'):
        return 'counter of batches'
    if value.is_quantized:
        return 'quantized'
    if value.layout != torch.strided or value.device.type != 'cpu':
        return f'{value.layout} on {value.device}, no plain values'
    if not value.is_floating_point():
        return f'{value.dtype}, no float'
    return None
