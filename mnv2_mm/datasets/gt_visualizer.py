"""Draw ground truth on the images that a pipeline hands to the network.

Where a test pipeline resizes the image but not its boxes or mask, the image is
resized back, so that the two fit.
"""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import torch
from mmengine.structures import BaseDataElement, PixelData

from mnv2_mm.utils.visualize import drawn_image, enlarged, host_visualizer

_SHORT_SIDE = 384  # pixels; smaller images are enlarged for drawing


class GtVisualizer:
    """Draw the ground truth of one data set.

    Args:
        host: mmdet, mmseg or mmpretrain.
        metainfo: The data set's, with classes and maybe a palette.
        pipeline: The config entries of the data set's transforms.
    """

    def __init__(
        self, host: str, metainfo: dict, *, pipeline: Sequence[Mapping]
    ) -> None:
        self.host = host
        self.classes = tuple(map(str, metainfo.get('classes') or ()))
        settings = {'alpha': 0.5} if host == 'mmseg' else {}
        self.visualizer = host_visualizer(
            host, metainfo, name=f'ground_truth_{id(self)}', **settings
        )
        names = ' '.join(str(entry.get('type')) for entry in pipeline)
        before, truth, _ = names.partition('LoadAnnotations')
        self.resized_before_truth = bool(truth) and 'Resize' in before

    def draw(self, inputs: torch.Tensor, sample: BaseDataElement) -> np.ndarray:
        """Draw on the image of a pipeline, (3, H, W) BGR.

        Returns an image (H, W, 3) uint8 BGR, enlarged if it is small.
        """
        image = _as_image(inputs)
        size = image.shape[1::-1]
        if self.resized_before_truth:
            size = tuple(sample.ori_shape[1::-1])
        factor = max(1, round(_SHORT_SIDE / min(size)))
        large = tuple(side * factor for side in size)
        canvas = enlarged(image, large)
        sample = sample.clone()
        if self.host == 'mmpretrain':
            self.visualizer.visualize_cls(
                canvas, sample, classes=self.classes or None, draw_pred=False
            )
            return drawn_image(self.visualizer)
        if self.host == 'mmdet':
            truth = sample.gt_instances = sample.gt_instances.clone()
            boxes = getattr(truth.bboxes, 'tensor', truth.bboxes)
            truth.bboxes = boxes * float(factor)
            if 'masks' in truth:
                del truth.masks
        else:
            mask = sample.gt_sem_seg.data.squeeze(0).numpy().astype(np.uint8)
            mask = cv2.resize(mask, large, interpolation=cv2.INTER_NEAREST)
            truth = PixelData(data=torch.from_numpy(mask)[None].long())
            sample.set_data({'gt_sem_seg': truth})
        self.visualizer.add_datasample('', canvas, sample, draw_pred=False)
        return drawn_image(self.visualizer)


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
