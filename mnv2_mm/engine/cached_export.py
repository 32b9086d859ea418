"""Export a model for ``mnv2_mm.load``, into a folder of the cache.

mmdeploy, by which tools/export.py works, is not part of a normal installation. Here the
graph ends where :mod:`mnv2_mm.runtime` can go on: boxes and scores before the NMS,
logits, or probabilities.
"""

import copy
import json
import os
import shutil
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from mmengine.registry import DATASETS
from torch import Tensor, nn

from mnv2_mm.engine.network_graph import HEADS, GraphForward, difference
from mnv2_mm.engine.onnx_export import export
from mnv2_mm.models.ssdlite.decoding import decoded
from mnv2_mm.models.ssdlite.head import SSDLiteHead
from mnv2_mm.runtime.description import JSON, File, parse
from mnv2_mm.runtime.model import ExportedModel
from mnv2_mm.runtime.nms import CANDIDATES
from mnv2_mm.runtime.preprocess import prepare
from mnv2_mm.utils.config import evaluation_dataset
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.files import write_bytes, write_json

#: Models whose exports are cached, 1 to 70 MB for a size; the oldest go.
MAX_MODELS = 30
_GRAPH = 'model.onnx'
#: Packages whose version, or files, are part of the name of an export.
_PACKAGES = {'torch', 'mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain', 'mnv2_mm'}
#: Largest difference of graph and network, as a share of the largest value.
_TOLERANCE = 1e-4


def check_origin(network: nn.Module) -> None:
    """Raise an InputError for code that may change while its export stays the same."""
    dataset = evaluation_dataset(network.cfg)['type']
    with DATASETS.switch_scope_and_registry(network.cfg.default_scope) as registry:
        kinds = {type(module) for module in network.modules()} | {registry.get(dataset)}
    for kind in kinds:
        if kind.__module__.partition('.')[0] not in _PACKAGES:
            raise InputError(
                f'{kind.__name__} is not of a package with a known version'
            )


def export_to_cache(
    network: nn.Module, info: dict, place: Path, image: np.ndarray, right: Mapping
) -> None:
    """Export a model for one input size, compare it, and move it to a folder.

    Args:
        network: Of :func:`mnv2_mm.init_model`, on the processor.
        info: Of :func:`~mnv2_mm.engine.description.describe_model`.
        place: Folder for the size in that of the model.
        image: (H, W, 3) uint8 BGR, which becomes an input of that size.
        right: What the network predicts for it, as arrays.

    Raises:
        InputError: the runtime cannot do what the model does, or does it differently.
        OSError: the folder cannot be written.
    """
    info = copy.deepcopy(info)
    whole = _Whole(network, info)
    models = place.parent.parent
    # not by tempfile, whose folders other users cannot read
    stage = models / f'.unfinished_{os.getpid()}_{threading.get_ident()}'
    try:
        stage.mkdir(parents=True)
        with torch.no_grad(), warnings.catch_warnings():
            # the tracer warns of sizes, which are fixed here, and of its age
            warnings.simplefilter('ignore')
            x = torch.from_numpy(prepare(image, info['preprocessing'])[0])
            write_bytes(stage / _GRAPH, export(whole, x, whole.outputs))
            info |= {
                'backend': 'onnxruntime',
                'precision': 'fp32',
                'files': [File.of(stage / _GRAPH).model_dump()],
                'input': {'name': 'input', 'shape': list(x.shape)},
                'outputs': [{'name': name} for name in whole.outputs],
            }
            if info['task'] == 'det':
                info['thresholds']['in_graph'] = False
                corners = dict(columns=['x0', 'y0', 'x1', 'y1'], box_unit='input_pixel')
                info['outputs'][0] |= corners
            write_json(stage / JSON, parse(json.dumps(info)).model_dump())
            exported = ExportedModel(stage)
            _compare(exported, whole, x.flip(-1))
        if not _agree(right, exported(image)):
            raise InputError('the predictions of graph and network differ')
        shutil.rmtree(place, ignore_errors=True)
        place.parent.mkdir(exist_ok=True)
        os.replace(stage, place)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    kept = sorted(models.iterdir(), key=lambda path: path.stat().st_mtime)
    for old in kept[:-MAX_MODELS]:
        shutil.rmtree(old, ignore_errors=True)


class _Whole(nn.Module):
    """A model of a host as one module, from the network input to the outputs.

    Args:
        network: On the processor, in eval mode.
        info: The model's description; a segmentor's gets its ``ending``.

    Raises:
        InputError: a model, or a setting of it, that the runtime does not know.
    """

    def __init__(self, network: nn.Module, info: dict) -> None:
        super().__init__()
        kind = type(network).__name__
        if kind not in HEADS:
            raise InputError(f'{kind} is not exported')
        self.network, self.head = network, getattr(network, HEADS[kind])
        self.task = info['task']
        if self.task == 'det':
            self.outputs = CANDIDATES
            _check_nms(self.head)
        elif self.task == 'seg':
            self.outputs = ['logits']
            if network.test_cfg.get('mode', 'whole') != 'whole':
                raise InputError('the image is predicted part by part')
            corners = bool(self.head.align_corners)
            info['ending'] = dict(resize=False, argmax=False, align_corners=corners)
        else:
            self.outputs = ['probabilities']
        self.eval()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        forward = self.head.forward
        if isinstance(forward, GraphForward):
            found = forward.eager(x)
        else:
            found = self.head(self.network.extract_feat(x))
        if self.task == 'cls':
            return (found.softmax(dim=1),)
        if self.task == 'seg':
            return (found,)
        size = int(x.shape[3]), int(x.shape[2])
        # a larger limit is one of pixels of the image
        least = min(self.head.test_cfg.get('min_bbox_size', -1), 0)
        return decoded(self.head, *found, size=size, min_size=least)


def _check_nms(head: nn.Module) -> None:
    """Raise an InputError for a detector that the runtime's NMS does not serve."""
    rules = getattr(head, 'test_cfg', None) or {}
    nms = dict(rules.get('nms') or {'type': None})
    known = nms.pop('type', 'nms') == 'nms' and set(nms) == {'iou_threshold'}
    plain = known and rules.get('min_bbox_size', -1) <= 0
    if not (isinstance(head, SSDLiteHead) and plain):
        raise InputError(f'{type(head).__name__} with its test_cfg is not exported')


def _compare(exported: ExportedModel, whole: _Whole, x: Tensor) -> None:
    """Raise an InputError if outputs of the graph differ from those of the network."""
    network = getattr(exported.network, 'network', exported.network)  # without NMS
    found = network(x.numpy())
    arrays = [torch.from_numpy(found[name]) for name in whole.outputs]
    if reason := difference(arrays, whole(x), _TOLERANCE):
        raise InputError(reason)


def _agree(first: Mapping, second: Mapping) -> bool:
    """Whether predictions for an image are the same up to rounding.

    It may exchange the last of the boxes that NMS keeps, and the class of a few pixels.
    """
    if 'mask' in first:
        return float(np.mean(first['mask'] == second['mask'])) > 0.99
    if 'probabilities' in first:
        gap = np.abs(first['probabilities'] - second['probabilities'])
        return float(gap.max()) < 1e-3
    least = max(0.05, second['scores'].min(initial=1) + 1e-4)
    counted = np.flatnonzero(first['scores'] > least)
    side = np.abs(first['boxes'][counted, None] - second['boxes']).max(-1, initial=0)
    gap = np.abs(first['scores'][counted, None] - second['scores'])
    same = first['labels'][counted, None] == second['labels']
    found = (same & (side < 1) & (gap < 0.01)).any(1)
    return not len(counted) or float(found.mean()) > 0.9
