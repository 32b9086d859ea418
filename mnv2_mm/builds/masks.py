"""From a segmentor's output to a mask of the picture, as mmseg does it."""

from collections.abc import Mapping

import numpy as np

from mnv2_mm.builds.preprocess import padded_size


def to_mask(
    output: np.ndarray,
    size: tuple[int, int],
    inside: tuple[int, int],
    info: Mapping,
) -> np.ndarray:
    """Resize, cut the padding off, take the best class.

    Args:
        output: Logits (C, h, w), or classes (1, H, W).
        size: Rows and columns of the picture.
        inside: Rows and columns of the input that are picture.
        info: Content of build.json.

    Returns:
        Class of each pixel, (rows, columns) int64.
    """
    ending = info['ending']
    if ending['argmax']:
        mask = output[0, : inside[0], : inside[1]].astype(np.int64)
        rows = _nearest(inside[0], size[0])
        return mask[rows][:, _nearest(inside[1], size[1])]
    corners = ending['align_corners']
    if not ending['resize']:
        full = padded_size(inside, info['preprocessing'])
        output = resize_logits(output, full, align_corners=corners)
    output = output[:, : inside[0], : inside[1]]
    return resize_logits(output, size, align_corners=corners).argmax(0)


def _nearest(old: int, new: int) -> np.ndarray:
    """Index of the nearest old pixel, as torch takes it."""
    index = np.floor(np.arange(new) * np.float32(old / new)).astype(int)
    return np.minimum(index, old - 1)


def resize_logits(
    maps: np.ndarray, size: tuple[int, int], *, align_corners: bool
) -> np.ndarray:
    """(C, h, w) -> (C, H, W), bilinear as torch's; OpenCV has one of two."""
    for axis, new in ((1, size[0]), (2, size[1])):
        old = maps.shape[axis]
        if old == new:
            continue
        place = np.arange(new, dtype=np.float32)
        if align_corners:
            place *= np.float32((old - 1) / max(new - 1, 1))
        else:
            place = (place + 0.5) * np.float32(old / new) - np.float32(0.5)
            place = np.maximum(place, 0)
        low = np.minimum(place.astype(int), old - 1)
        high = np.minimum(low + 1, old - 1)
        shape = (-1, 1) if axis == 1 else (1, -1)
        part = (place - low).astype(np.float32).reshape(shape)
        maps = np.take(maps, low, axis) * (1 - part) + (
            np.take(maps, high, axis) * part
        )
    return maps
