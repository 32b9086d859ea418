"""YOLOv2's region head (Table 6, row YOLOv2) for mmdet.

One 1x1 convolution predicts 5 + classes numbers for each of the five anchors of
a cell. mmdet's YOLOV3Head differs: three levels, a sigmoid per class, objectness
trained towards 1 instead of the IoU, assignment by IoU thresholds.
"""

from collections.abc import Sequence

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.utils import filter_scores_and_topk
from mmdet.utils import InstanceList, OptInstanceList
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mnv2_mm.models.baselines.yolov2_network import DARKNET_INIT
from mnv2_mm.models.baselines.yolov2_region import (
    COCO_ANCHORS,
    STRIDE,
    RegionLoss,
    anchor_grid,
    anchor_tensor,
    decode,
)
from mnv2_mm.models.checks import check_channels, checked_gt_instances
from mnv2_mm.registry import MODELS
from mnv2_mm.utils.arguments import checked_arguments


@MODELS.register_module()
@checked_arguments
class YOLOv2Head(BaseDenseHead):
    """Predict boxes, objectness and classes of one map.

    Args:
        num_classes: Classes; there is no background slot.
        in_channels: Channels of the map, as ``YOLOv2Neck.out_channels``.
        anchors: Widths and heights in cells of 32 pixels; COCO's by default.
        loss: Arguments of
            :class:`~mnv2_mm.models.baselines.yolov2_region.RegionLoss`.
        train_cfg: Unused; mmdet's detectors pass it.
        test_cfg: As in every mmdet head.
        init_cfg: Darknet's by default.
    """

    anchors: Tensor

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 1024,
        *,
        anchors: Sequence[Sequence[float]] = COCO_ANCHORS,
        loss: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(DARKNET_INIT))
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.train_cfg = train_cfg
        self.test_cfg = test_cfg
        self.register_buffer('anchors', anchor_tensor(anchors), persistent=False)
        self.loss_region = RegionLoss(**(loss or {}))
        # Darknet's order: anchor by anchor, box code, objectness, classes
        self.conv = nn.Conv2d(in_channels, len(anchors) * (5 + num_classes), 1)

    def forward(self, feats: Sequence[Tensor]) -> tuple[Tensor]:
        """One map (B, C, H/32, W/32) -> (B, A * (5 + classes), H/32, W/32)."""
        check_channels(self, 'bbox_head', feats)
        return (self.conv(feats[0]),)

    def flatten(self, pred_map: Tensor) -> Tensor:
        """(B, A * (5 + classes), H, W) -> (B, H * W * A, 5 + classes), float32."""
        channels_last = pred_map.permute(0, 2, 3, 1).float()
        return channels_last.reshape(len(pred_map), -1, 5 + self.num_classes)

    def loss_by_feat(
        self,
        pred_map: Tensor,
        batch_gt_instances: InstanceList,
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: OptInstanceList = None,
    ) -> dict[str, Tensor]:
        """The region loss; arguments are mmdet's, regions to ignore have no effect."""
        objects = [
            checked_gt_instances(*image, num_classes=self.num_classes)
            for image in zip(batch_gt_instances, batch_img_metas, strict=True)
        ]
        return self.loss_region(
            self.flatten(pred_map),
            self.anchors.float(),
            size=pred_map.shape[-2:],
            boxes=[boxes.float() / STRIDE for boxes, _ in objects],
            labels=[labels for _, labels in objects],
        )

    def predict_by_feat(
        self,
        pred_map: Tensor,
        batch_img_metas: list[dict] | None = None,
        cfg: ConfigDict | None = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> InstanceList:
        """Detections of each image; arguments and results are mmdet's.

        The score of a class is its softmax probability times objectness.
        """
        cfg = ConfigDict(self.test_cfg if cfg is None else cfg)
        predictions = self.flatten(pred_map.detach())
        grid = anchor_grid(pred_map.shape[-2:], self.anchors.float())
        batch_boxes = decode(predictions[..., :4], *grid) * STRIDE
        objectness = predictions[..., 4:5].sigmoid()
        batch_scores = objectness * predictions[..., 5:].softmax(dim=-1)
        results = []
        for boxes, scores, meta in zip(
            batch_boxes, batch_scores, batch_img_metas or [], strict=True
        ):
            scores, labels, keep, _ = filter_scores_and_topk(
                scores, cfg.get('score_thr', 0), cfg.get('nms_pre', scores.numel())
            )
            height, width = meta['img_shape'][:2]
            limits = boxes.new_tensor([width, height, width, height])
            boxes = torch.minimum(boxes[keep].clamp(min=0), limits)
            found = InstanceData(bboxes=boxes, scores=scores, labels=labels)
            results.append(
                self._bbox_post_process(found, cfg, rescale, with_nms, img_meta=meta)
            )
        return results
