"""Check the values of a checkpoint before anything works with them.

Damaged or hostile files can be read and still hold any value in any place. The checks
are by type, and only of what this project and mmengine's runner use.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor

from mnv2_mm.utils.errors import InputError

_DEPTH = 50  # of containers in containers
#: Values of small tensors that stand for many, such as an expanded constant.
_REPEATED = 1 << 24
_DTYPES = (
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool,
    torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
)  # fmt: skip


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping)


def _is_named(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)


def _is_count(value: object) -> bool:
    return isinstance(value, Integral) and int(value) >= 0


def _are_names(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(v, str) for v in value)


def _are_colors(value: object) -> bool:
    if isinstance(value, str):  # name of a palette of the hosts
        return True
    return isinstance(value, list | tuple | np.ndarray) and all(
        np.shape(color) == (3,) and np.asarray(color).dtype.kind in 'iu'
        for color in value
    )


def _is_scaling(value: object) -> bool:
    """Mean and positive deviation of three channels."""
    if not isinstance(value, Mapping):
        return False
    pair = [value.get(name) for name in ('mean', 'std')]
    return all(
        isinstance(numbers, list | tuple)
        and len(numbers) == 3
        and all(isinstance(v, int | float) and math.isfinite(v) for v in numbers)
        for numbers in pair
    ) and all(v > 0 for v in value['std'])


def _is_history(value: object) -> bool:
    """Whether a value of log_scalars is what mmengine can go on writing to."""
    if not isinstance(value, HistoryBuffer):
        return True  # is skipped
    data = [vars(value).get(name) for name in ('_log_history', '_count_history')]
    return all(isinstance(array, np.ndarray) and array.ndim == 1 for array in data)


def _are_histories(value: Any) -> bool:
    return _is_named(value) and all(map(_is_history, value.values()))


#: What must hold for a value that a model or a training reads, if it is not None.
_META: dict[str, tuple[Callable[[Any], bool], str]] = {
    'meta': (_is_named, 'dictionary'),
    'meta.epoch': (_is_count, 'count'),
    'meta.iter': (_is_count, 'count'),
    'meta.dataset_meta': (_is_named, 'dictionary'),
    'meta.dataset_meta.classes': (_are_names, 'list of names'),
    'meta.dataset_meta.CLASSES': (_are_names, 'list of names'),
    'meta.dataset_meta.palette': (_are_colors, 'list of colors'),
    'meta.dataset_meta.PALETTE': (_are_colors, 'list of colors'),
    'meta.preprocessing': (_is_scaling, 'mean and std of pixels'),
}
#: The same, read on resume only.
_STATE: dict[str, tuple[Callable[[Any], bool], str]] = {
    'message_hub': (_is_mapping, 'dictionary'),
    'message_hub.log_scalars': (_are_histories, 'dictionary of histories'),
    'message_hub.runtime_info': (_is_named, 'dictionary'),
    'message_hub.resumed_keys': (_is_named, 'dictionary'),
    'optimizer': (_is_mapping, 'dictionary'),
}


def check_size(content: Mapping, source: str, size: int) -> None:
    """Raise InputError for values with a false size or nested too deeply.

    Args:
        content: What was read.
        source: Name of the file, for the message.
        size: Bytes of the file.
    """
    if _claimed(content, source) > 2 * size + _REPEATED:
        raise InputError(
            f'{source} claims more weights than it has room for; save the state dict '
            'again with contiguous tensors'
        )


def check_entries(content: Mapping, source: str, *, resume: bool) -> None:
    """Raise InputError for values beside the weights that are of wrong types."""
    for path, (holds, wanted) in (_META | (_STATE if resume else {})).items():
        value: Any = content
        for key in path.split('.'):
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None and not holds(value):
            raise InputError(
                f'{source} is damaged: its {path} is no {wanted}; copy it again, or '
                'take another checkpoint'
            )


def check_values(
    weights: Mapping[str, Tensor], own: Mapping[str, Tensor], source: str
) -> None:
    """Raise InputError for tensors of a model's keys that it cannot compute with."""
    for key in weights.keys() & own.keys():
        value = weights[key]
        if (
            value.layout != torch.strided
            or value.is_nested
            or value.is_quantized
            or value.is_meta
            or value.dtype not in _DTYPES
        ):
            raise InputError(
                f'{source}: {key} is stored as {value.layout} {value.dtype} on '
                f'{value.device}; save plain tensors of floating-point numbers'
            )
        # a mask may be infinite on purpose
        if not value.isfinite().all() and own[key].isfinite().all():
            raise InputError(
                f'{source} cannot be used: {key} holds values that are infinite or no '
                'numbers; take an earlier checkpoint'
            )


def _claimed(content: object, source: str) -> int:
    """Number of values in all tensors; raises InputError for too deep content."""
    claimed, left = 0, [(content, 0)]
    seen: dict[int, object] = {}  # containers may be shared, or hold themselves
    while left:
        item, depth = left.pop()
        if id(item) in seen:
            continue
        seen[id(item)] = item
        if depth > _DEPTH:
            raise InputError(f'{source} is damaged: its values are nested too deeply')
        if isinstance(item, Tensor):
            claimed += item.numel()
        elif isinstance(item, Mapping):
            left += [(value, depth + 1) for value in item.values()]
        elif isinstance(item, Sequence | set) and not isinstance(item, str | bytes):
            left += [(value, depth + 1) for value in item]
    return claimed
