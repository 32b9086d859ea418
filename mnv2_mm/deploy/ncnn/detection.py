"""SSDLite as one ONNX graph for ncnn: network, decoding, clipping and NMS.

The graph ends in ``mnv2_mm::DetectionOutput``, see
:mod:`mnv2_mm.deploy.ncnn.rules_detection`.
"""

import io
import math
import warnings
from collections.abc import Sequence

import onnx
import torch
from torch import Tensor, nn

from mnv2_mm.deploy.ncnn.rules_detection import OPERATOR
from mnv2_mm.deploy.pre_nms_topk import least_of_best, pairs_before_nms
from mnv2_mm.utils.errors import InputError

#: ``wh_ratio_clip`` of mmdet's decode, which no config can set.
_RATIO_CLIP = 16 / 1000


class _DetectionOutput(torch.autograd.Function):
    """The operator as PyTorch's exporter writes it; computes nothing."""

    @staticmethod
    def forward(ctx, scores, boxes, settings):
        """Zeros of the largest output."""
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
    """Decoding, clipping and NMS behind an SSDLiteHead.

    Args:
        head: The head, with its ``test_cfg``.
        score_threshold: In place of ``test_cfg.score_thr``.

    Raises:
        InputError: the head is of another kind, or its box coder or its NMS
            is one that ncnn has not.
    """

    def __init__(
        self, head: nn.Module | None, *, score_threshold: float | None = None
    ) -> None:
        super().__init__()
        generator = getattr(head, 'prior_generator', None)
        if not hasattr(generator, 'input_size'):
            raise InputError(
                f'{type(head).__name__} is no SSDLiteHead; only a detector '
                'with such a head has an ncnn graph with its detections in it'
            )
        self.coder = head.bbox_coder
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
        self.register_buffer('centers', corners.mean(2), persistent=False)
        self.register_buffer(
            'extents', corners[:, :, 1] - corners[:, :, 0], persistent=False
        )
        test_cfg = head.test_cfg or {}
        self.smallest = test_cfg.get('min_bbox_size', -1)
        self.settings = _settings(head, test_cfg, len(priors))
        self.before = pairs_before_nms(
            {**test_cfg, 'max_per_img': self.settings['keep_top_k']}
        )
        if score_threshold is not None:
            self.settings['confidence_threshold'] = float(score_threshold)

    def boxes(self, codes: Tensor) -> Tensor:
        """Codes (1, N, 4) -> clipped x0, y0, x1, y1, from 0 to 1.

        As mmdet's DeltaXYWHBBoxCoder, with its limit to the growth.
        """
        stds, means = map(codes.new_tensor, (self.coder.stds, self.coder.means))
        codes = codes * codes.new_tensor(stds) + codes.new_tensor(means)
        largest = abs(math.log(_RATIO_CLIP))
        centers = codes[..., :2] * self.extents + self.centers
        growth = codes[..., 2:].clamp(min=-largest, max=largest)
        half = growth.exp() * (self.extents * 0.5)
        return torch.cat([centers - half, centers + half], -1).clamp(0, 1)

    def scores(self, logits: Tensor) -> Tensor:
        """Logits (1, N, slots) -> (1, N, C + 1), the background first.

        The background is zero, whatever its slot holds: where it comes near
        1, ncnn leaves a box undecoded, and decides by the classes all the
        same whether to keep it.
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
        """What the head gives, of one image -> (1, K, 6)."""
        boxes = self.boxes(self.flatten(bbox_preds, 4))
        scores = self.scores(self.flatten(cls_scores, self.slots))
        if self.smallest >= 0:
            # mmdet drops boxes that clipping has left without an area
            sides = boxes[..., 2:] - boxes[..., :2]
            if self.smallest > 0:
                sides = sides - sides.new_tensor(
                    [self.smallest / side for side in self.size]
                )
            x, y = sides[..., :1], sides[..., 1:]
            scores = scores * torch.minimum(x, y).clamp(0, 1).ceil()
        if self.before > 0:
            # ncnn does not compare: 1 where a score is below, else 0
            below = least_of_best(scores, self.before) - scores
            scores = scores * (1 - below.clamp(0, 1).ceil())
        return _DetectionOutput.apply(scores, boxes, self.settings)


def _settings(head: nn.Module, test_cfg: dict, anchors: int) -> dict:
    """Attributes of the operator; ncnn counts ``nms_pre`` for each class."""
    nms = test_cfg.get('nms', {})
    if nms.get('type', 'nms') != 'nms':
        raise InputError(
            f'model.test_cfg.nms has type={nms["type"]!r}; ncnn has plain NMS '
            "only: set type='nms'"
        )
    nms_pre = test_cfg.get('nms_pre', -1)
    return dict(
        num_classes=int(head.num_classes),
        confidence_threshold=float(test_cfg.get('score_thr', 0.0)),
        nms_threshold=float(nms.get('iou_threshold', 0.5)),
        nms_top_k=int(nms_pre) if nms_pre > 0 else anchors,
        keep_top_k=int(test_cfg.get('max_per_img', 100)),
    )


class _Whole(nn.Module):
    """An image in, detections out; parts have the names of the model's."""

    def __init__(self, model: nn.Module, detections: Detections) -> None:
        super().__init__()
        self.backbone, self.neck = model.backbone, model.neck
        self.bbox_head, self.detections = model.bbox_head, detections

    def forward(self, image: Tensor) -> Tensor:
        """(1, 3, H, W), normalized -> (1, K, 6)."""
        maps = self.bbox_head(self.neck(self.backbone(image)))
        return self.detections(*maps)


def export_detection(
    model: nn.Module, *, score_threshold: float | None = None
) -> onnx.ModelProto:
    """Export a detector with an SSDLiteHead, for one image of its size.

    Args:
        model: In eval mode, on the CPU.
        score_threshold: In place of ``test_cfg.score_thr``: a higher one
            saves the phone the NMS of boxes that nobody looks at.

    Returns:
        A graph from ``image`` (1, 3, H, W), normalized, to ``detections``.

    Raises:
        InputError: as :class:`Detections`.
    """
    detections = Detections(
        getattr(model, 'bbox_head', None), score_threshold=score_threshold
    )
    width, height = detections.size
    return export(
        _Whole(model, detections).eval(),
        torch.zeros(1, 3, height, width),
        'image',
        'detections',
    )


def export(
    module: nn.Module, example: Tensor, input_name: str, output_name: str
) -> onnx.ModelProto:
    """PyTorch's export of a module as this package takes it."""
    file = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        # of checks that look at shapes, which are fixed here
        warnings.simplefilter('ignore', torch.jit.TracerWarning)
        warnings.filterwarnings('ignore', 'Constant folding - Only steps=1')
        warnings.simplefilter('ignore', DeprecationWarning)
        torch.onnx.export(
            module,
            (example,),
            file,
            input_names=[input_name],
            output_names=[output_name],
            opset_version=13,
            dynamo=False,
        )
    return onnx.load_from_string(file.getvalue())
