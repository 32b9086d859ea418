"""Decoding, clipping and NMS of SSDLite for ncnn; the NMS is `DetectionOutput`."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mnv2_mm.deploy.detection import nms_rules
from mnv2_mm.deploy.ncnn.rules import OPERATOR
from mnv2_mm.deploy.pre_nms_topk import least_of_best
from mnv2_mm.utils.errors import InputError

#: ``wh_ratio_clip`` of mmdet's decode, which no config can set.
_RATIO_CLIP = 16 / 1000


class _DetectionOutput(torch.autograd.Function):
    """The operator for PyTorch's exporter; computes nothing."""

    @staticmethod
    def forward(ctx, scores, boxes, settings):
        """Zeros in the shape of the largest output."""
        return scores.new_zeros(1, settings['keep_top_k'], 6)

    @staticmethod
    def symbolic(graph, scores, boxes, settings):
        """The node."""
        attributes = {
            f'{name}_{"i" if isinstance(value, int) else "f"}': value
            for name, value in settings.items()
        }
        return graph.op(OPERATOR, scores, boxes, **attributes)


class Detections(nn.Module):
    """Turn the maps of an SSDLiteHead into detections.

    Raises:
        InputError: a box coder or NMS that ncnn does not have.
    """

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.coder, generator = head.bbox_coder, head.prior_generator
        if self.coder.add_ctr_clamp or not self.coder.clip_border:
            raise InputError(
                'model.bbox_head.bbox_coder has add_ctr_clamp=True or '
                'clip_border=False; the ncnn graph decodes with the defaults'
            )
        self.flatten, self.slots = head.flatten, head.cls_out_channels
        self.use_sigmoid = head.use_sigmoid_cls
        priors = torch.cat(generator.grid_priors(generator.featmap_sizes, device='cpu'))
        self.size = generator.input_size
        corners = priors.reshape(1, -1, 2, 2) / priors.new_tensor(self.size)
        extents = corners[:, :, 1] - corners[:, :, 0]
        self.register_buffer('centers', corners.mean(2), persistent=False)
        self.register_buffer('extents', extents, persistent=False)
        rules = nms_rules(head.test_cfg)
        self.smallest, self.before = rules['min_size'], rules['before']
        nms_pre = int(head.test_cfg.get('nms_pre', -1))
        self.settings = dict(  # attributes of the operator
            num_classes=int(head.num_classes),
            confidence_threshold=rules['score'],
            nms_threshold=rules['iou'],
            nms_top_k=nms_pre if nms_pre > 0 else len(priors),  # of each class
            keep_top_k=rules['keep'],
        )

    def boxes(self, codes: Tensor) -> Tensor:
        """Codes (1, N, 4) -> clipped x0, y0, x1, y1, from 0 to 1, as in mmdet."""
        stds, means = map(codes.new_tensor, (self.coder.stds, self.coder.means))
        codes = codes * stds + means
        largest = abs(math.log(_RATIO_CLIP))
        centers = codes[..., :2] * self.extents + self.centers
        growth = codes[..., 2:].clamp(min=-largest, max=largest)
        half = growth.exp() * (self.extents * 0.5)
        return torch.cat([centers - half, centers + half], -1).clamp(0, 1)

    def scores(self, logits: Tensor) -> Tensor:
        """Logits (1, N, slots) -> (1, N, C + 1), the background first.

        The background is zero, whatever its slot holds: where it is near 1,
        ncnn leaves a box undecoded, but may still keep it by its classes.
        """
        classes = self.settings['num_classes']
        if self.use_sigmoid:
            scores = logits[..., :classes].sigmoid()
        else:
            scores = logits.softmax(-1)[..., :classes]
        background = scores.new_zeros(1, self.centers.shape[1], 1)
        return torch.cat([background, scores], -1)

    def forward(
        self, cls_scores: Sequence[Tensor], bbox_preds: Sequence[Tensor]
    ) -> Tensor:
        """Outputs of the head for one image -> (1, K, 6)."""
        boxes = self.boxes(self.flatten(bbox_preds, 4))
        scores = self.scores(self.flatten(cls_scores, self.slots))
        if self.smallest >= 0:
            # mmdet drops boxes that have no area after clipping
            sides = boxes[..., 2:] - boxes[..., :2]
            if self.smallest > 0:
                least = [self.smallest / side for side in self.size]
                sides = sides - sides.new_tensor(least)
            x, y = sides[..., :1], sides[..., 1:]
            scores = scores * torch.minimum(x, y).clamp(0, 1).ceil()
        if self.before > 0:
            # ncnn has no comparison: 1 where a score is below, else 0
            below = least_of_best(scores, self.before) - scores
            scores = scores * (1 - below.clamp(0, 1).ceil())
        return _DetectionOutput.apply(scores, boxes, self.settings)
