"""Convert an ONNX graph to TFLite with onnx2tf, and store it in fp16 or int8.

Measured on SSDLite, 192 px, in CPU seconds: onnx2tf 2.6.9 took 3.5 s, largest
difference 7e-6, and adds 16 MB without its dependencies, which pin other versions
of numpy, onnx and protobuf. Up to 1.29 it needed TensorFlow (2.4 GB). litert-torch
0.10 needs 670 MB more, among them jax, and was not done after 25 s. onnx2tf's own
float16 file has float16 inputs; Google's ai-edge-quantizer (3 MB) stores weights
only, and calibrates 8 bits on the TFLite file itself.
"""

import contextlib
import copy
import io
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx

from mnv2_mm.deploy.litert.metadata import text
from mnv2_mm.utils import compat
from mnv2_mm.utils.deploy_check import ONNX2TF
from mnv2_mm.utils.errors import InputError

#: TFLite's operators with weights.
_LAYERS = ('CONV_2D', 'DEPTHWISE_CONV_2D', 'FULLY_CONNECTED')
_SIGNATURE = 'serving_default'
#: Least share of its bias that a channel's largest weight has in 8 bits.
_LEAST_WEIGHT = 1e-4


def require() -> None:
    """Raise an InputError with the command to run if a package is missing."""
    if compat.version_of('onnx2tf') is None:
        raise InputError(
            f'onnx2tf is missing, the export for litert needs it: pip {ONNX2TF} (its '
            'dependencies would replace numpy, onnx and protobuf)'
        )
    for name in ('ai-edge-quantizer', 'psutil', 'sne4onnx', 'sng4onnx'):
        if compat.version_of(name) is None:
            raise InputError(
                f'{name} is missing, the export for litert needs it: pip install {name}'
            )


def to_tflite(model: onnx.ModelProto) -> bytes:
    """Convert a simplified graph: (B, H, W, C) inside, float32.

    Raises:
        InputError: onnx2tf does not convert the graph; names the operator.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / 'a.onnx'
        onnx.save(model, source)
        # in a process of its own: it changes the limit of recursion, and the seeds
        command = [sys.executable, '-m', 'onnx2tf', '-i', source, '-o', folder]
        command += ['-tb', 'flatbuffer_direct', '-coion', '-n']
        command += ['-nuo']  # onnxslim was here before
        done = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, errors='replace'
        )
        files = [*Path(folder).glob('*_float32.tflite')]
        if done.returncode or len(files) != 1:
            lines = ['no message', *done.stderr.strip().splitlines()]
            raise InputError(
                f'onnx2tf does not convert this network to TFLite: {lines[-1][:300]}'
            )
        data = files[0].read_bytes()
    # it converts an operator that it does not know to one that no interpreter has
    codes = flatbuffer_utils.read_model_from_bytearray(bytearray(data)).operatorCodes
    unknown = [bytes(x.customCode).decode() for x in codes if x.customCode]
    if unknown:
        names = ', '.join(name.removeprefix('ONNX_') for name in unknown)
        raise InputError(f'TFLite has no operator for {names}, which the network has')
    return data


def to_fp16(data: bytes) -> bytes:
    """Store the weights in float16; the arithmetic and the inputs stay float32."""
    from ai_edge_quantizer import qtyping
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.quantizer import Quantizer

    weights = qtyping.TensorQuantizationConfig(
        num_bits=16, dtype=qtyping.TensorDataType.FLOAT
    )
    options = qtyping.OpQuantizationConfig(
        weight_tensor_config=weights,
        compute_precision=qtyping.ComputePrecision.FLOAT,
        explicit_dequantize=True,
    )
    quantizer = Quantizer(bytearray(data))
    for name in _LAYERS:
        kind = qtyping.TFLOperationName(name)
        quantizer.update_quantization_recipe(
            '.*', kind, options, AlgorithmName.FLOAT_CASTING
        )
    with _quiet():
        return bytes(quantizer.quantize(enable_progress_report=False).quantized_model)


def to_int8(
    data: bytes,
    calibration: Sequence[np.ndarray],
    *,
    pixels: tuple[float, float] | None = None,
    ending: bool = False,
) -> bytes:
    """Compute in int8, with int8 weights per channel; inputs and outputs in float32.

    As in the other backends, what comes after the last layers with weights stays in
    float32: softmax, decoding, NMS, and resizing to the image.

    Args:
        data: Result of :func:`to_tflite`.
        calibration: Network inputs (B, 3, H, W), float32.
        pixels: The values of pixels 0 and 255 in the network input. With them the file
            takes pixels as they are, uint8.
        ending: Whether also what comes after the last layers is in 8 bits, up to uint8
            outputs.

    Raises:
        InputError: no calibration images.
    """
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import qtyping
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.calibrator import Calibrator
    from ai_edge_quantizer.quantizer import Quantizer
    from ai_edge_quantizer.recipe_manager import RecipeManager
    from ai_edge_quantizer.utils.qsv_utils import min_max_update

    if not len(calibration):
        raise InputError('int8 needs images to calibrate with, got none')
    data = _with_weights(data)
    quantizer = Quantizer(bytearray(data))
    every = qtyping.TFLOperationName.ALL_SUPPORTED
    quantizer.add_static_config('.*', every, 8, 8)
    left_out = [('.*', qtyping.TFLOperationName(n)) for n in ('INPUT', 'OUTPUT')]
    if not ending and (names := _float_names(data)):
        left_out.append((f'^(?:{"|".join(map(re.escape, names))})(?:;|$)', every))
    for pattern, kind in left_out:
        quantizer.update_quantization_recipe(
            pattern, kind, qtyping.OpQuantizationConfig(), AlgorithmName.NO_QUANTIZE
        )
    signature = Interpreter(model_content=data).get_signature_list()[_SIGNATURE]
    (name,) = signature['inputs']
    images = (image for batch in calibration for image in batch)
    feeds = [{name: image.transpose(1, 2, 0)[None]} for image in images]
    rules = RecipeManager()
    rules.load_quantization_recipe(quantizer.get_quantization_recipe())
    with _quiet():
        # the whole range of all images; the quantizer's own calibration averages
        # the ranges, with most of the weight on the first image
        calibrator = Calibrator(
            bytearray(data), num_threads=1, qsv_update_func=min_max_update
        )
        calibrator.calibrate({_SIGNATURE: feeds}, rules)
        ranges = calibrator.get_model_qsvs()
        if pixels:
            for key, value in zip(('min', 'max'), pixels, strict=True):
                ranges[name][key] = np.full_like(ranges[name][key], value)
        found = quantizer.quantize(ranges, enable_progress_report=False)
    found = bytes(found.quantized_model)
    return _with_uint8(found) if pixels else found


def _with_weights(data: bytes) -> bytes:
    """Give channels without weights one, so small that it adds nothing.

    The weights set the step of the bias, which is an int32 and overflows: Google's
    Open Images detector has hundreds of channels that are a bias alone. A detector
    trained from it had mAP 0.16 in 8 bits instead of 0.45.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(data))
    (graph,) = model.subgraphs
    for operator in graph.operators:
        kind = flatbuffer_utils.opcode_to_name(model, operator.opcodeIndex)
        if kind not in _LAYERS or len(operator.inputs) < 3 or operator.inputs[2] < 0:
            continue
        kernel, bias = (
            np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.float32)
            for tensor in (graph.tensors[index] for index in operator.inputs[1:3])
        )
        # a depthwise kernel has its channels last, others first
        depthwise = kind == 'DEPTHWISE_CONV_2D'
        rows = kernel.reshape((-1, len(bias)) if depthwise else (len(bias), -1)).copy()
        view = rows.T if depthwise else rows
        least = np.abs(bias) * _LEAST_WEIGHT
        largest = np.abs(view).argmax(1)
        empty = np.flatnonzero(np.abs(view).max(1) < least)
        view[empty, largest[empty]] = least[empty]
        tensor = graph.tensors[operator.inputs[1]]
        model.buffers[tensor.buffer].data = np.frombuffer(rows.tobytes(), np.uint8)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _with_uint8(data: bytes) -> bytes:
    """Let uint8 enter where a file quantizes, and leave where it dequantizes."""
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(data))
    (graph,) = model.subgraphs
    kinds = [
        flatbuffer_utils.opcode_to_name(model, index)
        for index in range(len(model.operatorCodes))
    ]
    for operator in graph.operators:
        kind = kinds[operator.opcodeIndex]
        outer, inner = operator.inputs[0], operator.outputs[0]
        if kind == 'DEQUANTIZE' and inner in graph.outputs:
            outer, inner = inner, outer
            operator.opcodeIndex = kinds.index('QUANTIZE')
            operator.builtinOptions = None
            operator.builtinOptionsType = schema.BuiltinOptions.NONE
        elif kind != 'QUANTIZE' or outer not in graph.inputs:
            continue
        tensor, inside = graph.tensors[outer], graph.tensors[inner]
        tensor.type = schema.TensorType.UINT8
        tensor.quantization = copy.copy(inside.quantization)
        tensor.quantization.zeroPoint = [int(inside.quantization.zeroPoint[0]) + 128]
        if outer in graph.outputs:  # the quantizer gave its name to the inner one
            tensor.name, inside.name = inside.name, tensor.name
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _float_names(data: bytes) -> list[str]:
    """First output of each operator that stays in float32."""
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(data))
    (graph,) = model.subgraphs
    producers = {index: op for op in graph.operators for index in op.outputs}
    ending, todo = [], list(graph.outputs)
    while todo:
        operator = producers.get(todo.pop())
        if operator is None or operator in ending:
            continue
        kind = flatbuffer_utils.opcode_to_name(model, operator.opcodeIndex)
        if kind not in _LAYERS:
            ending.append(operator)
            todo += list(operator.inputs)
    return [text(graph.tensors[operator.outputs[0]].name) for operator in ending]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Within it, progress bars and advice on debugging are not seen."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter('ignore')
        yield
