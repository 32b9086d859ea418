"""Load images and check masks; a broken file is reported by its name.

mmcv's ``LoadImageFromFile`` does not name an empty file, and with an older
OpenCV it reads a truncated JPEG as an image that ends in gray. mmseg accepts
any mask: labels beyond the classes crash the loss on the device, and masks of 0
and 255 train to an IoU of 0 without a message, since 255 is ignored.

``LoadImage`` is for training pipelines. Test pipelines keep the hosts'
``LoadImageFromFile``, because the hosts' inferencers look for this name;
``CheckSegMask`` fits both, since it ignores results without a mask.
"""

import mmcv
import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine import fileio

from mnv2_mm.datasets.transforms.base import Transform
from mnv2_mm.datasets.transforms.seg_random_crop import label_counts
from mnv2_mm.registry import TRANSFORMS
from mnv2_mm.runtime.image_files import REMEDY, problem_of
from mnv2_mm.utils.errors import InputError


@TRANSFORMS.register_module()
class LoadImage(LoadImageFromFile):
    """mmcv's ``LoadImageFromFile`` with an error that names the file.

    The arguments are mmcv's. With ``ignore_empty`` a missing or broken file
    is skipped, and the data set takes another one.
    """

    def transform(self, results: dict) -> dict | None:
        """Load ``results['img_path']`` to img (H, W, 3), img_shape and ori_shape.

        Raises:
            InputError: The file is missing, empty, truncated or no image.
        """
        image = self._load(results['img_path'])
        if isinstance(image, str):
            if self.ignore_empty:
                return None
            raise InputError(f'image {results["img_path"]} {image}')
        results['img'] = image.astype(np.float32) if self.to_float32 else image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results

    def _load(self, path: str) -> np.ndarray | str:
        """Read and decode a file, or say what is wrong with it."""
        try:
            data = fileio.get(path, backend_args=self.backend_args)
        except FileNotFoundError:
            return (
                'is missing. Check data_root and data_prefix '
                'in the config, or remove its entry in the annotations.'
            )
        except OSError as error:
            return f'cannot be read: {error.strerror or error}'
        problem = problem_of(data)
        if problem is not None:
            return f'{problem}. {REMEDY}'
        try:
            image = mmcv.imfrombytes(
                data, flag=self.color_type, backend=self.imdecode_backend
            )
        except Exception as error:  # each backend has its own
            return f'cannot be decoded ({error}). {REMEDY}'
        if image is None:
            return (
                f'cannot be decoded by {self.imdecode_backend} (its first '
                f'bytes are {data[:8]!r}). {REMEDY}'
            )
        return image


@TRANSFORMS.register_module()
class CheckSegMask(Transform):
    """Refuse a mask that does not fit its classes or its image.

    Put it directly after ``LoadAnnotations``, before anything that resizes
    the mask. Results without a mask (inference) pass.

    Args:
        num_classes: labels 0 to this minus one are allowed.
        ignore_index: the one further label that is allowed.
    """

    def __init__(self, num_classes: int, *, ignore_index: int = 255) -> None:
        self.num_classes = num_classes
        self.ignore_index = ignore_index

    def transform(self, results: dict) -> dict:
        """Check ``gt_seg_map`` (H, W); a wrong label or size is an InputError."""
        mask, shape = results.get('gt_seg_map'), results.get('ori_shape')
        rules = dict(ignore_index=self.ignore_index, image_shape=shape)
        problem = mask is not None and mask_problem(mask, self.num_classes, **rules)
        if problem:
            path = results.get('seg_map_path', '(unnamed)')
            raise InputError(f'mask {path} {problem}')
        return results


def mask_problem(
    mask: np.ndarray,
    num_classes: int,
    *,
    ignore_index: int = 255,
    image_shape: tuple[int, int] | None = None,
) -> str | None:
    """What is wrong with a label mask (H, W) and how to fix it, or None.

    The arguments are those of :class:`CheckSegMask` and the (height, width) that
    the mask should have. The text continues a sentence that begins with its name.
    """
    if mask.ndim != 2:
        return (
            f'is a color image of shape {mask.shape}, not an index mask. '
            'Save it with one label a pixel (PNG mode L or P).'
        )
    if image_shape is not None and mask.shape != tuple(image_shape[:2]):
        height, width = mask.shape
        return (
            f'is {width}x{height}, its image {image_shape[1]}x{image_shape[0]}. Both '
            'must have the same size; resize masks with nearest neighbor only.'
        )
    found = np.flatnonzero(label_counts(mask))
    # 0/255 with an ignored 255 is allowed by mmseg, but nothing is learned
    wrong = [v for v in found if v >= num_classes and v != ignore_index]
    if not wrong:
        return None
    remedy = (
        'Map the labels to this range, add the missing classes to `classes` (and '
        '`num_classes`), or set reduce_zero_label=True if the labels begin at 1.'
    )
    if set(found) <= {0, 255}:
        remedy = 'A mask of 0 and 255 must be rewritten: mask[mask == 255] = 1.'
    return (
        f'has the labels {", ".join(map(str, wrong[:8]))}{" …" * (len(wrong) > 8)}; '
        f'allowed are 0 to {num_classes - 1} ({num_classes} classes) and '
        f'{ignore_index} (ignored). {remedy}'
    )
