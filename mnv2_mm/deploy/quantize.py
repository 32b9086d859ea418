"""8-bit integers in an ONNX graph, as pairs of Quantize and Dequantize.

onnxruntime's quantizer does the work: weights int8 for each channel,
activations by the range that calibration images give. Which nodes take
part is decided here: the convolutions and what lies between them; what comes
behind (decoding, NMS, resize, softmax) stays in float, where eight bits
would be the size of a pixel.
"""

import contextlib
import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx

from mnv2_mm.deploy.quantizable_nodes import LAYERS, trunk, without
from mnv2_mm.utils.errors import InputError

_BETWEEN = ('Clip', 'Relu', 'Add', 'Concat', 'GlobalAveragePool', 'Flatten')


def quantize(
    model: onnx.ModelProto,
    calibration: Sequence[np.ndarray],
    *,
    keep_float: Sequence[str] = (),
    symmetric: bool = False,
) -> onnx.ModelProto:
    """Quantise the convolutions of a tidied graph.

    Args:
        model: Of :func:`mnv2_mm.deploy.graph.tidy`.
        calibration: Network inputs (B, 3, H, W) float32.
        keep_float: Patterns of node names that stay in float, as
            ``/backbone/conv1/*``.
        symmetric: Activations as int8 around zero, which TensorRT asks for;
            else as uint8 with a zero point, the more exact.

    Raises:
        InputError: there is nothing to calibrate with, or a pattern that
            names no node.
    """
    from onnxruntime import quantization as q

    if not len(calibration):
        raise InputError('int8 needs images to calibrate with, got none')
    chosen = layers(model, keep_float)
    kind = q.QuantType.QInt8 if symmetric else q.QuantType.QUInt8
    with tempfile.TemporaryDirectory() as folder, _quiet():
        target = Path(folder) / 'quantized.onnx'
        q.quantize_static(
            model,
            str(target),
            _Reader(model.graph.input[0].name, calibration),
            quant_format=q.QuantFormat.QDQ,
            per_channel=True,
            activation_type=kind,
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
        result = onnx.load(target)
    return result


#: What TensorRT reads: weights in float behind their own pair, biases in
#: float, no pair for two readers.
_TENSORRT = {
    'AddQDQPairToWeight': True,
    'QuantizeBias': False,
    'DedicatedQDQPair': True,
}


class _Reader:
    """Hands the calibration inputs out one after the other."""

    def __init__(self, name: str, inputs: Iterable[np.ndarray]) -> None:
        self.rest: Iterator = iter(
            {name: np.ascontiguousarray(one, np.float32)} for one in inputs
        )

    def get_next(self) -> Mapping | None:
        """The next feed, None at the end."""
        return next(self.rest, None)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantizer's advice on preprocessing off the console."""
    logger = logging.getLogger()
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def layers(model: onnx.ModelProto, keep_float: Sequence[str] = ()) -> list[str]:
    """Names of the nodes to quantise.

    The convolutions and what of a few kinds leads to them, without the nodes
    that ``keep_float`` names.

    Raises:
        InputError: a pattern names no node.
    """
    found = trunk(model)
    kept = set(without(found, keep_float))
    return [
        node.name
        for node in model.graph.node
        if node.name in kept and node.op_type in (*LAYERS, *_BETWEEN)
    ]


def read_calibration(folder: Path, deploy_cfg: Mapping) -> list[np.ndarray]:
    """Calibration data that mmdeploy's own tools have written.

    Raises:
        InputError: there is none.
    """
    from mmdeploy.utils import get_calib_filename

    name = get_calib_filename(deploy_cfg)
    path = folder / name if name else None
    if path is None or not path.is_file():
        raise InputError(
            'int8 needs calibration data: use tools/deploy.py, which takes '
            'training images, or give the deploy config calib_config='
            "dict(create_calib=True, calib_file='calib_data.h5')"
        )
    import h5py

    with h5py.File(path) as file:
        (data,) = file['calib_data'].values()
        keys = sorted(data, key=int)
        return [np.asarray(data[key], np.float32) for key in keys]
