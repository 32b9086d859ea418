"""What all transforms share: how they are printed, and checks of arguments."""

from collections.abc import Sequence

from mmcv.transforms import BaseTransform

from mnv2_mm.utils.errors import InputError


class Transform(BaseTransform):
    """mmcv's ``BaseTransform``, printed with its settings.

    Each transform raises InputError for an argument out of its range.
    """

    def __repr__(self) -> str:
        settings = [f'{k}={v!r}' for k, v in vars(self).items() if k[0] != '_']
        return f'{type(self).__name__}({", ".join(settings)})'


def checked_range(
    name: str, values: Sequence[float], upper: float = float('inf')
) -> tuple[float, float]:
    """Return (low, high) if 0 < low <= high <= upper, else raise InputError."""
    try:
        low, high = (float(value) for value in values)
    except (TypeError, ValueError):
        low, high = 1.0, 0.0
    if not 0 < low <= high <= upper:
        bound = '' if upper == float('inf') else f' <= {upper:g}'
        raise InputError(
            f'{name}={values!r} must be a range 0 < low <= high{bound}, '
            'such as (0.5, 1.0)'
        )
    return low, high


def checked_share(name: str, value: float, *, above_zero: bool = False) -> float:
    """Return a value that is between 0 and 1, else raise InputError."""
    if not (0 < value <= 1 if above_zero else 0 <= value <= 1):
        allowed = 'above 0 and at most 1' if above_zero else 'between 0 and 1'
        raise InputError(f'{name}={value!r} must be {allowed}')
    return value
