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


def detections(
    head: nn.Module, cls_scores: Sequence[Tensor], bbox_preds: Sequence[Tensor]
) -> Tensor:
    """Maps of an SSDLiteHead for one image -> (1, K, 6).

    Raises:
        InputError: a box coder or NMS that ncnn does not have.
    """
    coder, generator = head.bbox_coder, head.prior_generator
    if coder.add_ctr_clamp or not coder.clip_border:
        raise InputError(
            'model.bbox_head.bbox_coder has add_ctr_clamp=True or '
            'clip_border=False; the ncnn graph decodes with the defaults'
        )
    rules = nms_rules(head.test_cfg)
    nms_pre = int(head.test_cfg.get('nms_pre', -1))
    boxes = _boxes(head, head.flatten(bbox_preds, 4))
    scores = _scores(head, head.flatten(cls_scores, head.cls_out_channels))
    if rules['min_size'] >= 0:
        # mmdet drops boxes that have no area after clipping
        sides = boxes[..., 2:] - boxes[..., :2]
        if rules['min_size'] > 0:
            least = [rules['min_size'] / side for side in generator.input_size]
            sides = sides - sides.new_tensor(least)
        x, y = sides[..., :1], sides[..., 1:]
        scores = scores * torch.minimum(x, y).clamp(0, 1).ceil()
    if rules['before'] > 0:
        # ncnn has no comparison: 1 where a score is below, else 0
        below = least_of_best(scores, rules['before']) - scores
        scores = scores * (1 - below.clamp(0, 1).ceil())
    settings = dict(  # attributes of the operator
        num_classes=int(head.num_classes),
        confidence_threshold=rules['score'],
        nms_threshold=rules['iou'],
        nms_top_k=nms_pre if nms_pre > 0 else int(boxes.shape[1]),  # of each class
        keep_top_k=rules['keep'],
    )
    return _DetectionOutput.apply(scores, boxes, settings)


def _boxes(head: nn.Module, codes: Tensor) -> Tensor:
    """Codes (1, N, 4) -> clipped x0, y0, x1, y1, from 0 to 1, as in mmdet."""
    coder, generator = head.bbox_coder, head.prior_generator
    priors = torch.cat(generator.grid_priors(generator.featmap_sizes, device='cpu'))
    corners = priors.reshape(1, -1, 2, 2) / priors.new_tensor(generator.input_size)
    extents = corners[:, :, 1] - corners[:, :, 0]
    stds, means = map(codes.new_tensor, (coder.stds, coder.means))
    codes = codes * stds + means
    largest = abs(math.log(_RATIO_CLIP))
    centers = codes[..., :2] * extents + corners.mean(2)
    growth = codes[..., 2:].clamp(min=-largest, max=largest)
    half = growth.exp() * (extents * 0.5)
    return torch.cat([centers - half, centers + half], -1).clamp(0, 1)


def _scores(head: nn.Module, logits: Tensor) -> Tensor:
    """Logits (1, N, slots) -> (1, N, C + 1), the background first.

    The background is zero, whatever its slot holds: where it is near 1,
    ncnn leaves a box undecoded, but may still keep it by its classes.
    """
    classes = int(head.num_classes)
    if head.use_sigmoid_cls:
        scores = logits[..., :classes].sigmoid()
    else:
        scores = logits.softmax(-1)[..., :classes]
    background = scores.new_zeros(1, int(scores.shape[1]), 1)
    return torch.cat([background, scores], -1)
