"""ncnn: files for phones, written from an ONNX graph in pure Python.

    write(model, 'ssdlite.param', 'ssdlite.bin')

The files hold layers that every ncnn since 2024 has, and nothing needs to be
edited by hand. Writing needs onnx; int8 and running need ncnn, too.
"""

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from mnv2_mm.utils.errors import InputError

if TYPE_CHECKING:
    import onnx

    from mnv2_mm.deploy.ncnn.layer import Layer

__all__ = ['write']

Precision = Literal['fp32', 'fp16', 'int8']


def write(
    model: 'onnx.ModelProto | str | os.PathLike',
    param_path: str | os.PathLike,
    bin_path: str | os.PathLike,
    *,
    precision: Precision = 'fp32',
    calibration: Iterable[np.ndarray | Mapping[str, np.ndarray]] | None = None,
    keep_float: Sequence[str] = (),
) -> None:
    """Write an ONNX graph as the two files of an ncnn network.

    Args:
        model: As ``torch.onnx.export(..., dynamo=False, opset_version=13)``
            makes it, or the path of such a file; fixed size, one image.
        param_path: The layers, to be written.
        bin_path: The weights, to be written.
        precision: ``fp32``; ``fp16``, weights stored in half the size and
            computed with in float32; ``int8``, convolutions and fully
            connected layers in whole numbers.
        calibration: What the network takes, (1, C, H, W) float32 each: about
            100 images of the training set, normalized. For int8 only.
        keep_float: Paths of modules that int8 leaves in float32:
            ``('backbone.conv1', 'bbox_head')``.

    Raises:
        InputError: an operator that ncnn does not have, a dynamic shape, a
            wrong argument, or a file that cannot be written. Files that were
            there before then stay as they are.
    """
    if precision not in ('fp32', 'fp16', 'int8'):
        raise InputError(
            f"precision={precision!r} is unknown; use 'fp32', 'fp16' or 'int8'"
        )
    if precision == 'int8' and calibration is None:
        raise InputError(
            "precision='int8' needs calibration=: about 100 images of the "
            'training set, as the network takes them'
        )
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise InputError(
            'writing ncnn files needs the package onnx, which is not '
            'installed: pip install onnx'
        ) from error
    from mnv2_mm.deploy.ncnn.files import save
    from mnv2_mm.deploy.ncnn.fp16_storage import to_half
    from mnv2_mm.deploy.ncnn.graph import Graph
    from mnv2_mm.deploy.ncnn.rules import lower

    layers = lower(Graph(model))
    if precision == 'fp16':
        layers = to_half(layers)
    elif precision == 'int8':
        layers = _int8(layers, calibration, keep_float)
    save(layers, param_path, bin_path)


def _int8(
    layers: 'list[Layer]',
    calibration: Iterable[np.ndarray | Mapping[str, np.ndarray]],
    keep_float: Sequence[str],
) -> 'list[Layer]':
    """Calibrate on the float network, run by ncnn itself, and quantise."""
    from mnv2_mm.deploy.ncnn.calibration import activation_ends
    from mnv2_mm.deploy.ncnn.files import save
    from mnv2_mm.deploy.ncnn.int8 import (
        kept_in_float,
        quantised_inputs,
        to_int8,
    )
    from mnv2_mm.runtime.ncnn_runner import Runner

    kept = kept_in_float(layers, keep_float)
    blobs = quantised_inputs(layers, kept)
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder, 'float.param'), Path(folder, 'float.bin')
        save(layers, *paths)
        runner = Runner(*paths, all_blobs=True)
        ends = activation_ends(runner, blobs, calibration)
    return to_int8(layers, ends)
