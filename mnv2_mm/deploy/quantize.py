"""Quantize an ONNX graph to int8, with QuantizeLinear and DequantizeLinear.

onnxruntime's quantizer does the work: int8 weights per channel, activations by
the range that calibration images give.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx

from mnv2_mm.deploy.graph import LAYERS, quantizable_nodes
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
        model: Result of :func:`~mnv2_mm.deploy.graph.simplify`.
        calibration: Network inputs (B, 3, H, W) float32.
        keep_float: As in :func:`~mnv2_mm.deploy.graph.quantizable_nodes`.
        symmetric: int8 activations with a zero point of 0, which TensorRT
            requires; else uint8 with any zero point, which is more exact. The weights
            then have 7 bits: x86 processors without VNNI add products of uint8 and
            int8 in 16 bits, which overflow otherwise: on AVX2 a classifier had top-1
            67.9 instead of 77.7.

    Raises:
        InputError: no calibration images, or a pattern that matches no node.
    """
    from onnxruntime import quantization as q

    if not len(calibration):
        raise InputError('int8 needs images to calibrate with, got none')
    name = model.graph.input[0].name
    feeds = iter({name: np.ascontiguousarray(x, np.float32)} for x in calibration)
    # else it advises to simplify the graph first
    onnx.helper.set_model_props(model, {'onnx.quant.pre_process': 'onnxruntime.quant'})
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / 'quantized.onnx'
        q.quantize_static(
            model,
            str(target),
            SimpleNamespace(get_next=lambda: next(feeds, None)),
            quant_format=q.QuantFormat.QDQ,
            per_channel=True,
            reduce_range=not symmetric,
            activation_type=q.QuantType.QInt8 if symmetric else q.QuantType.QUInt8,
            weight_type=q.QuantType.QInt8,
            calibrate_method=q.CalibrationMethod.MinMax,
            op_types_to_quantize=[*LAYERS, *_BETWEEN],
            nodes_to_quantize=quantizable_nodes(model, keep_float),
            extra_options={
                'ActivationSymmetric': symmetric,
                'WeightSymmetric': True,
                **(_TENSORRT if symmetric else {}),
            },
        )
        return onnx.load(target)
