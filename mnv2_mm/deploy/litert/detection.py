"""End a TFLite detector in TFLite_Detection_PostProcess, Google's NMS operator.

Coral, MediaPipe and the TFLite Task Library expect its four outputs: boxes as top,
left, bottom, right from 0 to 1, classes, scores, and their number. The interpreter
has the operator, but no converter writes it for PyTorch's networks.

The operator decodes codes with anchors, and neither clips boxes nor clamps their
growth; mmdet does both before its NMS. So the graph decodes and clips, and the
operator gets each box as its center and the logarithm of its sides, to which the
anchor (0, 0, 1, 1) adds nothing. Its NMS is the regular one, per class, as mmdet's.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from mnv2_mm.deploy.detection import candidates, nms_rules
from mnv2_mm.runtime.litert import DETECTIONS

_DOMAIN, _NAME = 'mnv2_mm', 'TFLite_Detection_PostProcess'
#: Least side of a box, a share of the image: the operator refuses an empty box, also
#: one with the score 0.
_LEAST_SIDE = 1e-5


class _PostProcess(torch.autograd.Function):
    """The operator for PyTorch's exporter; computes nothing."""

    @staticmethod
    def forward(
        ctx: Any, codes: Tensor, scores: Tensor, keep: int, iou: float, score: float
    ) -> tuple[Tensor, ...]:
        """The inputs: mmdeploy allows a detector three outputs, not four."""
        return codes.clone(), scores.clone()

    @staticmethod
    def symbolic(
        graph: Any, codes: Any, scores: Any, keep: int, iou: float, score: float
    ) -> Any:
        """The node."""
        options = dict(keep_i=keep, iou_f=iou, score_f=score)
        return graph.op(f'{_DOMAIN}::{_NAME}', codes, scores, **options, outputs=2)


def ending(
    head: nn.Module,
    cls_scores: Sequence[Tensor],
    bbox_preds: Sequence[Tensor],
    batch_img_metas: Sequence[Mapping],
    test_cfg: Mapping,
) -> tuple[Tensor, ...]:
    """Convert an SSDLiteHead's maps for one image to what enters the operator."""
    rules = nms_rules(test_cfg)
    boxes, scores = candidates(head, cls_scores, bbox_preds, batch_img_metas, rules)
    height, width = (int(side) for side in batch_img_metas[0]['img_shape'])
    boxes = boxes / boxes.new_tensor([width, height, width, height])
    first, second = boxes[..., :2], boxes[..., 2:]
    centers = (first + second) * 0.5
    sides = (second - first).clamp(min=_LEAST_SIDE).log()
    x, y = centers.split(1, dim=-1)
    w, h = sides.split(1, dim=-1)
    codes = torch.cat([y, x, h, w], dim=-1)
    return _PostProcess.apply(
        codes, scores, rules['keep'], rules['iou'], rules['score']
    )


class Ending(NamedTuple):
    """What the operator needs to know, and its inputs."""

    keep: int  # detections of an image
    iou: float
    score: float
    inputs: tuple[str, str]  # codes (1, N, 4) and scores (1, N, C)


def cut(model: onnx.ModelProto) -> Ending | None:
    """Remove the operator from an exported graph; its inputs become the outputs.

    Returns:
        What it needs, or None for a graph without the operator.
    """
    graph = model.graph
    nodes = [node for node in graph.node if node.op_type == _NAME]
    if not nodes:
        return None
    (node,) = nodes
    options = {x.name: onnx.helper.get_attribute_value(x) for x in node.attribute}
    ending = Ending(**options, inputs=tuple(node.input))
    graph.node.remove(node)
    del graph.output[:]
    for name in ending.inputs:
        kind = onnx.TensorProto.FLOAT
        graph.output.append(onnx.helper.make_tensor_value_info(name, kind, None))
    for opset in [x for x in model.opset_import if x.domain == _DOMAIN]:
        model.opset_import.remove(opset)
    return ending


def append(data: bytes, ending: Ending) -> bytes:
    """Append the operator to a TFLite file with the two outputs that it takes."""
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils
    from flatbuffers import flexbuffers

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(data))
    (graph,) = model.subgraphs

    def tensor(
        name: str, shape: Sequence[int], values: np.ndarray | None = None
    ) -> int:
        new = schema.TensorT()
        new.name, new.shape, new.type = name, list(shape), schema.TensorType.FLOAT32
        new.buffer = 0  # no data
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)
            model.buffers.append(buffer)
            new.buffer = len(model.buffers) - 1
        graph.tensors.append(new)
        return len(graph.tensors) - 1

    codes, scores = graph.outputs
    boxes, classes = (graph.tensors[index].shape[-1] for index in (codes, scores))
    assert boxes == 4, f'the codes have {boxes} numbers'
    anchors = np.tile(np.float32([0, 0, 1, 1]), (graph.tensors[codes].shape[1], 1))
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode, code.version = _NAME, 1
    model.operatorCodes.append(code)
    builder = flexbuffers.Builder()
    with builder.Map():
        for key in ('x_scale', 'y_scale', 'w_scale', 'h_scale'):
            builder.Float(key, 1.0)
        builder.Int('max_detections', ending.keep)
        builder.Int('detections_per_class', ending.keep)
        builder.Int('max_classes_per_detection', 1)
        builder.Int('num_classes', int(classes))
        builder.Float('nms_iou_threshold', ending.iou)
        # mmdet wants more than the threshold, the operator at least that
        least = np.nextafter(np.float32(ending.score), np.float32(1))
        builder.Float('nms_score_threshold', float(least))
        builder.Bool('use_regular_nms', True)
    operator = schema.OperatorT()
    operator.opcodeIndex = len(model.operatorCodes) - 1
    operator.inputs = [codes, scores, tensor('anchors', anchors.shape, anchors)]
    keep = ending.keep
    sizes = (1, keep, 4), (1, keep), (1, keep), (1,)
    operator.outputs = [tensor(*x) for x in zip(DETECTIONS, sizes, strict=True)]
    operator.customOptions = np.frombuffer(bytes(builder.Finish()), np.uint8)
    graph.operators.append(operator)
    graph.outputs = list(operator.outputs)
    for signature in model.signatureDefs or ():
        signature.outputs = []
        for name, index in zip(DETECTIONS, operator.outputs, strict=True):
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = name, index
            signature.outputs.append(entry)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))
