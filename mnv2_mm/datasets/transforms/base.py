"""What all transforms share: how they are printed, and checks of arguments."""

from collections.abc import Sequence

from mmcv.transforms import BaseTransform

from mnv2_mm.utils.errors import InputError


class Transform(BaseTransform):
    """mmcv's ``BaseTransform``, printed with its settings."""

    def __repr__(self) -> str:
        settings = [f'{k}={v!r}' for k, v in vars(self).items() if k[0] != '_']
        return f'{type(self).__name__}({", ".join(settings)})'


def checked_range(
    name: str, values: Sequence[float], upper: float = float('inf')
) -> tuple[float, float]:
    """Return ``values`` as a range (low, high) of positive numbers.

    Args:
        name: Of the argument, for the error.
        values: low and high.
        upper: The largest allowed value of high.

    Raises:
        InputError: They are no such range.
    """
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
    """Return ``value`` if it is between 0 and 1.

    Args:
        name: Of the transform and the argument, for the error.
        value: To be checked.
        above_zero: Refuse 0 too.

    Raises:
        InputError: It is out of this range.
    """
    if not (0 < value <= 1 if above_zero else 0 <= value <= 1):
        allowed = 'above 0 and at most 1' if above_zero else 'between 0 and 1'
        raise InputError(f'{name}={value!r} must be {allowed}')
    return value
