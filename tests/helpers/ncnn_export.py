"""PyTorch's export of modules and whole detectors, for tests of the ncnn writer."""

import io
import warnings
from unittest import mock

import onnx
import torch
from torch import nn

from mnv2_mm.models import same_conv


class Detector(nn.Module):
    """An image in, detections out; parts have the names of the model's."""

    def __init__(self, model):
        super().__init__()
        self.backbone, self.neck = model.backbone, model.neck
        self.bbox_head = model.bbox_head

    def forward(self, image):
        from mnv2_mm.deploy.ncnn.detection import detections  # needs mmdeploy

        maps = self.bbox_head(self.neck(self.backbone(image)))
        return detections(self.bbox_head, *maps)


def export_detection(model):
    """From ``image`` (1, 3, H, W), normalized, to ``detections`` (1, K, 6)."""
    detector = Detector(model).eval()
    width, height = model.bbox_head.prior_generator.input_size
    return export(detector, torch.zeros(1, 3, height, width), 'image', 'detections')


def fixed_pads(side, *rule):
    """Padding as a number: traced, each layer costs the writer a turn of folding."""
    return same_pads(int(side), *rule)


same_pads = same_conv.same_pads


def export(module, example, input_name, output_name):
    file = io.BytesIO()
    fixed = mock.patch.object(same_conv, 'same_pads', fixed_pads)
    with fixed, torch.no_grad(), warnings.catch_warnings():
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
