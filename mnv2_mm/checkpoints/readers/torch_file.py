"""Read the weights in a file of PyTorch or safetensors.

Checkpoints hold more than weights, and everybody nests them differently.
What is taken is the innermost state dict, or the moving average of it where
there is one; everything else is set aside with the reason.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from mnv2_mm.checkpoints.file import state_dict_of
from mnv2_mm.checkpoints.readers.torch_pickle import (
    DAMAGED,
    brief,
    read_pickle,
)
from mnv2_mm.checkpoints.source import Source, sha256_of
from mnv2_mm.utils.errors import InputError

#: Where moving averages of the weights are kept: by timm, by torchvision's
#: training scripts, by others. They are what was evaluated and published.
#: mmengine's 'ema_state_dict' is the opposite: its EMAHook saves the average
#: as 'state_dict' and the raw weights here.
AVERAGES = ('state_dict_ema', 'model_ema', 'ema')
#: Where the weights are kept.
WEIGHTS = ('state_dict', 'model_state_dict', 'model', 'net', 'module')
#: What wrappers (DDP, torch.compile, Lightning) put before every name.
WRAPPERS = ('module.', '_orig_mod.', 'model.')

_DEPTH = 4  # of nested dictionaries


def read_torch(path: str | os.PathLike) -> Source:
    """Read the floating-point tensors of a state dict or a checkpoint.

    Only weights are read: a file that wants to run code is refused.

    Returns:
        Copies in float32, by the names in the file without the prefixes of
        :data:`WRAPPERS`.

    Raises:
        InputError: there is no such file, it is damaged or of another
            format, wants to run code, or holds no weights.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(
            f'there is no file {path}; give a state dict or a checkpoint of '
            'PyTorch (.pth, .pt), or a .safetensors file'
        )
    found, where, set_aside = _weights_in(_content(path))
    named = {}
    for key, value in found.items():
        if isinstance(key, str) and isinstance(value, Tensor):
            named[key] = value
        else:
            set_aside[str(key)] = 'no tensor'
    tensors = {}
    for key, value in _unwrapped(state_dict_of(named, str(path))).items():
        reason = _no_weight(key, value)
        if reason:
            set_aside[key] = reason
        else:
            tensors[key] = value
    if not tensors:
        raise InputError(
            f'{path} holds no floating-point weights, only {len(named)} '
            'tensors of other kinds; give the file of a float network'
        )
    _check_claims(tensors, path)
    kind = 'safetensors' if is_safetensors(path) else 'PyTorch'
    return Source(
        str(path),
        f'{kind}, {where[-1]}' if where else kind,
        sha256_of(path),
        # copies, since torch maps the file, which may be written over
        {
            key: value.detach().to(
                torch.float32,
                copy=True,
                memory_format=torch.contiguous_format,
            )
            for key, value in tensors.items()
        },
        set_aside,
    )


def is_safetensors(path: str | os.PathLike) -> bool:
    """Whether the file begins with a length and a JSON object."""
    with open(path, 'rb') as file:
        start = file.read(9)
    return start[8:] == b'{' and start[:2] != b'PK'


def _content(path: Path) -> object:
    if not is_safetensors(path):
        if path.suffix == '.safetensors':
            raise InputError(
                f'{path} is no safetensors file: it does not begin with a '
                'header; download it again'
            )
        return read_pickle(path)
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise InputError(
            f'reading {path} needs the package safetensors, which is not '
            'installed: pip install safetensors'
        ) from error
    try:
        return load_file(path)
    except Exception as error:  # of its Rust part, or of torch
        raise InputError(f'{path} {DAMAGED} ({brief(error)})') from error


def _weights_in(
    content: object,
) -> tuple[Mapping, tuple[str, ...], dict[str, str]]:
    """The innermost state dict, the keys on the way to it, the rest."""
    where: tuple[str, ...] = ()
    set_aside: dict[str, str] = {}
    while isinstance(content, Mapping) and len(where) < _DEPTH:
        inner = [
            key
            for key in (*AVERAGES, *WEIGHTS)
            if isinstance(content.get(key), Mapping) and _holds_tensors(content[key])
        ]
        if not inner:
            break
        for key in content:
            if key != inner[0]:
                name = '.'.join([*where, str(key)])
                averaged = inner[0] in AVERAGES
                set_aside[name] = _no_state_dict(key, averaged=averaged)
        where = (*where, inner[0])
        content = content[inner[0]]
    # what was expected is said by state_dict_of
    return content if isinstance(content, Mapping) else {}, where, set_aside


def _holds_tensors(content: Mapping, depth: int = _DEPTH) -> bool:
    return depth > 0 and any(
        isinstance(value, Tensor)
        or (isinstance(value, Mapping) and _holds_tensors(value, depth - 1))
        for value in content.values()
    )


def _no_state_dict(key: object, *, averaged: bool) -> str:
    if key in WEIGHTS and averaged:
        return 'raw weights; their moving average is read'
    if key == 'ema_state_dict':
        return 'raw weights, kept by EMAHook to resume'
    if 'optim' in str(key):
        return 'state of the optimizer'
    return 'of the training, no weights'


def _unwrapped(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without the prefixes that all names have."""
    for prefix in WRAPPERS * 2:
        if all(key.startswith(prefix) for key in weights):
            weights = {k.removeprefix(prefix): v for k, v in weights.items()}
    return weights


def _no_weight(key: str, value: Tensor) -> str | None:
    """Why a tensor is no weight, or None if it may be one."""
    if key.endswith('num_batches_tracked'):
        return 'counter of batches'
    if value.is_quantized:
        return 'quantised'
    if value.layout != torch.strided or value.device.type != 'cpu':
        return f'{value.layout} on {value.device}, no plain values'
    if not value.is_floating_point():
        return f'{value.dtype}, no float'
    return None


def _check_claims(tensors: dict[str, Tensor], path: Path) -> None:
    """Refuse tensors that repeat few stored values many times over.

    Twice the file's bytes leave room for shared weights of one byte.
    """
    claimed = sum(value.numel() for value in tensors.values())
    if claimed > 2 * path.stat().st_size:
        raise InputError(
            f'{path} claims {claimed} weights, more than it has room for; '
            'save the state dict again with contiguous tensors'
        )
