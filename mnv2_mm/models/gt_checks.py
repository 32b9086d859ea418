"""Check the ground truth of an image before a head computes targets from it.

A wrong class index or an empty box would otherwise end in a CUDA index error
or a NaN loss, far from its cause.
"""

from mmengine.structures import InstanceData
from torch import Tensor

from mnv2_mm.utils.errors import InputError


def checked_gt_instances(
    gt_instances: InstanceData, img_meta: dict, *, num_classes: int
) -> tuple[Tensor, Tensor]:
    """Boxes (n, 4) as x1, y1, x2, y2 in pixels, and labels (n,).

    Args:
        gt_instances: ``bboxes``, a tensor or mmdet's boxes, and ``labels``.
        img_meta: Its ``img_path`` names the image.
        num_classes: Classes of the head.

    Raises:
        InputError: A class index is out of range, or a box is empty.
    """
    name = img_meta.get('img_path', 'an image')
    boxes, labels = gt_instances.bboxes, gt_instances.labels
    boxes = boxes.tensor if hasattr(boxes, 'tensor') else boxes
    wrong = labels[(labels < 0) | (labels >= num_classes)]
    if len(wrong):
        raise InputError(
            f'{name}: an object has class index {int(wrong[0])}, but '
            f'model.bbox_head.num_classes={num_classes}; set it to the '
            'number of classes of the data set'
        )
    if len(boxes) and (boxes[:, 2:] <= boxes[:, :2]).any():
        raise InputError(
            f'{name}: an object has no width or no height; remove it from '
            'the annotation file, or filter it in the pipeline '
            '(mmdet.FilterAnnotations)'
        )
    return boxes, labels
