"""Quantize an ONNX graph to int8, with QuantizeLinear and DequantizeLinear.

onnxruntime's quantizer does the work: int8 weights per channel, activations by
the range that calibration images give. The nodes are selected here, see
:mod:`mnv2_mm.deploy.quantizable_nodes`.
"""

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx

from mnv2_mm.deploy.quantizable_nodes import LAYERS, quantizable_nodes, without
from mnv2_mm.utils.errors import InputError

#: Operators between the convolutions that are quantized with them.
_BETWEEN = ('Clip', 'Relu', 'Add', 'Concat', 'GlobalAveragePool', 'Flatten')
#: TensorRT needs float32 weights before their own pair, float32 biases, and
#: one pair per consumer.
_TENSORRT = {
    'AddQDQPairToWeight': True,
    'QuantizeBias': False,
    'DedicatedQDQPair': True,
}


def quantize(
    model: onnx.ModelProto,
    calibration: Sequence[np.ndarray],
    *,
    keep_float: Sequence[str] = (),
    symmetric: bool = False,
) -> onnx.ModelProto:
    """Quantize the convolutions of a simplified graph.

    Args:
        model: Result of :func:`mnv2_mm.deploy.graph.simplify`.
        calibration: Network inputs (B, 3, H, W) float32.
        keep_float: Patterns of node names that stay in float32, as
            ``/backbone/conv1/*``.
        symmetric: int8 activations with a zero point of 0, which TensorRT
            requires; else uint8 with any zero point, which is more exact.

    Raises:
        InputError: no calibration images, or a pattern that matches no node.
    """
    from onnxruntime import quantization as q

    if not len(calibration):
        raise InputError('int8 needs images to calibrate with, got none')
    chosen = layers(model, keep_float)
    name = model.graph.input[0].name
    with tempfile.TemporaryDirectory() as folder, _quiet():
        target = Path(folder) / 'quantized.onnx'
        q.quantize_static(
            model,
            str(target),
            _Reader({name: np.ascontiguousarray(x, np.float32)} for x in calibration),
            quant_format=q.QuantFormat.QDQ,
            per_channel=True,
            activation_type=q.QuantType.QInt8 if symmetric else q.QuantType.QUInt8,
            weight_type=q.QuantType.QInt8,
            calibrate_method=q.CalibrationMethod.MinMax,
            op_types_to_quantize=[*LAYERS, *_BETWEEN],
            nodes_to_quantize=chosen,
            extra_options={
                'ActivationSymmetric': symmetric,
                'WeightSymmetric': True,
                **(_TENSORRT if symmetric else {}),
            },
        )
        return onnx.load(target)


class _Reader:
    """The calibration inputs in the form that the quantizer reads.

    Args:
        feeds: Network inputs by name.
    """

    def __init__(self, feeds: Iterator[dict[str, np.ndarray]]) -> None:
        self.feeds = feeds

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next feed, None at the end."""
        return next(self.feeds, None)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the quantizer's advice on preprocessing."""
    logger = logging.getLogger()
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def layers(model: onnx.ModelProto, keep_float: Sequence[str] = ()) -> list[str]:
    """Names of the nodes to quantize, in the order of the graph.

    Raises:
        InputError: a pattern of ``keep_float`` matches no node.
    """
    kept = set(without(quantizable_nodes(model), keep_float))
    return [
        node.name
        for node in model.graph.node
        if node.name in kept and node.op_type in (*LAYERS, *_BETWEEN)
    ]
