"""Classes that TensorFlow's networks have and the data sets here have not.

ImageNet classifiers of TF-slim have the background as class 0. Detectors of
the Object Detection API number COCO's classes by their ids, 1 to 90, ten of
which COCO never used; mmdet numbers the 80 that exist.
"""

import torch
from torch import Tensor

#: Ids that no annotation of COCO has.
UNUSED_COCO_IDS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
#: TF's slots of the 80 classes and, last, of the background (id 91 here).
_COCO_SLOTS = [i - 1 for i in range(1, 92) if i not in UNUSED_COCO_IDS]


def without_extra_classes(
    key: str, value: Tensor, wanted: torch.Size
) -> tuple[Tensor, str]:
    """Leave out rows that the network has no class for.

    Args:
        key: Our name of a classifier's or class predictor's weight or bias.
        value: (rows, ...) of the file, the background's slot last in a
            detector.
        wanted: Shape in the network.

    Returns:
        The value, unchanged if this is not the reason why shapes differ, and
        a note for the account.
    """
    rows, ours = value.shape[0], wanted[0]
    if value.shape[1:] != wanted[1:]:
        return value, ''
    if key.startswith('head.fc.') and rows == ours + 1:
        return value[1:], 'without the background'
    if (
        key.startswith('bbox_head.cls_convs.')
        and rows % 91 == 0
        and ours == rows // 91 * len(_COCO_SLOTS)
    ):
        slots = value.unflatten(0, (-1, 91))[:, torch.tensor(_COCO_SLOTS)]
        return slots.flatten(0, 1), "without COCO's unused ids"
    return value, ''
