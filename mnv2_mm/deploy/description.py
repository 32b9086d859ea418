"""Describe an exported model for model.json, from its config."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from mmdeploy.codebase.base import BaseTask
from mmdeploy.utils import get_backend_config, get_ir_config
from torch import nn

from mnv2_mm.checkpoints.guard import rgb
from mnv2_mm.runtime.description import File, parse
from mnv2_mm.runtime.drawing import default_palette
from mnv2_mm.runtime.litert import LiteRT
from mnv2_mm.runtime.ncnn import OPTIONS, Ncnn
from mnv2_mm.runtime.nms import CANDIDATES
from mnv2_mm.utils.config import config_name
from mnv2_mm.utils.errors import InputError
from mnv2_mm.version import __version__

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
#: Transforms that do not change pixels.
_IGNORED = ('LoadImage', 'LoadAnnotations', 'CheckSegMask', 'Pack')


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
    task = {'mmdet': 'det', 'mmseg': 'seg', 'mmpretrain': 'cls'}[cfg.default_scope]
    names = list(map(str, model.dataset_meta.get('classes') or ()))
    if not names:
        raise InputError(
            'classes have no names; give the test data set metainfo=dict(classes=(...))'
        )
    colors = model.dataset_meta.get('palette')
    if not isinstance(colors, Sequence) or len(colors) != len(names):
        colors = default_palette(len(names))
    options, ir = get_backend_config(deploy_cfg), get_ir_config(deploy_cfg)
    backend = options['type']
    info = {
        'format': 2,
        'mnv2_mm': __version__,
        'task': task,
        'config': config_name(cfg),
        'backend': backend,
        'precision': options.get('precision', 'fp32'),
        'options': OPTIONS if backend == 'ncnn' else {},
        'files': [File.of(Path(file)).model_dump() for file in files],
        'input': {'name': ir['input_names'][0], 'shape': _shape(graph.graph.input[0])},
        'outputs': _outputs(graph, files, task, backend),
        'classes': names,
        'palette': [list(map(int, color)) for color in colors],
        'preprocessing': preprocessing(cfg.test_pipeline, model),
    }
    if backend == 'litert':
        network = LiteRT(files)
        info['input'] |= dict(name=network.input_name, layout='NHWC')
        if scaling := network.uint8_scaling:
            info['input']['dtype'] = 'uint8'
            mean, std = scaling
            info['preprocessing'] |= dict(mean=[mean] * 3, std=[std] * 3)
    rules = getattr(getattr(model, 'bbox_head', None), 'test_cfg', None)
    if rules:
        info['thresholds'] = dict(
            in_graph=[output['name'] for output in info['outputs']] != CANDIDATES,
            score_thr=float(rules.get('score_thr', 0)),
            nms_iou=float((rules.get('nms') or {}).get('iou_threshold', 0.5)),
            max_per_img=int(rules.get('max_per_img', 100)),
        )
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


def preprocessing(pipeline: Sequence[Mapping], model: nn.Module) -> dict:
    """Steps and pixel scaling, as in model.json."""
    processor = model.data_preprocessor
    padding = getattr(processor, 'test_cfg', None) or {}  # mmseg's
    size, multiple = padding.get('size'), padding.get('size_divisor')
    return {
        'steps': [s for step in pipeline for s in _steps(step)],
        'color_order': 'RGB' if rgb(processor) else 'BGR',
        'mean': processor.mean.flatten().tolist(),
        'std': processor.std.flatten().tolist(),
        'pad_to': list(size)[::-1] if size else None,
        'pad_multiple': max(
            multiple or 1, getattr(processor, 'pad_size_divisor', 1) or 1
        ),
        # the second name is mmdet's and mmpretrain's
        'pad_value': float(
            getattr(processor, 'pad_val', getattr(processor, 'pad_value', 0))
        ),
    }


def _steps(step: Mapping) -> list[dict]:
    """One transform of the hosts as steps of ``mnv2_mm.runtime``."""
    name = step['type'].rpartition('.')[2]
    if name.startswith(_IGNORED):
        return []
    if step.get('backend', 'cv2') != 'cv2':
        raise InputError(
            f"the test pipeline's {name} has backend={step['backend']!r}; an exported "
            "model needs backend='cv2'"
        )
    how = step.get('interpolation', 'bilinear')

    def resize(size: int | Sequence[int], keep_ratio: bool = False) -> dict:
        how_to = dict(keep_ratio=keep_ratio, interpolation=how)
        return dict(do='resize', size=_pair(size), **how_to)

    if name == 'Resize' and 'scale' in step:
        return [resize(step['scale'], bool(step.get('keep_ratio')))]
    if name == 'ResizeEdge' and step.get('edge', 'short') == 'short':
        return [dict(do='resize_short', side=step['scale'], interpolation=how)]
    if name == 'CenterCrop':
        return [dict(do='crop_middle', size=_pair(step['crop_size']))]
    if name == 'CentralCrop':
        return [dict(do='crop_share', share=step.get('fraction', 0.875))]
    if name == 'EfficientNetCenterCrop':
        side, margin = step['crop_size'], step.get('crop_padding', 32)
        how = step.get('interpolation', 'bicubic')
        return [dict(do='crop_square', share=side / (side + margin)), resize(side)]
    raise InputError(
        f"the test pipeline's {step['type']} cannot be exported; supported "
        'are Resize, ResizeEdge, CenterCrop, EfficientNetCenterCrop and '
        'mnv2_mm.CentralCrop'
    )


def _pair(size: int | Sequence[int]) -> list[int]:
    """(width, height) of a number or a pair."""
    return [size, size] if isinstance(size, int) else list(size)
