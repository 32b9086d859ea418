"""What a crop does to an image of mmdet's, and to what belongs to it.

Which window is cut out, and which objects are kept, is the business of the
random crops (:mod:`mnv2_mm.datasets.transforms.ssd_random_crop`,
:mod:`mnv2_mm.datasets.transforms.min_iou_crop`).
"""

import numpy as np

from mnv2_mm.datasets.transforms.distorted_box import Window
from mnv2_mm.utils.errors import InputError


def corners_of(boxes: object, transform: str) -> np.ndarray:
    """Boxes of any form as an array (n, 4) of floats; (0, 4) without any.

    Args:
        boxes: mmdet's horizontal boxes, an array (n, 4) or None: left, top,
            right, bottom in pixels.
        transform: Who asks, for the error.

    Raises:
        InputError: they are of another form.
    """
    if boxes is None:
        return np.zeros((0, 4))
    corners = np.asarray(getattr(boxes, 'tensor', boxes), dtype=float)
    if corners.ndim != 2 or corners.shape[1] != 4:
        raise InputError(
            f'{transform}: gt_bboxes has the shape {corners.shape}; it '
            'takes horizontal boxes (n, 4) only (box_type="hbox" of '
            'LoadAnnotations)'
        )
    return corners


def crop(results: dict, window: Window, kept: np.ndarray) -> dict:
    """Cut a window out; drop, move and clip the objects.

    Args:
        results: mmdet's: ``img`` (H, W, 3) and, each where it is there,
            ``gt_bboxes``, ``gt_bboxes_labels``, ``gt_ignore_flags``,
            ``gt_masks``, ``gt_instances_ids`` and ``gt_seg_map``.
        window: What is left of the image. No copy is made.
        kept: Which objects are left, a mask (n,).

    Returns:
        The results, changed; ``img_shape`` and ``homography_matrix`` (3x3,
        as of mmdet's RandomCrop) follow.
    """
    results['img'] = window.cut(results['img'])
    results['img_shape'] = results['img'].shape[:2]
    if results.get('gt_seg_map') is not None:
        results['gt_seg_map'] = window.cut(results['gt_seg_map'])
    _keep_objects(results, window, kept)
    record_shift(results, -window.left, -window.top)
    return results


def record_shift(results: dict, right: int, down: int) -> None:
    """Add a shift in pixels to ``homography_matrix``."""
    shift = np.eye(3)
    shift[:2, 2] = right, down
    record_homography(results, shift)


def record_homography(results: dict, matrix: np.ndarray) -> None:
    """Put a change of the image's plane behind ``homography_matrix``.

    Args:
        results: Of a pipeline.
        matrix: 3x3, from pixels before to pixels after.
    """
    matrix = matrix.astype(np.float32)
    before = results.get('homography_matrix')
    results['homography_matrix'] = matrix if before is None else matrix @ before


def _keep_objects(results: dict, window: Window, kept: np.ndarray) -> None:
    """Drop the other objects; move and clip these."""
    for key in ('gt_bboxes_labels', 'gt_ignore_flags', 'gt_instances_ids'):
        if results.get(key) is not None:
            results[key] = results[key][kept]
    if results.get('gt_masks') is not None:
        masks = results['gt_masks'][np.flatnonzero(kept)]
        results['gt_masks'] = masks.crop(np.array(window))
    boxes = results.get('gt_bboxes')
    if boxes is None:
        return
    boxes = boxes[kept]
    if isinstance(boxes, np.ndarray):
        boxes = boxes - np.array(window[:2] * 2, dtype=boxes.dtype)
        sides = np.array([window.width, window.height] * 2)
        boxes = boxes.clip(0, sides.astype(boxes.dtype))
    else:
        boxes.translate_([-window.left, -window.top])
        boxes.clip_([window.height, window.width])
    results['gt_bboxes'] = boxes
