"""Turn a segmentor's output into the mask of the image, as mmseg does."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from mnv2_mm.runtime.preprocess import padded_size


def to_mask(
    output: np.ndarray, size: tuple[int, int], inside: tuple[int, int], info: Mapping
) -> np.ndarray:
    """Resize logits (C, h, w) or classes (1, H, W), remove padding, take the best.

    ``size`` is rows and columns of the image, ``inside`` those of the network
    input that are not padding, ``info`` the content of model.json.
    """
    ending = info['ending']
    if ending['argmax']:
        mask = output[0, : inside[0], : inside[1]].astype(np.int64)
        rows = _nearest(inside[0], size[0])
        return mask[rows][:, _nearest(inside[1], size[1])]
    sides = [output.shape[1:]]
    if not ending['resize']:
        sides.append(padded_size(inside, info['preprocessing']))
    corners = ending['align_corners']
    axes = zip(zip(*sides, strict=True), inside, size, strict=True)
    rows, columns = (resizing(*axis, align_corners=corners) for axis in axes)
    right = np.ascontiguousarray(columns.T)
    return _best_class(logits @ right for logits in rows @ output)


def _best_class(maps: Iterator[np.ndarray]) -> np.ndarray:
    """Argmax of maps (H, W), map by map: numpy's own strides over all of them."""
    best = next(maps)
    classes = np.zeros(best.shape, np.uint16)
    for number, logits in enumerate(maps, 1):
        np.copyto(classes, np.uint16(number), where=logits > best)
        np.maximum(best, logits, out=best)
    return classes.astype(np.int64)


def _nearest(old: int, new: int) -> np.ndarray:
    """Indices (new,) of the nearest old pixel, as in torch."""
    index = np.floor(np.arange(new) * np.float32(old / new)).astype(int)
    return np.minimum(index, old - 1)


def resizing(
    sides: Sequence[int], inside: int, size: int, *, align_corners: bool
) -> np.ndarray:
    """Matrix that resizes one axis of the logits to the image.

    Resizing to the network input, removing the padding and resizing to the
    image are linear, so one matrix does all three. The maps between, 21 of
    513x513, would take as long as the network.

    Args:
        sides: Size of the logits, and of what they are resized to first, if so.
        inside: How much of that is not padding.
        size: Size of the image.
        align_corners: As in torch's interpolation.

    Returns:
        (size, sides[0]).
    """
    first = interpolation(sides[0], sides[-1], align_corners=align_corners)
    last = interpolation(inside, size, align_corners=align_corners)
    return last @ first[:inside]


def interpolation(old: int, new: int, *, align_corners: bool) -> np.ndarray:
    """Weights (new, old) of torch's linear interpolation of one axis."""
    weights = np.zeros((new, old), np.float32)
    place: np.ndarray = np.arange(new, dtype=np.float32)
    if align_corners:
        place *= np.float32((old - 1) / max(new - 1, 1))
    elif new != old:
        place = (place + 0.5) * np.float32(old / new) - np.float32(0.5)
        place = np.maximum(place, 0)
    low = np.minimum(place.astype(int), old - 1)
    high = np.minimum(low + 1, old - 1)
    part = (place - low).astype(np.float32)
    np.add.at(weights, (np.arange(new), low), 1 - part)
    np.add.at(weights, (np.arange(new), high), part)
    return weights
