"""Loading that refuses broken images and wrong masks, naming the file.

mmcv's ``LoadImageFromFile`` fails without naming an empty file, and with an
older OpenCV takes a cut-off JPEG as an image with a gray rest. mmseg takes
any mask: labels beyond the classes end in a crash of the loss on the device,
and the common masks of 0 and 255 train to an IoU of 0 without a word, 255
being ignored.

``LoadImage`` is for training pipelines. Test pipelines keep the hosts'
``LoadImageFromFile`` and ``LoadAnnotations``, because the hosts'
inferencers look for these very names; ``CheckSegMask`` fits both, since it
lets pass what has no mask.
"""

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmengine import fileio

from mnv2_mm.datasets.image_files import REMEDY, problem_of
from mnv2_mm.datasets.transforms.deferred import (
    REDUCED,
    DeferredPicture,
    size_of,
)
from mnv2_mm.datasets.transforms.distorted_box import Window
from mnv2_mm.datasets.transforms.seg_random_crop import label_counts
from mnv2_mm.registry import TRANSFORMS
from mnv2_mm.utils.errors import InputError


@TRANSFORMS.register_module()
class LoadImage(LoadImageFromFile):
    """mmcv's ``LoadImageFromFile`` with an error that names the file.

    Args:
        to_float32: as in mmcv.
        color_type: as in mmcv.
        imdecode_backend: as in mmcv.
        ignore_empty: skip a missing or broken file (as in mmcv, the data
            set then takes another one) instead of raising.
        backend_args: as in mmcv.
        deferred: leave the decoding to ``mnv2_mm.Resize`` (in mmdet's
            pipelines) or ``mnv2_mm.DistortedCrop``, which do it at a half, a
            quarter or an eighth of the sides where the window that is left
            by then allows. Large photos load several times as fast; shrunk
            images come out a little smoother. See
            :mod:`mnv2_mm.datasets.transforms.deferred`.

    Raises:
        InputError: deferred with something that does not go with it.
    """

    def __init__(
        self,
        to_float32: bool = False,
        color_type: str = 'color',
        *,
        imdecode_backend: str = 'cv2',
        ignore_empty: bool = False,
        backend_args: dict | None = None,
        deferred: bool = False,
    ) -> None:
        super().__init__(
            to_float32=to_float32,
            color_type=color_type,
            imdecode_backend=imdecode_backend,
            ignore_empty=ignore_empty,
            backend_args=backend_args,
        )
        how = (to_float32, color_type, imdecode_backend, ignore_empty)
        if deferred and how != (False, 'color', 'cv2', False):
            raise InputError(
                'LoadImage: deferred=True goes with to_float32=False, '
                "color_type='color', imdecode_backend='cv2' and "
                'ignore_empty=False'
            )
        self.deferred = deferred

    def transform(self, results: dict) -> dict | None:
        """Load ``results['img_path']``.

        Returns:
            The results with img (H, W, 3), img_shape and ori_shape; None
            for a broken file when ``ignore_empty`` is set.

        Raises:
            InputError: the file is missing, empty, cut off or no image.
        """
        path = results['img_path']
        try:
            data = self._read(path)
            size = size_of(data) if self.deferred else None
            if size is None:
                image = self._decoded(data, path, self.color_type)
            else:
                image = DeferredPicture(
                    lambda factor: self._decoded(data, path, REDUCED[factor]),
                    size,
                    Window(0, 0, *size[::-1]),
                )
        except InputError:
            if self.ignore_empty:
                return None
            raise
        if self.to_float32:
            image = image.astype(np.float32)
        results['img'] = image
        results['img_shape'] = image.shape[:2]
        results['ori_shape'] = image.shape[:2]
        return results

    def _read(self, path: str) -> bytes:
        """The file, which is whole as far as its ends tell."""
        try:
            data = fileio.get(path, backend_args=self.backend_args)
        except FileNotFoundError as error:
            raise InputError(
                f'image {path} is missing. Check data_root and data_prefix '
                'in the config, or remove its entry in the annotations.'
            ) from error
        except OSError as error:
            raise InputError(
                f'image {path} cannot be read: {error.strerror or error}'
            ) from error
        problem = problem_of(data)
        if problem is not None:
            raise InputError(f'image {path} {problem}. {REMEDY}')
        return data

    def _decoded(self, data: bytes, path: str, flag: str | int) -> np.ndarray:
        """The pixels.

        Args:
            data: The file.
            path: Its name.
            flag: mmcv's color_type, or a flag of cv2.imdecode.
        """
        try:
            image = mmcv.imfrombytes(data, flag=flag, backend=self.imdecode_backend)
        except Exception as error:  # each backend has its own
            raise InputError(
                f'image {path} cannot be decoded ({error}). {REMEDY}'
            ) from error
        if image is None:
            raise InputError(
                f'image {path} cannot be decoded by '
                f'{self.imdecode_backend} (its first bytes are '
                f'{data[:8]!r}). {REMEDY}'
            )
        return image


@TRANSFORMS.register_module()
class CheckSegMask(BaseTransform):
    """Refuses a mask that does not fit its classes or its image.

    Goes right behind ``LoadAnnotations``, before anything that resizes the
    mask. Without a mask (inference) it lets everything pass.

    Args:
        num_classes: labels 0 to this minus one are allowed.
        ignore_index: the one further label that is allowed.
    """

    def __init__(self, num_classes: int, *, ignore_index: int = 255) -> None:
        self.num_classes = num_classes
        self.ignore_index = ignore_index

    def transform(self, results: dict) -> dict:
        """Check ``results['gt_seg_map']`` (H, W) and change nothing.

        Raises:
            InputError: a label is out of range, or the size differs from
                the image's.
        """
        mask = results.get('gt_seg_map')
        if mask is None:
            return results
        path = results.get('seg_map_path', '(unnamed)')
        problem = mask_problem(
            mask,
            num_classes=self.num_classes,
            ignore_index=self.ignore_index,
            image_shape=results.get('ori_shape'),
        )
        if problem:
            raise InputError(f'mask {path} {problem}')
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(num_classes={self.num_classes}, '
            f'ignore_index={self.ignore_index})'
        )


def mask_problem(
    mask: np.ndarray,
    num_classes: int,
    *,
    ignore_index: int = 255,
    image_shape: tuple[int, int] | None = None,
) -> str | None:
    """What is wrong with a label mask.

    Args:
        mask: labels, (H, W); (H, W, C) is reported as a color image.
        num_classes: labels 0 to this minus one are allowed.
        ignore_index: the one further label that is allowed.
        image_shape: (height, width) that the mask should have.

    Returns:
        What is wrong and how to mend it, as the end of a sentence that
        begins with the mask's name, or None.
    """
    if mask.ndim != 2:
        return (
            f'is a color image of shape {mask.shape}, not an index mask. '
            'Save it with one label a pixel (PNG mode L or P).'
        )
    if image_shape is not None and mask.shape != tuple(image_shape[:2]):
        height, width = mask.shape
        return (
            f'is {width}x{height}, its image {image_shape[1]}x'
            f'{image_shape[0]}. Both must have the same size; resize masks '
            'with nearest neighbor only.'
        )
    found = np.flatnonzero(label_counts(mask))
    # 0/255 with an ignored 255 is legal to mmseg, and trains to nothing
    wrong = [v for v in found if v >= num_classes and v != ignore_index]
    if not wrong:
        return None
    values = ', '.join(str(v) for v in wrong[:8])
    more = ' …' if len(wrong) > 8 else ''
    message = (
        f'has the labels {values}{more}; allowed are 0 to {num_classes - 1} '
        f'({num_classes} classes) and {ignore_index} (ignored). '
    )
    if set(found) <= {0, 255}:
        return message + (
            'A mask of 0 and 255 must be rewritten: mask[mask == 255] = 1.'
        )
    return message + (
        'Map the labels to this range, add the missing classes to `classes` '
        '(and `num_classes`), or set reduce_zero_label=True if the labels '
        'begin at 1.'
    )
