"""SSDLite's targets, loss and prediction (section 6.2) for mmdet.

Runs on mmdet's SingleStageDetector. Differs from mmdet's SSDHead: sigmoid
loss with background slot and the official hard mining, one normaliser for the
whole batch, a quicker prediction of the same boxes, and a wrong channel
count, input size or class count is named.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from mmdet.registry import TASK_UTILS
from mmdet.utils import InstanceList, OptInstanceList
from mmengine.structures import InstanceData
from torch import Tensor

from mnv2_mm.models.gt_checks import checked_gt_instances
from mnv2_mm.models.ssdlite.mining import mine_hard_examples
from mnv2_mm.models.ssdlite.postprocess import best_detections
from mnv2_mm.models.ssdlite.predictors import SSDLitePredictors
from mnv2_mm.registry import MODELS

#: TF's ArgMaxMatcher: matched from IoU 0.5, and every object forces its
#: best anchor.
ASSIGNER = dict(
    type='mmdet.MaxIoUAssigner',
    pos_iou_thr=0.5,
    neg_iou_thr=0.5,
    min_pos_iou=0.0,
    gt_max_assign_all=False,
)


@MODELS.register_module()
class SSDLiteHead(SSDLitePredictors):
    """The predictors with targets, loss and prediction.

    Args:
        args, kwargs: Of
            :class:`~mnv2_mm.models.ssdlite.predictors.SSDLitePredictors`:
            ``num_classes``, ``in_channels``, ``loss``, ``anchor_generator``
            and the rest.
        train_cfg: ``assigner`` and ``mining`` (arguments of
            :func:`~mnv2_mm.models.ssdlite.mining.mine_hard_examples`);
            official values by default.
        test_cfg: ``nms_pre``, ``score_thr``, ``nms``, ``max_per_img``, as
            in every mmdet head.
    """

    def __init__(
        self,
        *args,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        **kwargs,
    ) -> None:
        super().__init__(*args, **kwargs)
        train_cfg = train_cfg or {}
        self.assigner = TASK_UTILS.build(train_cfg.get('assigner', ASSIGNER))
        self.mining = dict(train_cfg.get('mining', {}))
        self.train_cfg = train_cfg
        self.test_cfg = test_cfg

    def get_targets_single(
        self,
        priors: Tensor,
        gt_instances: InstanceData,
        img_meta: dict,
        gt_ignore: InstanceData | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Match the default boxes of one image with its objects.

        Returns:
            Labels (N,) with ``num_classes`` for the background and -1 for
            anchors to ignore, the mask of matched anchors (N,), and their
            codes (matched, 4).
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

    def loss_by_feat(
        self,
        cls_scores: Sequence[Tensor],
        bbox_preds: Sequence[Tensor],
        batch_gt_instances: InstanceList,
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: OptInstanceList = None,
    ) -> dict[str, Tensor]:
        """Sum over the mined anchors over the matches of the whole batch.

        Args:
            cls_scores: As returned by :meth:`forward`.
            bbox_preds: As returned by :meth:`forward`.
            batch_gt_instances: ``bboxes`` (n, 4) in pixels and ``labels``
                (n,) of each image.
            batch_img_metas: Meta information of each image.
            batch_gt_instances_ignore: Regions that count neither way.
        """
        self.check_input_size(batch_img_metas)
        priors = self.priors(cls_scores)
        logits = self.flatten(cls_scores, self.cls_out_channels).float()
        codes = self.flatten(bbox_preds, self.bbox_coder.encode_size).float()
        ignored = batch_gt_instances_ignore or [None] * len(batch_img_metas)
        loss_cls = logits.sum() * 0
        loss_bbox = codes.sum() * 0
        matches = 0
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
                codes[i][positive & mined],
                targets[mined[positive]],
                reduction='sum',
            )
        factor = max(matches, 1)
        return dict(loss_cls=loss_cls / factor, loss_bbox=loss_bbox / factor)

    def predict_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        *args,
        batch_img_metas: list[dict] | None = None,
        cfg: dict | None = None,
        rescale: bool = False,
        with_nms: bool = True,
        **kwargs,
    ) -> InstanceList:
        """Detections of each image, as mmdet's heads return them.

        The same as mmdet's own prediction, which serves where NMS is left
        out or of another kind, by :mod:`mnv2_mm.models.ssdlite.postprocess`.
        """
        self.check_input_size(batch_img_metas)
        cfg = self.test_cfg if cfg is None else cfg
        found: InstanceList = []
        if with_nms and cfg['nms'].get('type', 'nms') == 'nms':
            priors = self.priors(cls_scores)
            values = self.flatten(cls_scores, self.cls_out_channels).float()
            codes = self.flatten(bbox_preds, self.bbox_coder.encode_size)
            if not self.use_sigmoid_cls:
                values = values.softmax(dim=-1)
            found = [
                best_detections(
                    values[i, :, : self.num_classes],
                    codes[i].float(),
                    priors,
                    coder=self.bbox_coder,
                    cfg=cfg,
                    sigmoid=self.use_sigmoid_cls,
                    img_meta=img_meta,
                    rescale=rescale,
                )
                for i, img_meta in enumerate(batch_img_metas)
            ]
        if found and not any(one is None for one in found):
            return found
        return super().predict_by_feat(
            cls_scores,
            bbox_preds,
            *args,
            batch_img_metas=batch_img_metas,
            cfg=cfg,
            rescale=rescale,
            with_nms=with_nms,
            **kwargs,
        )
