"""From an image to the network's input, as build.json describes it.

Step by step what mmcv's and mmpretrain's transforms do, in numpy and OpenCV.
"""

from collections.abc import Mapping

import cv2
import numpy as np

INTERPOLATIONS = {
    'nearest': cv2.INTER_NEAREST,
    'bilinear': cv2.INTER_LINEAR,
    'bicubic': cv2.INTER_CUBIC,
    'area': cv2.INTER_AREA,
}


def prepare(image: np.ndarray, spec: Mapping) -> tuple[np.ndarray, tuple[int, int]]:
    """Resize or crop, scale the pixels, pad on the right and below.

    Args:
        image: (H, W, 3) uint8, in the order blue, green, red of OpenCV.
        spec: ``preprocessing`` of build.json.

    Returns:
        The input (1, 3, H', W') float32, and rows and columns of it that are
        image.
    """
    for step in spec['steps']:
        image = _STEPS[step['do']](image, step)
    rows, columns = image.shape[:2]
    pixels = image[..., ::-1] if spec['rgb'] else image
    mean, std = np.float32(spec['mean']), np.float32(spec['std'])
    pixels = (pixels.astype(np.float32) - mean) / std
    height, width = padded_size((rows, columns), spec)
    room = ((0, height - rows), (0, width - columns), (0, 0))
    pixels = np.pad(pixels, room, constant_values=spec['pad_value'])
    pixels = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])
    return pixels, (rows, columns)


def padded_size(inside: tuple[int, int], spec: Mapping) -> tuple[int, int]:
    """Rows and columns of the input around an image of so many."""
    width, height = spec['pad_to'] or inside[::-1]
    every = spec['pad_multiple']
    sides = (max(height, inside[0]), max(width, inside[1]))
    rows, columns = (-(-side // every) * every for side in sides)
    return rows, columns


def _resize(image: np.ndarray, step: dict) -> np.ndarray:
    height, width = image.shape[:2]
    if step['keep_ratio']:
        scale = min(
            max(step['size']) / max(height, width),
            min(step['size']) / min(height, width),
        )
        size = int(width * scale + 0.5), int(height * scale + 0.5)
    else:
        size = tuple(step['size'])
    how = INTERPOLATIONS[step['interpolation']]
    return cv2.resize(image, size, interpolation=how)


def _resize_short(image: np.ndarray, step: dict) -> np.ndarray:
    height, width = image.shape[:2]
    side = step['side']
    if width < height:
        size = side, int(side * height / width)
    else:
        size = int(side * width / height), side
    how = INTERPOLATIONS[step['interpolation']]
    return cv2.resize(image, size, interpolation=how)


def _crop_middle(image: np.ndarray, step: dict) -> np.ndarray:
    height, width = image.shape[:2]
    columns, rows = step['size']
    top = max(0, round((height - rows) / 2))
    left = max(0, round((width - columns) / 2))
    return image[top : top + rows, left : left + columns]


def _crop_share(image: np.ndarray, step: dict) -> np.ndarray:
    """The same share of both sides."""
    height, width = image.shape[:2]
    top, left = (int((s - s * step['share']) / 2) for s in (height, width))
    return image[top : height - top, left : width - left]


def _crop_square(image: np.ndarray, step: dict) -> np.ndarray:
    """The middle square with a share of the short side."""
    height, width = image.shape[:2]
    side = step['share'] * min(height, width)
    top, left = (max(0, round((s - side) / 2)) for s in (height, width))
    bottom = min(int(top + side - 1), height - 1)
    right = min(int(left + side - 1), width - 1)
    return image[top : bottom + 1, left : right + 1]


_STEPS = {
    'resize': _resize,
    'resize_short': _resize_short,
    'crop_middle': _crop_middle,
    'crop_share': _crop_share,
    'crop_square': _crop_square,
}
