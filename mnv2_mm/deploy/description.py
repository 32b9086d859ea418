"""Describe an exported model for model.json, from its config."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from mmdeploy.codebase.base import BaseTask
from mmdeploy.utils import get_backend_config, get_ir_config
from torch import nn

from mnv2_mm.engine.description import describe_model
from mnv2_mm.runtime.description import File, parse
from mnv2_mm.runtime.litert import LiteRT
from mnv2_mm.runtime.ncnn import OPTIONS, Ncnn
from mnv2_mm.runtime.nms import CANDIDATES

_CORNERS = ('x0', 'y0', 'x1', 'y1')
#: What an output holds, in words.
_MEANINGS = {
    'detections': 'boxes after NMS, best first; nothing where nothing is found',
    'dets': 'boxes after NMS, best first; rows with a score of 0 fill the rest',
    'labels': 'class of each box; -1 fills the rest',
    'boxes': 'boxes before NMS',
    'scores': 'score of each class for each box; 0 where it may not be found',
    'detection_boxes': 'boxes after NMS, best first',
    'detection_classes': 'class of each box',
    'detection_scores': 'score of each box',
    'num_detections': 'number of boxes; what follows them is undefined',
    'probabilities': 'probability of each class',
    'logits': 'logits of each class; resize to the network input, remove the padding, '
    'resize to the image (both bilinear, see "ending"), take the largest',
    'classes': 'class of each pixel of the network input; remove the padding, resize '
    'to the image by nearest neighbor',
}


def describe(
    processor: BaseTask,
    model: nn.Module,
    files: Sequence[str | Path],
    *,
    graph: onnx.ModelProto,
) -> dict:
    """Content of model.json.

    Args:
        processor: Task processor of the export.
        model: The PyTorch model.
        files: The backend's files.
        graph: The exported graph.

    Raises:
        InputError: the classes have no names, or the test pipeline has an
            unknown transform, or a value that :mod:`mnv2_mm.runtime` does not take.
    """
    cfg, deploy_cfg = processor.model_cfg, processor.deploy_cfg
    options, ir = get_backend_config(deploy_cfg), get_ir_config(deploy_cfg)
    backend = options['type']
    info = describe_model(model, cfg)
    task = info['task']
    info |= {
        'backend': backend,
        'precision': options.get('precision', 'fp32'),
        'options': OPTIONS if backend == 'ncnn' else {},
        'files': [File.of(Path(file)).model_dump() for file in files],
        'input': {'name': ir['input_names'][0], 'shape': _shape(graph.graph.input[0])},
        'outputs': _outputs(graph, files, task, backend),
    }
    if backend == 'litert':
        network = LiteRT(files)
        info['input'] |= dict(name=network.input_name, layout='NHWC')
        if scaling := network.uint8_scaling:
            info['input']['dtype'] = 'uint8'
            mean, std = scaling
            info['preprocessing'] |= dict(mean=[mean] * 3, std=[std] * 3)
    if 'thresholds' in info:
        names = [output['name'] for output in info['outputs']]
        info['thresholds']['in_graph'] = names != CANDIDATES
    if task == 'seg':
        from mnv2_mm.deploy.segmentation import graph_ending

        resize, argmax = graph_ending(deploy_cfg)
        corners = bool(model.decode_head.align_corners)
        info['ending'] = dict(resize=resize, argmax=argmax, align_corners=corners)
        info['outputs'][0]['meaning'] = _MEANINGS['classes' if argmax else 'logits']
    return parse(json.dumps(info)).model_dump()


def _shape(value: onnx.ValueInfoProto) -> list[int | None]:
    """Sizes of a tensor of a graph, None for a dynamic axis."""
    return [dim.dim_value or None for dim in value.type.tensor_type.shape.dim]


def _outputs(
    graph: onnx.ModelProto, files: Sequence[str | Path], task: str, backend: str
) -> list[dict]:
    """``outputs`` of model.json: what the backend itself returns."""
    if backend == 'ncnn':  # its files say more: the graph may not have all sizes
        found = Ncnn(files).run(np.zeros(_shape(graph.graph.input[0]), np.float32))
        shapes = {name: list(value.shape[1:]) for name, value in found.items()}
    elif backend == 'litert':  # the converter chooses the names
        shapes = LiteRT(files).shapes
        if 'dets' in shapes:  # of which it does not know the sizes
            shapes = {value.name: _shape(value) for value in graph.graph.output}
    else:
        shapes = {value.name: _shape(value) for value in graph.graph.output}
    outputs: list[dict] = [dict(name=n, shape=shape) for n, shape in shapes.items()]
    if task == 'cls':
        outputs[0]['meaning'] = _MEANINGS['probabilities']
    elif task == 'det' and backend == 'ncnn':
        outputs[0].update(
            shape=[None, 6],
            columns=['label', 'score', *_CORNERS],
            first_label=1,
            box_unit='input_fraction',
            meaning=_MEANINGS['detections'],
        )
    elif task == 'det' and 'detection_boxes' in shapes:
        for output in outputs:
            output['meaning'] = _MEANINGS[output['name']]
        outputs[0].update(columns=['y0', 'x0', 'y1', 'x1'], box_unit='input_fraction')
        outputs[1].update(first_label=0)
    elif task == 'det' and list(shapes) == CANDIDATES:
        for output in outputs:
            output['meaning'] = _MEANINGS[output['name']]
        outputs[0].update(columns=[*_CORNERS], box_unit='input_pixel')
    elif task == 'det':
        outputs[0].update(
            columns=[*_CORNERS, 'score'],
            box_unit='input_pixel',
            meaning=_MEANINGS['dets'],
        )
        outputs[1].update(first_label=0, meaning=_MEANINGS['labels'])
    return outputs
