"""Draws ground truth onto the images that a pipeline hands to the network.

The hosts' visualizers do the drawing. Where a test pipeline resizes the
image and leaves its boxes or its mask as they are, the image is resized
back, so that the two fit.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from mmengine.registry import VISUALIZERS, init_default_scope
from mmengine.structures import BaseDataElement, PixelData

_VISUALIZERS = {
    'mmdet': {'type': 'DetLocalVisualizer'},
    'mmseg': {'type': 'SegLocalVisualizer', 'alpha': 0.5},
    'mmpretrain': {'type': 'UniversalVisualizer'},
}
_SHORT_SIDE = 384  # pixels; smaller images are enlarged for drawing


class GtVisualizer:
    """Draws the ground truth of one data set.

    Args:
        host: mmdet, mmseg or mmpretrain.
        metainfo: the data set's, with classes and maybe a palette.
        pipeline: the data set's transforms (built or config entries), of
            which only the order matters.
    """

    def __init__(
        self, host: str, metainfo: dict, *, pipeline: Sequence[object] = ()
    ) -> None:
        self.host = host
        self.classes = tuple(map(str, metainfo.get('classes') or ()))
        init_default_scope(host)
        self.visualizer = VISUALIZERS.build(
            {**_VISUALIZERS[host], 'name': f'ground_truth_{id(self)}'}
        )
        meta = dict(metainfo)
        if len(meta.get('palette') or ()) < len(self.classes):
            rng = np.random.default_rng(0)
            colors = rng.integers(60, 256, (len(self.classes), 3))
            meta['palette'] = [tuple(row) for row in colors.tolist()]
        self.visualizer.dataset_meta = meta
        names = [_name(entry) for entry in pipeline]
        self.resized_before_truth = (
            'LoadAnnotations' in names
            and any('Resize' in n for n in names)
            and names.index('LoadAnnotations')
            > min(i for i, n in enumerate(names) if 'Resize' in n)
        )

    def draw(self, inputs: torch.Tensor, sample: BaseDataElement) -> np.ndarray:
        """The image with its ground truth, (H, W, 3) uint8 BGR.

        Small images come back enlarged.

        Args:
            inputs: what the pipeline made, (3, H, W), BGR.
            sample: its data sample.
        """
        image = _as_image(inputs)
        size = image.shape[1::-1]
        if self.resized_before_truth:
            size = tuple(sample.ori_shape[1::-1])
        factor = max(1, round(_SHORT_SIDE / min(size)))
        large = tuple(side * factor for side in size)
        canvas = cv2.resize(image, large, interpolation=cv2.INTER_CUBIC)
        canvas = cv2.cvtColor(canvas, cv2.COLOR_BGR2RGB)
        sample = sample.clone()
        if self.host == 'mmdet':
            truth = sample.gt_instances = sample.gt_instances.clone()
            boxes = getattr(truth.bboxes, 'tensor', truth.bboxes)
            truth.bboxes = boxes * float(factor)
            if 'masks' in truth:
                del truth.masks
            self.visualizer.add_datasample(
                '', canvas, sample, draw_gt=True, draw_pred=False
            )
        elif self.host == 'mmseg':
            mask = sample.gt_sem_seg.data.squeeze(0).numpy().astype(np.uint8)
            mask = cv2.resize(mask, large, interpolation=cv2.INTER_NEAREST)
            truth = PixelData(data=torch.from_numpy(mask)[None].long())
            sample.set_data({'gt_sem_seg': truth})
            self.visualizer.add_datasample(
                '', canvas, sample, draw_gt=True, draw_pred=False
            )
        else:
            self.visualizer.visualize_cls(
                canvas,
                sample,
                classes=self.classes or None,
                draw_gt=True,
                draw_pred=False,
            )
        drawn = np.ascontiguousarray(self.visualizer.get_image())
        return cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)


def _as_image(inputs: torch.Tensor) -> np.ndarray:
    """A pipeline's image (3 or 1, H, W) as (H, W, 3) uint8.

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


def _name(entry: object) -> str:
    """Class name of a transform, built or not, without its scope."""
    if isinstance(entry, dict):
        return str(entry.get('type')).split('.')[-1]
    return type(entry).__name__
