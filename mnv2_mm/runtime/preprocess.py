"""Turn an image into the network input that model.json describes.

Each step gives what mmcv's or mmpretrain's transform gives, with numpy and
OpenCV alone.
"""

from collections.abc import Mapping

import numpy as np

from mnv2_mm.utils.errors import InputError

#: OpenCV's numbers of interpolations (cv2.INTER_NEAREST and so on).
INTERPOLATIONS = {'nearest': 0, 'bilinear': 1, 'bicubic': 2, 'area': 3}
_LARGEST = 1 << 28  # pixels of a resized image


def prepare(image: np.ndarray, spec: Mapping) -> tuple[np.ndarray, tuple[int, int]]:
    """Resize or crop, normalize, pad at the right and the bottom.

    Args:
        image: (H, W, 3) uint8, BGR.
        spec: ``preprocessing`` of model.json.

    Returns:
        The network input (1, 3, H', W') float32, and the rows and columns of
        it that are not padding.

    Raises:
        InputError: the image is too narrow or too long for a step.
    """
    for step in spec['steps']:
        image = _STEPS[step['do']](image, step)
    rows, columns = image.shape[:2]
    height, width = padded_size((rows, columns), spec)
    inputs = np.empty((1, 3, height, width), np.float32)
    inputs[..., rows:, :], inputs[..., columns:] = spec['pad_value'], spec['pad_value']
    order = (2, 1, 0) if spec['color_order'] == 'RGB' else (0, 1, 2)
    # channel by channel into its place: no copy of the image as float32
    for channel, mean, std, plane in zip(
        order, spec['mean'], spec['std'], inputs[0, :, :rows, :columns], strict=True
    ):
        np.subtract(image[..., channel], np.float32(mean), out=plane)
        np.divide(plane, np.float32(std), out=plane)
    return inputs, (rows, columns)


def padded_size(inside: tuple[int, int], spec: Mapping) -> tuple[int, int]:
    """Rows and columns of the network input for an image of a size."""
    width, height = spec['pad_to'] or inside[::-1]
    multiple = spec['pad_multiple']
    sides = (max(height, inside[0]), max(width, inside[1]))
    rows, columns = (-(-side // multiple) * multiple for side in sides)
    return rows, columns


def _resize(image: np.ndarray, step: Mapping) -> np.ndarray:
    """Resize to ``size``, or so that the short side is ``side``."""
    import cv2

    height, width = image.shape[:2]
    short, size = min(height, width), (0, 0)
    if short and 'side' in step:
        side = step['side']
        size = int(side * width / short), int(side * height / short)
    elif short:
        size = tuple(step['size'])
        if step['keep_ratio']:
            scale = min(max(size) / max(height, width), min(size) / short)
            size = int(width * scale + 0.5), int(height * scale + 0.5)
    if not 0 < size[0] * size[1] <= _LARGEST:
        raise InputError(
            f'an image of {width}x{height} pixels cannot be resized to '
            f'{size[0]}x{size[1]}; crop it to another shape'
        )
    how = INTERPOLATIONS[step['interpolation']]
    return cv2.resize(image, size, interpolation=how)


def _crop_middle(image: np.ndarray, step: Mapping) -> np.ndarray:
    height, width = image.shape[:2]
    columns, rows = step['size']
    top = max(0, round((height - rows) / 2))
    left = max(0, round((width - columns) / 2))
    return image[top : top + rows, left : left + columns]


def _crop_share(image: np.ndarray, step: Mapping) -> np.ndarray:
    """Keep the same share of both sides."""
    height, width = image.shape[:2]
    top, left = (int((s - s * step['share']) / 2) for s in (height, width))
    return image[top : height - top, left : width - left]


def _crop_square(image: np.ndarray, step: Mapping) -> np.ndarray:
    """Keep the middle square, its side a share of the short side."""
    height, width = image.shape[:2]
    side = step['share'] * min(height, width)
    top, left = (max(0, round((s - side) / 2)) for s in (height, width))
    bottom = min(int(top + side - 1), height - 1)
    right = min(int(left + side - 1), width - 1)
    return image[top : bottom + 1, left : right + 1]


_STEPS = {
    'resize': _resize,
    'resize_short': _resize,
    'crop_middle': _crop_middle,
    'crop_share': _crop_share,
    'crop_square': _crop_square,
}
