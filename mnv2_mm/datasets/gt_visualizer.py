"""Draw ground truth on the images that a pipeline hands to the network.

Where a test pipeline resizes the image but not its boxes or mask, the image is
resized back, so that the two fit.
"""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import torch
from mmengine.structures import BaseDataElement

from mnv2_mm.runtime.drawing import draw


def truth(sample: BaseDataElement) -> dict[str, np.ndarray]:
    """Ground truth of a host's sample, as arrays for drawing; empty without any."""
    found = sample.get('gt_instances')
    if found is not None and 'bboxes' in found:
        boxes = getattr(found.bboxes, 'tensor', found.bboxes)
        return {'boxes': boxes.cpu().numpy(), 'labels': found.labels.cpu().numpy()}
    if 'gt_sem_seg' in sample:
        return {'mask': sample.gt_sem_seg.data.squeeze(0).cpu().numpy()}
    return {'labels': sample.gt_label.cpu().numpy()} if 'gt_label' in sample else {}


class GtVisualizer:
    """Draw the ground truth of one data set.

    Args:
        metainfo: The data set's, with classes and maybe a palette.
        pipeline: The config entries of the data set's transforms.
    """

    def __init__(self, metainfo: Mapping, pipeline: Sequence[Mapping]) -> None:
        self.metainfo = metainfo
        names = ' '.join(str(entry.get('type')) for entry in pipeline)
        before, found, _ = names.partition('LoadAnnotations')
        self.resized_before_truth = bool(found) and 'Resize' in before

    def draw(self, inputs: torch.Tensor, sample: BaseDataElement) -> np.ndarray:
        """Draw on the image of a pipeline, (3, H, W) BGR.

        Returns an image (H, W, 3) uint8 BGR, enlarged if it is small.
        """
        image = _as_image(inputs)
        if self.resized_before_truth:
            image = cv2.resize(image, sample.ori_shape[1::-1])
        return draw(image, truth(sample), self.metainfo)


def _as_image(inputs: torch.Tensor) -> np.ndarray:
    """Convert a pipeline's image (3 or 1, H, W) to (H, W, 3) uint8.

    An image that was normalized in the pipeline is stretched to 0..255.
    """
    image = inputs.permute(1, 2, 0).numpy()
    if image.dtype != np.uint8:
        low, high = float(image.min()), float(image.max())
        if low < 0 or high > 255 or high <= 1:
            image = (image - low) / max(high - low, 1e-6) * 255
        image = image.astype(np.uint8)
    if image.shape[2] == 1:
        image = np.repeat(image, 3, axis=2)
    return np.ascontiguousarray(image)
