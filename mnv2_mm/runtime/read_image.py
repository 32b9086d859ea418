"""Read the image of a stranger: bounded by its header, before it is decoded.

OpenCV has a limit of its own only at 2**30 pixels, which takes 3 GB, and no call that
reads a header. Pillow reads the header alone; without Pillow only that limit applies.
"""

import contextlib
import io
import os
from pathlib import Path

import numpy as np

from mnv2_mm.runtime.image_files import problem_of
from mnv2_mm.utils.errors import InputError

#: Pixels; an image, its float32 copy and its drawing take 20 bytes each.
LARGEST = 1 << 27
#: One side in terms of the other: networks that resize the short side enlarge it.
LONGEST = 1000
LARGEST_FILE = 1 << 30  # bytes


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Read a file as OpenCV does: the first frame, 8 bits, turned as EXIF says.

    OpenCV does not turn WebP, in a training neither.

    Args:
        path: Of a file in a format of OpenCV, with any number of channels or bits.

    Returns:
        (H, W, 3) uint8, BGR.

    Raises:
        InputError: no file, not readable, no image, cut off, or too large.
    """
    path = Path(path)
    try:
        if not path.is_file():  # a pipe would wait for ever
            raise InputError(f'there is no image {path}')
        if path.stat().st_size > LARGEST_FILE:
            raise InputError(f'{path} has over 1 GB; reduce the image')
        return decode(path.read_bytes(), path)
    except OSError as error:
        raise InputError(f'{path} cannot be read: {error.strerror}') from error


def decode(data: bytes, name: object) -> np.ndarray:
    """Decode the content of a file, as :func:`read_image`; ``name`` is for messages."""
    import cv2

    problem, image = problem_of(data), None
    if problem is None:
        check_size(name, *_header_size(data))
        with contextlib.suppress(cv2.error):
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        problem = problem or 'is damaged, or of a format that OpenCV does not know'
        raise InputError(f'{name} cannot be read as an image: it {problem}')
    return image


def check_size(name: object, width: int, height: int) -> None:
    """Raise an InputError for more pixels than :data:`LARGEST`, or a long strip."""
    if width * height > LARGEST or max(width, height) > LONGEST * min(width, height):
        raise InputError(
            f'{name} has {width}x{height} pixels; the limits are {LARGEST // 10**6} '
            f'million, and one side {LONGEST} times the other: reduce or cut it'
        )


def _header_size(data: bytes) -> tuple[int, int]:
    """Width and height; 0, 0 if only OpenCV may know the format."""
    try:
        from PIL import Image
    except ImportError:
        return 0, 0
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # ours applies
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.size
    except Exception:  # of many kinds, by format
        return 0, 0
    finally:
        Image.MAX_IMAGE_PIXELS = limit
