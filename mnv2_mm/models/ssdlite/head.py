"""SSDLite's head (section 6.2) for mmdet's SingleStageDetector.

Depthwise 3x3 and 1x1 (or plain SSD's 3x3) for boxes and classes on each level,
nothing shared between levels, as TF's convolutional box predictor. Differs from
mmdet's SSDHead: sigmoid loss with a background slot, the official hard mining,
one normalizer for the whole batch, a faster prediction of the same boxes.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.registry import TASK_UTILS
from mmdet.utils import InstanceList, OptInstanceList
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mnv2_mm.models.blocks import (
    BN_DETECTION,
    Padding,
    depthwise,
    layer_cfgs,
    truncated_normal,
)
from mnv2_mm.models.checks import check_channels, checked_gt_instances
from mnv2_mm.models.ssdlite.loss import ClassSlotLoss
from mnv2_mm.models.ssdlite.mining import check_mining, mine_hard_examples
from mnv2_mm.models.ssdlite.postprocess import best_detections
from mnv2_mm.registry import MODELS
from mnv2_mm.utils.arguments import check_arguments, checked_arguments
from mnv2_mm.utils.errors import InputError

ANCHORS = dict(type='mnv2_mm.SSDLiteAnchorGenerator')
#: TF's FasterRcnnBoxCoder with scales 10, 10, 5, 5, in mmdet's x, y, w, h.
BOX_CODER = dict(
    type='mmdet.DeltaXYWHBBoxCoder',
    target_means=(0.0, 0.0, 0.0, 0.0),
    target_stds=(0.1, 0.1, 0.2, 0.2),
)
#: TF's ArgMaxMatcher: an anchor matches from IoU 0.5, and each object also
#: takes its best anchor.
ASSIGNER = dict(
    type='mmdet.MaxIoUAssigner',
    pos_iou_thr=0.5,
    neg_iou_thr=0.5,
    min_pos_iou=0.0,
    gt_max_assign_all=False,
)


@MODELS.register_module()
@checked_arguments
class SSDLiteHead(BaseDenseHead):
    """Box and class predictors with anchors, targets, loss and prediction.

    Args:
        num_classes: Classes without the background.
        in_channels: Channels of each level, as ``SSDLiteNeck.out_channels``.
        use_depthwise: Depthwise 3x3 + 1x1 (SSDLite) or one full layer (SSD).
        kernel_size: Of SSD's full layer: 3 (Table 5) or 1 (Google's published SSD).
        loss: ``'sigmoid'`` or ``'softmax'``, over the classes and the
            background.
        background_slot: False for a sigmoid head without a slot for the
            background, as some of Google's detectors.
        padding: As the backbone's; no effect on stride-1 layers.
        norm_cfg: Normalization; TF's detection scope by default.
        train_cfg: ``assigner`` and ``mining``, arguments of
            :func:`~mnv2_mm.models.ssdlite.mining.mine_hard_examples`;
            official values by default.
        test_cfg: As in every mmdet head.
        init_cfg: Truncated normal 0.03 by default.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int],
        *,
        use_depthwise: bool = True,
        kernel_size: int = 3,
        loss: str = 'sigmoid',
        background_slot: bool = True,
        anchor_generator: dict | None = None,
        bbox_coder: dict | None = None,
        padding: Padding = 'symmetric',
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or truncated_normal(0.03, layer='Conv2d'))
        self.num_classes = num_classes
        self.in_channels = tuple(in_channels)
        self.use_depthwise = use_depthwise
        if kernel_size not in (1, 3):
            raise InputError(f'kernel_size={kernel_size!r} is not offered; use 3 or 1')
        self.kernel_size = kernel_size
        self.loss_cls = ClassSlotLoss(
            num_classes, loss, background_slot=background_slot
        )
        self.background_slot = background_slot
        self.cls_out_channels = self.loss_cls.slots
        self.use_sigmoid_cls = loss == 'sigmoid'
        self.bbox_coder = TASK_UTILS.build(bbox_coder or BOX_CODER)
        self.prior_generator = TASK_UTILS.build(anchor_generator or ANCHORS)
        self._priors: tuple[tuple, Tensor] | None = None
        levels = self.prior_generator.num_levels
        name = type(self).__name__
        if len(self.in_channels) != levels:
            raise InputError(
                f'{name}: in_channels={self.in_channels} must have one entry for each '
                f'of the {levels} levels of anchors (SSDLiteNeck.out_channels)'
            )
        self.train_cfg = train_cfg or {}
        self.test_cfg = test_cfg
        check_arguments(f'{name}: train_cfg', self.train_cfg, ('assigner', 'mining'))
        self.assigner = TASK_UTILS.build(self.train_cfg.get('assigner', ASSIGNER))
        self.mining = dict(self.train_cfg.get('mining', {}))
        check_mining(name, self.mining)
        layer_cfg = layer_cfgs(padding, norm_cfg or BN_DETECTION, act_cfg)
        self.cls_convs = self._predictors(self.cls_out_channels, layer_cfg)
        self.reg_convs = self._predictors(self.bbox_coder.encode_size, layer_cfg)

    def _predictors(self, outputs: int, layer_cfg: dict) -> nn.ModuleList:
        """One predictor per level, with ``outputs`` values per anchor."""
        kernel = self.kernel_size
        levels = zip(
            self.in_channels, self.prior_generator.num_base_priors, strict=True
        )
        return nn.ModuleList(
            nn.Sequential(depthwise(c, **layer_cfg), nn.Conv2d(c, a * outputs, 1))
            if self.use_depthwise
            else nn.Conv2d(c, a * outputs, kernel, padding=kernel // 2)
            for c, a in levels
        )

    def forward(self, feats: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Levels (B, C_k, H_k, W_k) -> class logits and box codes.

        Per level (B, A_k * slots, H_k, W_k), the background (if it has a slot)
        last, and (B, A_k * 4, H_k, W_k), coded as dx, dy, dw, dh.
        """
        check_channels(self, 'bbox_head', feats)
        cls_scores = [conv(x) for conv, x in zip(self.cls_convs, feats, strict=True)]
        bbox_preds = [conv(x) for conv, x in zip(self.reg_convs, feats, strict=True)]
        return cls_scores, bbox_preds

    def loss_by_feat(
        self,
        cls_scores: Sequence[Tensor],
        bbox_preds: Sequence[Tensor],
        batch_gt_instances: InstanceList,
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: OptInstanceList = None,
    ) -> dict[str, Tensor]:
        """Losses of the mined anchors, divided by the matches of the batch."""
        self.check_input_size(batch_img_metas)
        priors = self.priors(cls_scores)
        logits = self.flatten(cls_scores, self.cls_out_channels).float()
        codes = self.flatten(bbox_preds, self.bbox_coder.encode_size).float()
        ignored = batch_gt_instances_ignore or [None] * len(batch_img_metas)
        loss_cls, loss_bbox, matches = logits.sum() * 0, codes.sum() * 0, 0
        for i, gt_instances in enumerate(batch_gt_instances):
            labels, positive, targets = self.get_targets_single(
                priors, gt_instances, batch_img_metas[i], ignored[i]
            )
            matches += len(targets)
            counted = (labels >= 0).to(logits.dtype)
            losses = self.loss_cls(logits[i], labels.clamp(min=0)) * counted
            mined = mine_hard_examples(
                losses,
                self.bbox_coder.decode(priors, codes[i].detach()),
                positive,
                **self.mining,
            )
            loss_cls = loss_cls + losses[mined].sum()
            loss_bbox = loss_bbox + F.smooth_l1_loss(
                codes[i][positive & mined], targets[mined[positive]], reduction='sum'
            )
        factor = max(matches, 1)
        return dict(loss_cls=loss_cls / factor, loss_bbox=loss_bbox / factor)

    def get_targets_single(
        self,
        priors: Tensor,
        gt_instances: InstanceData,
        img_meta: dict,
        gt_ignore: InstanceData | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Match the default boxes of one image with its objects.

        Returns labels (N,) with ``num_classes`` for the background and -1 for
        anchors to ignore, the mask of matched anchors (N,), and their codes
        (matched, 4).
        """
        boxes, labels = checked_gt_instances(
            gt_instances, img_meta, num_classes=self.num_classes
        )
        assigned = self.assigner.assign(
            InstanceData(priors=priors),
            InstanceData(bboxes=boxes, labels=labels),
            gt_ignore,
        ).gt_inds
        positive = assigned > 0
        target = labels.new_full((len(priors),), self.num_classes)
        target[assigned < 0] = -1
        matched = assigned[positive] - 1
        target[positive] = labels[matched]
        codes = self.bbox_coder.encode(priors[positive], boxes[matched])
        return target, positive, codes

    def predict_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        score_factors: list[Tensor] | None = None,
        batch_img_metas: list[dict] | None = None,
        cfg: dict | None = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> InstanceList:
        """Detections of each image; arguments and results are mmdet's.

        :mod:`mnv2_mm.models.ssdlite.postprocess` finds the same boxes as
        mmdet's own prediction, which runs where NMS is left out or of another
        type, or where the limit per level (``nms_pre``) matters.
        """
        self.check_input_size(batch_img_metas)
        used = cfg or self.test_cfg or {}
        if with_nms and used['nms'].get('type', 'nms') == 'nms':
            priors = self.priors(cls_scores)
            values = self.flatten(cls_scores, self.cls_out_channels).float()
            codes = self.flatten(bbox_preds, self.bbox_coder.encode_size).float()
            if not self.use_sigmoid_cls:
                values = values.softmax(dim=-1)
            found = [
                best_detections(
                    values[i, :, : self.num_classes],
                    codes[i],
                    priors,
                    coder=self.bbox_coder,
                    cfg=used,
                    sigmoid=self.use_sigmoid_cls,
                    img_meta=img_meta,
                    rescale=rescale,
                )
                for i, img_meta in enumerate(batch_img_metas or [])
            ]
            if None not in found:
                return found
        return super().predict_by_feat(
            cls_scores, bbox_preds, None, batch_img_metas, cfg, rescale, with_nms
        )

    def flatten(self, maps: Sequence[Tensor], size: int) -> Tensor:
        """Levels (B, A_k * size, H_k, W_k) -> (B, anchors, size)."""
        return torch.cat(
            [x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, size) for x in maps], dim=1
        )

    def priors(self, maps: Sequence[Tensor]) -> Tensor:
        """All default boxes (anchors, 4) in pixels, cached."""
        sizes = tuple(tuple(x.shape[-2:]) for x in maps)
        key = sizes, maps[0].device
        if self._priors is None or self._priors[0] != key:
            made = self.prior_generator.grid_priors(sizes, device=key[1])
            self._priors = key, torch.cat(made)
        return self._priors[1]

    def check_input_size(self, batch_img_metas: list[dict] | None) -> None:
        """Raise InputError for images of another size than the anchors'."""
        for meta in batch_img_metas or []:
            shape = meta.get('batch_input_shape')
            if shape is not None and hasattr(self.prior_generator, 'check'):
                self.prior_generator.check(shape)
