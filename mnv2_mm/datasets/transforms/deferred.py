"""An image that is decoded when its window and its size are known.

Of a photo of 12 megapixels a network of 320x320 pixels sees a hundredth. JPEG
can be decoded at a half, a quarter or an eighth of its sides in less time, but
how far it may go is known only after the crop. So the crop is done on this
stand-in (and the zoom-out, whose canvas is then never filled), and what
resizes makes the pixels: :class:`mnv2_mm.datasets.transforms.resize.Resize`, or
:class:`mnv2_mm.datasets.transforms.inception_crop.DistortedCrop`.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import mmcv
import numpy as np
from PIL import Image

from mnv2_mm.datasets.image_files import JPEG_START
from mnv2_mm.datasets.transforms.distorted_box import Window
from mnv2_mm.utils.errors import InputError

#: By how much a JPEG's sides can shrink in decoding, and OpenCV's flags.
REDUCED = {
    8: cv2.IMREAD_REDUCED_COLOR_8,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    1: cv2.IMREAD_COLOR,
}
_ORIENTATION, _SIDEWAYS = 0x0112, (5, 6, 7, 8)  # of EXIF


@dataclass(frozen=True)
class DeferredPicture:
    """Stands for an image (H, W, 3), uint8, BGR, in ``results['img']``.

    It has a shape and can be sliced to a window; nothing else works on it.

    Args:
        decode: Gives the pixels at 1, 1/2, 1/4 or 1/8 of the sides.
        size: Height and width of the file's image in pixels.
        window: What is left of it. Reaches beyond it on a canvas.
        color: Of the canvas, in BGR.
        shown: What of the file's image lies on the canvas.
    """

    decode: Callable[[int], np.ndarray]
    size: tuple[int, int]
    window: Window
    color: Sequence[float] | None = None
    shown: Window | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """As an array's."""
        return self.window.height, self.window.width, 3

    def __getitem__(self, key: tuple[slice, slice]) -> 'DeferredPicture':
        """A window of it, as ``array[top:bottom, left:right]``."""
        rows, columns = key
        top, bottom, _ = rows.indices(self.window.height)
        left, right, _ = columns.indices(self.window.width)
        return self._moved(Window(left, top, right, bottom))

    def on_canvas(
        self,
        size: tuple[int, int],
        left: int,
        top: int,
        color: Sequence[float],
    ) -> 'DeferredPicture':
        """Put on a canvas of ``size`` (height, width) and of one color.

        Raises:
            InputError: it is on one already.
        """
        if self.color is not None:
            raise InputError(
                'LoadImage(deferred=True) goes with one Expand, not with more'
            )
        window = Window(-left, -top, size[1] - left, size[0] - top)
        return replace(self._moved(window), color=tuple(color), shown=self.window)

    def _moved(self, window: Window) -> 'DeferredPicture':
        """With a window that is relative to the present one."""
        left, top = self.window[:2]
        window = Window(
            left + window.left,
            top + window.top,
            left + window.right,
            top + window.bottom,
        )
        return replace(self, window=window)

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        raise InputError(
            'LoadImage(deferred=True) leaves the decoding to mnv2_mm.Resize '
            'or mnv2_mm.DistortedCrop; before it a pipeline can have mnv2_mm.'
            'Expand, mnv2_mm.SSDRandomCrop and mnv2_mm.MinIoURandomCrop only'
        )

    def resized(
        self, size: tuple[int, int], interpolation: str = 'bilinear'
    ) -> np.ndarray:
        """The pixels, (height, width, 3), for ``size`` (width, height).

        Where the window is at least twice as large on both sides, it is
        decoded smaller and sampled bilinearly, to 1/64 of a pixel; else it is
        what cutting and resizing the whole image gives, to the last bit.
        """
        shrink = min(self.window.width / size[0], self.window.height / size[1])
        whole = Window(0, 0, *self.size[::-1])
        if interpolation == 'bilinear' and self.shown in (None, whole):
            for factor in REDUCED:
                if 1 < factor <= shrink:
                    return self._sampled(factor, size)
        return mmcv.imresize(self._cut(), size, interpolation=interpolation)

    def _cut(self) -> np.ndarray:
        """The window's pixels at full scale."""
        image, (left, top, right, bottom) = self.decode(1), self.window
        if self.color is None:
            return self.window.cut(image)
        canvas = np.empty(self.shape, image.dtype)
        canvas[:] = np.full(canvas.shape[1:], self.color, image.dtype)
        corner = np.maximum(self.shown[:2], (left, top))
        part = Window(*corner, *np.minimum(self.shown[2:], (right, bottom)))
        if part.width > 0 and part.height > 0:
            place = Window(*(np.array(part) - [left, top] * 2))
            place.cut(canvas)[:] = part.cut(image)
        return canvas

    def _sampled(self, factor: int, size: tuple[int, int]) -> np.ndarray:
        """The window's pixels from the image at 1 / ``factor``."""
        step = np.array([self.window.width, self.window.height]) / size
        # pixel i of an image has its center at i + 1/2
        offset = (np.array(self.window[:2]) + step / 2) / factor - 0.5
        matrix = np.column_stack([np.diag(step / factor), offset])
        border = dict(borderMode=cv2.BORDER_REPLICATE)
        if self.color is not None:
            whole = np.array(self.color, dtype=np.uint8).tolist()
            border = dict(borderMode=cv2.BORDER_CONSTANT, borderValue=whole)
        return cv2.warpAffine(
            self.decode(factor),
            matrix,
            size,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            **border,
        )


def resized(
    image: np.ndarray | DeferredPicture,
    size: tuple[int, int],
    interpolation: str = 'bilinear',
) -> np.ndarray:
    """An image (H, W, C) of either kind at ``size`` (width, height)."""
    if isinstance(image, DeferredPicture):
        return image.resized(size, interpolation)
    return mmcv.imresize(image, size, interpolation=interpolation)


def size_of(data: bytes) -> tuple[int, int] | None:
    """Height and width of a JPEG, turned as its header says.

    None for other formats, which do not shrink in decoding, and where
    Pillow cannot read the header.
    """
    if not data.startswith(JPEG_START):
        return None
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            sideways = image.getexif().get(_ORIENTATION) in _SIDEWAYS
    except (OSError, ValueError, SyntaxError):
        return None
    return (width, height) if sideways else (height, width)
