"""Write the files of a TensorRT model: graph, description, reference, script.

``end2end.trt.json`` holds shapes, precision and workspace; the reference is an
input with onnxruntime's outputs; ``build_engine.py`` builds the engine.

``backend_config`` has, besides ``precision``: ``batch`` (``min``, ``opt`` and
``max`` images per run, for a graph with a dynamic batch), ``workspace`` (bytes
that TensorRT may use while it builds), ``tf32`` (whether float32 may be
computed with a 10-bit mantissa, TensorRT's default; off here), ``keep_float``
and ``calibration_images``.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

from mnv2_mm.runtime import tensorrt_engine
from mnv2_mm.runtime.onnxruntime import OnnxRuntime
from mnv2_mm.utils.errors import InputError

#: Name of the copy of the stand-alone script.
SCRIPT = 'build_engine.py'


def write(
    model: onnx.ModelProto, file: Path, options: Mapping, example: np.ndarray | None
) -> dict:
    """Write the graph, and the other files into the same folder.

    Args:
        model: The graph in its final precision.
        file: Path of the .onnx.
        options: ``backend_config`` of the deploy config.
        example: Network input (1, 3, H, W) for the reference; noise without
            it. If the graph takes several images, its mirror image is the
            second one.

    Returns:
        Content of end2end.trt.json.
    """
    inputs = profile(model, options.get('batch'))
    onnx.save(model, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    spec = {
        'onnx': file.name,
        # the engine of an earlier file is not used for this one
        'engine': f'{file.stem}.{digest[:8]}.engine',
        'reference': f'{file.stem}.reference.npz',
        'precision': options.get('precision', 'fp32'),
        'tf32': bool(options.get('tf32', False)),
        'workspace': int(options.get('workspace', 1 << 30)),
        'inputs': inputs,
        'outputs': [output.name for output in model.graph.output],
    }
    text = json.dumps(spec, indent=1) + '\n'
    file.with_name(tensorrt_engine.JSON).write_text(text, encoding='utf-8')
    shutil.copyfile(tensorrt_engine.__file__, file.with_name(SCRIPT))

    (shapes,) = inputs.values()
    if example is None:
        noise = np.random.default_rng(0).uniform(-1, 1, shapes['min'])
        example = noise[:1].astype(np.float32)
    images = [example, example[..., ::-1]]
    count = max(shapes['min'][0], min(2, shapes['max'][0]))
    batch = np.concatenate([images[i % 2] for i in range(count)])
    arrays = OnnxRuntime([file], exact_int8=True)(batch)
    np.savez_compressed(file.with_name(spec['reference']), input=batch, **arrays)
    return spec


def profile(model: onnx.ModelProto, batch: Mapping | None) -> dict:
    """Smallest, usual and largest shape of each input, by its name.

    Args:
        model: The ONNX model.
        batch: ``min``, ``opt`` and ``max`` number of images, for a graph
            with a dynamic batch.

    Raises:
        InputError: numbers that do not ascend, or another dynamic axis.
    """
    batch = dict(batch or dict(min=1, opt=1, max=1))
    counts = {key: batch.get(key) for key in ('min', 'opt', 'max')}
    ints = all(isinstance(count, int) for count in counts.values())
    if not ints or not 0 < counts['min'] <= counts['opt'] <= counts['max']:
        raise InputError(
            f'backend_config.batch is {batch}; it takes numbers of images '
            'as dict(min=1, opt=4, max=8)'
        )
    shapes = {}
    for value in model.graph.input:
        fixed, *sides = (dim.dim_value for dim in value.type.tensor_type.shape.dim)
        if not all(sides):
            raise InputError(
                'a TensorRT engine takes images of one size, and '
                'ir_config.dynamic_axes leaves height and width open; keep '
                'axis 0 alone, and give ir_config.input_shape'
            )
        shapes[value.name] = {
            key: [fixed or count, *sides] for key, count in counts.items()
        }
    return shapes
