"""Cut and move an image with its boxes, masks and homography, as mmdet does.

Which window is cut out is drawn by the random crops. Boxes are mmdet's
``HorizontalBoxes``, or arrays (n, 4) as of ``LoadAnnotations(box_type=None)``:
left, top, right, bottom in pixels.
"""

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from mnv2_mm.utils.errors import InputError

if TYPE_CHECKING:  # mmdet is needed for detection only
    from mmdet.structures.bbox import BaseBoxes

Boxes: TypeAlias = 'np.ndarray | BaseBoxes'


class Window(NamedTuple):
    """A rectangle of whole pixels; the right and lower edges are outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left

    @property
    def part(self) -> tuple[slice, slice]:
        """Index of the pixels inside, for an image or mask (H, W, ...)."""
        return np.s_[self.top : self.bottom, self.left : self.right]

    def cut(self, results: dict, *keys: str) -> dict:
        """Cut images and masks, not copied; ``img_shape`` follows."""
        for key in keys:
            if results.get(key) is not None:
                results[key] = results[key][self.part]
        results['img_shape'] = results['img'].shape[:2]
        return results


def corners_of(boxes: 'Boxes | None', transform: str) -> np.ndarray:
    """Boxes as an array (n, 4) of floats; another shape is an InputError."""
    if boxes is None:
        return np.zeros((0, 4))
    corners = np.asarray(getattr(boxes, 'tensor', boxes), dtype=float)
    if corners.ndim != 2 or corners.shape[1] != 4:
        raise InputError(
            f'{transform}: gt_bboxes has the shape {corners.shape}; it takes '
            'horizontal boxes (n, 4) only (box_type="hbox" of LoadAnnotations)'
        )
    return corners


def shift_boxes(boxes: Boxes, right: int, down: int) -> Boxes:
    """Move boxes by pixels; mmdet's are changed in place."""
    if isinstance(boxes, np.ndarray):
        return boxes + np.array([right, down] * 2, boxes.dtype)
    boxes.translate_([right, down])
    return boxes


def crop(results: dict, window: Window, kept: np.ndarray) -> dict:
    """Cut out a window; drop, move and clip the objects.

    Args:
        results: mmdet's: ``img`` (H, W, 3) and, where present, ``gt_bboxes``,
            ``gt_bboxes_labels``, ``gt_ignore_flags``, ``gt_masks``,
            ``gt_instances_ids`` and ``gt_seg_map``.
        window: What is left of the image. No copy is made.
        kept: Which objects are left, a mask (n,).

    Returns:
        The results, changed; ``img_shape`` and ``homography_matrix`` (3x3,
        as of mmdet's RandomCrop) follow.
    """
    window.cut(results, 'img', 'gt_seg_map')
    for key in ('gt_bboxes_labels', 'gt_ignore_flags', 'gt_instances_ids'):
        if results.get(key) is not None:
            results[key] = results[key][kept]
    if results.get('gt_masks') is not None:
        masks = results['gt_masks'][np.flatnonzero(kept)]
        results['gt_masks'] = masks.crop(np.array(window))
    if results.get('gt_bboxes') is not None:
        boxes = shift_boxes(results['gt_bboxes'][kept], -window.left, -window.top)
        if isinstance(boxes, np.ndarray):
            boxes = boxes.clip(
                0, np.array([window.width, window.height] * 2, boxes.dtype)
            )
        else:
            boxes.clip_([window.height, window.width])
        results['gt_bboxes'] = boxes
    record_shift(results, -window.left, -window.top)
    return results


def record_shift(results: dict, right: int, down: int) -> None:
    """Add a shift in pixels to ``homography_matrix`` (3x3)."""
    shift = np.eye(3, dtype=np.float32)
    shift[:2, 2] = right, down
    before = results.get('homography_matrix')
    results['homography_matrix'] = shift if before is None else shift @ before
