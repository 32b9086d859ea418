"""Rule of ``mnv2_mm::DetectionOutput``, the end of a detector's graph.

The operator takes ``scores`` (1, N, C + 1), the background first, and
``boxes`` (1, N, 4), decoded, as x0, y0, x1, y1 from 0 to 1. Its attributes
are ``num_classes`` (C), ``confidence_threshold``, ``nms_threshold``,
``nms_top_k`` (per class) and ``keep_top_k``. It returns (1, K, 6) with one
row per box: label (the first class is 1), score, x0, y0, x1, y1.
"""

import numpy as np

from mnv2_mm.deploy.ncnn.graph import Node
from mnv2_mm.deploy.ncnn.layer import Value
from mnv2_mm.deploy.ncnn.lowering import Lowering, shape_params
from mnv2_mm.utils.errors import InputError

#: The operator's name in an ONNX graph.
OPERATOR = 'mnv2_mm::DetectionOutput'
_ATTRIBUTES = (
    'num_classes',
    'confidence_threshold',
    'nms_threshold',
    'nms_top_k',
    'keep_top_k',
)


def detection_output(net: Lowering, node: Node) -> None:
    """ncnn's DetectionOutput, with nothing left to decode.

    It decodes SSD's codes itself, but neither limits width and height nor
    clips the boxes before NMS. So it gets the final boxes as priors, and
    codes of zero; the variances, which scale the codes, are zeros too.
    """
    missing = [name for name in _ATTRIBUTES if name not in node.attributes]
    if missing or len(node.inputs) != 2:
        raise InputError(
            f'{OPERATOR} ({node}) needs the inputs scores and boxes and the '
            f'attributes {", ".join(_ATTRIBUTES)}; missing: '
            f'{", ".join(missing) or "an input"}'
        )
    scores, boxes = node.inputs
    anchors, columns = net.shape(scores)
    classes = node.attributes['num_classes']
    if columns != classes + 1 or net.shape(boxes) != (anchors, 4):
        raise InputError(
            f'{OPERATOR} ({node}) has scores {net.graph.shape(scores)} and '
            f'boxes {net.graph.shape(boxes)}; with num_classes={classes} '
            f'they must be (1, N, {classes + 1}), the background first, and '
            '(1, N, 4)'
        )
    row = (1, 4 * anchors)
    flat = net.step('Reshape', node, [boxes], shape_params(row))
    codes = net.memory(node, np.zeros(row, np.float32))
    priors = net.step('Concat', node, [flat, codes], {0: 0})
    params: dict[int, Value] = {
        0: columns,
        1: float(node.attributes['nms_threshold']),
        2: int(node.attributes['nms_top_k']),
        3: int(node.attributes['keep_top_k']),
        4: float(node.attributes['confidence_threshold']),
    }
    net.add('DetectionOutput', node, [codes, scores, priors], params=params)
