"""Write an ONNX graph as the two files of an ncnn network, in pure Python.

    write(model, 'ssdlite.param', 'ssdlite.bin')

The files hold stock layers only and nothing needs to be edited by hand.
Writing needs onnx; int8 needs ncnn too.

Why an own writer: the files of pnnx use expressions that the ncnn of 2024
refuses, and ncnn2table and ncnn2int8 are in no Python package.
"""

import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from mnv2_mm.deploy.ncnn.files import save
from mnv2_mm.deploy.ncnn.layer import WEIGHTED, Layer
from mnv2_mm.utils.errors import InputError

if TYPE_CHECKING:
    import onnx

__all__ = ['write']

#: Precisions that an ncnn network can have.
PRECISIONS = ('fp32', 'fp16', 'int8')
_LARGEST_FP16 = float(np.finfo(np.float16).max)


def write(
    model: 'onnx.ModelProto | str | os.PathLike',
    param_path: str | os.PathLike,
    bin_path: str | os.PathLike,
    *,
    precision: Literal['fp32', 'fp16', 'int8'] = 'fp32',
    calibration: Iterable[np.ndarray] | None = None,
    keep_float: Sequence[str] = (),
) -> None:
    """Write an ONNX graph as an ncnn network.

    Args:
        model: What ``torch.onnx.export(..., dynamo=False, opset_version=13)``
            exports, or the path of such a file; fixed size, one image.
        param_path: The layers, written.
        bin_path: The weights, written.
        precision: ``fp32``; ``fp16``, weights stored as float16 and computed
            with in float32; ``int8``, convolutions and fully connected
            layers in int8.
        calibration: For int8: network inputs (1, C, H, W) float32 of about
            100 training images.
        keep_float: For int8: paths of modules that stay in float32, as
            ``('backbone.conv1', 'bbox_head')``.

    Raises:
        InputError: an operator that ncnn does not have, a dynamic shape, a
            wrong argument, or a file that cannot be written. Existing files
            then stay as they are.
    """
    if precision not in PRECISIONS:
        raise InputError(
            f"precision={precision!r} is unknown; use 'fp32', 'fp16' or 'int8'"
        )
    if precision == 'int8' and calibration is None:
        raise InputError(
            "precision='int8' needs calibration=: network inputs of about "
            '100 training images'
        )
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise InputError(
            'writing ncnn files needs the package onnx, which is not '
            'installed: pip install onnx'
        ) from error
    from mnv2_mm.deploy.ncnn.graph import Graph
    from mnv2_mm.deploy.ncnn.rules import lower

    layers = lower(Graph(model))
    if precision == 'fp16':
        layers = to_fp16(layers)
    elif precision == 'int8':
        layers = _int8(layers, calibration, keep_float)
    save(layers, param_path, bin_path)


def to_fp16(layers: Iterable[Layer]) -> list[Layer]:
    """Store the weights of convolutions and fully connected layers as float16.

    ncnn converts them to float32 when it loads them, unless it is told to
    compute in float16. Biases and constants such as default boxes stay in
    float32, and so do weights of a layer with a value over 65504.
    """
    return [
        replace(
            layer,
            weights=[
                replace(w, values=w.values.astype(np.float16))
                if w.tagged and np.abs(w.values).max(initial=0) <= _LARGEST_FP16
                else w
                for w in layer.weights
            ],
        )
        if layer.type in WEIGHTED
        else layer
        for layer in layers
    ]


def _int8(
    layers: list[Layer], calibration: Iterable[np.ndarray], keep_float: Sequence[str]
) -> list[Layer]:
    """Calibrate by running the float network in ncnn, and quantize."""
    from mnv2_mm.deploy.ncnn.calibration import activation_ends
    from mnv2_mm.deploy.ncnn.int8 import kept_in_float, quantized_inputs, to_int8
    from mnv2_mm.runtime.ncnn import Ncnn

    blobs = quantized_inputs(layers, kept_in_float(layers, keep_float))
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder, 'float.param'), Path(folder, 'float.bin')
        save(layers, *files)
        network = Ncnn(files, all_blobs=True)
        ends = activation_ends(network, blobs, calibration)
    return to_int8(layers, ends)
