"""SSDLite as one ONNX graph for ncnn: network, decoding, clipping and NMS.

The graph ends in ``mnv2_mm::DetectionOutput``, see
:mod:`mnv2_mm.deploy.ncnn.rules_detection`.
"""

import io
import math
import warnings

import onnx
import torch
from torch import Tensor, nn

from mnv2_mm.deploy.ncnn.rules_detection import OPERATOR
from mnv2_mm.errors import InputError

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


class DetectionGraph(nn.Module):
    """What is exported: a picture in, detections out.

    Args:
        model: mmdet's SingleStageDetector with an SSDLiteHead.
        score_threshold: In place of ``test_cfg.score_thr``.

    Raises:
        InputError: the model is of another kind, or its NMS is.
    """

    def __init__(
        self, model: nn.Module, *, score_threshold: float | None = None
    ) -> None:
        super().__init__()
        head = getattr(model, 'bbox_head', None)
        if not hasattr(head, 'flatten') or not hasattr(
            getattr(head, 'prior_generator', None), 'input_size'
        ):
            raise InputError(
                f'{type(model).__name__} is no detector with an SSDLiteHead; '
                'only such a one has an ncnn graph with its detections in it'
            )
        self.backbone, self.neck, self.bbox_head = (
            model.backbone,
            model.neck,
            head,
        )
        test_cfg = head.test_cfg or getattr(model, 'test_cfg', None) or {}
        nms = test_cfg.get('nms', {})
        if nms.get('type', 'nms') != 'nms':
            raise InputError(
                f'model.test_cfg.nms has type={nms["type"]!r}; ncnn has plain '
                "NMS only: set type='nms'"
            )
        coder = head.bbox_coder
        if coder.add_ctr_clamp or not coder.clip_border:
            raise InputError(
                'model.bbox_head.bbox_coder has add_ctr_clamp=True or '
                'clip_border=False; the ncnn graph decodes with the defaults'
            )
        priors = torch.cat(
            head.prior_generator.grid_priors(
                head.prior_generator.featmap_sizes, device='cpu'
            )
        )
        if score_threshold is None:
            score_threshold = test_cfg.get('score_thr', 0.0)
        nms_pre = test_cfg.get('nms_pre', -1)
        self.settings = dict(
            num_classes=int(head.num_classes),
            confidence_threshold=float(score_threshold),
            nms_threshold=float(nms.get('iou_threshold', 0.5)),
            nms_top_k=int(nms_pre) if nms_pre > 0 else len(priors),
            keep_top_k=int(test_cfg.get('max_per_img', 100)),
        )
        width, height = self.size = head.prior_generator.input_size
        scale = torch.tensor([width, height], dtype=priors.dtype)
        corners = priors.reshape(1, -1, 2, 2) / scale
        self.register_buffer('centres', corners.mean(2), persistent=False)
        self.register_buffer(
            'extents', corners[:, :, 1] - corners[:, :, 0], persistent=False
        )
        self.smallest = test_cfg.get('min_bbox_size', -1)

    def boxes(self, codes: Tensor) -> Tensor:
        """Codes (1, N, 4) -> clipped x0, y0, x1, y1, from 0 to 1.

        As mmdet's DeltaXYWHBBoxCoder, with its limit to the growth.
        """
        coder = self.bbox_head.bbox_coder
        codes = codes * codes.new_tensor(coder.stds) + codes.new_tensor(
            coder.means
        )
        largest = abs(math.log(_RATIO_CLIP))
        centres = codes[..., :2] * self.extents + self.centres
        growth = codes[..., 2:].clamp(min=-largest, max=largest)
        half = growth.exp() * (self.extents * 0.5)
        return torch.cat([centres - half, centres + half], -1).clamp(0, 1)

    def scores(self, logits: Tensor) -> Tensor:
        """Logits (1, N, slots) -> (1, N, C + 1), the background first.

        The background is zero, whatever its slot holds: where it comes near
        1, ncnn leaves a box undecoded, and decides by the classes all the
        same whether to keep it.
        """
        head = self.bbox_head
        if head.use_sigmoid_cls:
            scores = logits[..., : head.num_classes].sigmoid()
        else:
            scores = logits.softmax(-1)[..., : head.num_classes]
        background = scores.new_zeros(1, self.centres.shape[1], 1)
        return torch.cat([background, scores], -1)

    def forward(self, image: Tensor) -> Tensor:
        """(1, 3, H, W), normalised -> (1, K, 6)."""
        head = self.bbox_head
        logits, codes = head(self.neck(self.backbone(image)))
        logits = head.flatten(logits, head.cls_out_channels)
        boxes = self.boxes(head.flatten(codes, 4))
        scores = self.scores(logits)
        if self.smallest >= 0:
            # mmdet drops boxes that clipping has left without an area
            sides = boxes[..., 2:] - boxes[..., :2]
            if self.smallest > 0:
                sides = sides - sides.new_tensor(
                    [self.smallest / side for side in self.size]
                )
            x, y = sides[..., :1], sides[..., 1:]
            scores = scores * torch.minimum(x, y).clamp(0, 1).ceil()
        return _DetectionOutput.apply(scores, boxes, self.settings)


def export_detection(
    model: nn.Module, *, score_threshold: float | None = None
) -> onnx.ModelProto:
    """Export a detector with an SSDLiteHead, for one picture of its size.

    Args:
        model: In eval mode, on the CPU.
        score_threshold: In place of ``test_cfg.score_thr``: a higher one
            saves the phone the NMS of boxes that nobody looks at.

    Returns:
        A graph from ``image`` (1, 3, H, W), normalised, to ``detections``.

    Raises:
        InputError: as :class:`DetectionGraph`.
    """
    graph = DetectionGraph(model, score_threshold=score_threshold).eval()
    width, height = graph.size
    return export(
        graph, torch.zeros(1, 3, height, width), 'image', 'detections'
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
