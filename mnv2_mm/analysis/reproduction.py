"""Which rows of the paper have published weights, and how their publishers evaluate.

The protocols, with their sources:

ImageNet (slim's ``inception_preprocessing.preprocess_for_eval``): the middle 87.5 % of
both sides, TensorFlow's bilinear resize to a square, [-1, 1]. The network has 1001
classes; the first one, the background, is left out.

COCO (the Object Detection API's pipeline.config of each release): TensorFlow's resize
to 300x300, scores over 1e-8, NMS at 0.6, 100 boxes. Of 90 ids, 80 are classes. The
publisher's 22 is on minival, a part of val2014; the paper's on test-dev.

VOC (DeepLab's eval.py and its model zoo): the image is not resized but padded to
513x513 with 127.5; logits are resized with aligned corners; 255 is ignored. Output
stride 16, or 8 with scales 0.5 to 1.75 and mirror images, whose softmax is averaged.
"""

import copy
import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config, ConfigDict

from mnv2_mm.analysis.paper import RELEASE, TABLES
from mnv2_mm.checkpoints.convert import translate
from mnv2_mm.checkpoints.hub import listed_models, published_models
from mnv2_mm.checkpoints.key_maps.backbones import KEY_MAPS
from mnv2_mm.checkpoints.source import Source
from mnv2_mm.datasets.layouts import Layout
from mnv2_mm.utils.config import evaluation_dataset, get_config
from mnv2_mm.utils.errors import InputError

#: Task and metric of each table.
TASKS = {'table4': 'cls', 'figure5': 'cls', 'table6': 'det', 'table7': 'seg'}
#: Ending of the name of a row with the host's network.
IN_HOST = ", in the host's MobileNetV2"
METRICS = {'cls': 'top-1', 'det': 'box AP', 'seg': 'mIoU'}
#: The published network of a row; those of Figure 5 have the names of their configs.
_PUBLISHED = {
    'table4/mobilenet_v2': 'mnv2_in1k',
    'table4/mobilenet_v2_w140': 'mobilenet_v2_w140_r224',
    'table6/ssdlite_mobilenet_v2': 'ssdlite_mnv2_coco',
    'table7/mobilenet_v2_os16': 'deeplabv3_mnv2_voc',
    'table7/mobilenet_v2_os8_msflip': 'deeplabv3_mnv2_voc',
}
_COCO_CLASSES, _COCO_SLOTS = 80, (81, 91)
#: mmseg's backbone at output stride 8, as in its configs, and the same for 16.
_HOST_STRIDES = {
    8: dict(strides=(1, 2, 2, 1, 1, 1, 1), dilations=(1, 1, 1, 2, 2, 4, 4)),
    16: dict(strides=(1, 2, 2, 2, 1, 1, 1), dilations=(1, 1, 1, 1, 1, 2, 2)),
}


@dataclass(frozen=True, kw_only=True)
class Target:
    """A row of a table."""

    table: str  #: 'table4', 'figure5', 'table6' or 'table7'
    id: str  #: for ``--rows``: the stem of the config of training
    name: str  #: as the paper has it
    train: str  #: how to train it
    paper: float | None  #: in percent
    published: str | None  #: name of the published network
    multi_scale: bool = False  #: output stride 8, six scales and mirror images


def targets(table: str, patterns: Sequence[str] = ()) -> list[Target]:
    """Rows of a table, or those whose id matches one of some patterns (``*_r224``)."""
    found = []
    for row in TABLES[table.removeprefix('table')]:
        config = row.config.removesuffix('.py')
        stem = config.rpartition('/')[2]
        found.append(
            Target(
                table=table,
                id=stem,
                name=row.name,
                train=f'python tools/train.py configs/{row.config}',
                # the paper only draws Figure 5
                paper=None if row.source == RELEASE else row.accuracy,
                published=stem if table == 'figure5' else _PUBLISHED.get(config),
                multi_scale=row.tta,
            )
        )
    if table == 'table6':
        train = 'python tools/train.py configs/official/ssd_mnv2_coco.py'
        name = 'MNet V2 + SSD (not in the paper)'
        found.append(
            Target(
                table=table,
                id='ssd_mnv2_coco',
                name=name,
                train=train,
                paper=None,
                published='ssd_mnv2_coco',
            )
        )
    ids = [target.id for target in found]
    for pattern in patterns:
        if not fnmatch.filter(ids, pattern):
            raise InputError(f'--rows {pattern}: {table} has the rows {", ".join(ids)}')
    if not patterns:
        return found
    return [t for t in found if any(fnmatch.fnmatch(t.id, p) for p in patterns)]


def published_accuracy(
    name: str, *, multi_scale: bool = False
) -> tuple[float | None, str]:
    """Publisher's figure in percent of a network, and where it is stated."""
    for entry in listed_models():
        if entry['Name'] == name:
            # DeepLab's second result is that at several scales
            for result in entry['Results'][multi_scale:]:
                figures = result['Metrics'].values()
                return float(next(iter(figures))), result['Stated by']
    return None, ''


def evaluation_config(
    target: Target,
    layout: Layout,
    source: Source,
    *,
    classes: Sequence[str] | None = None,
    opencv: bool = False,
) -> Config:
    """Config of the publisher's evaluation.

    Args:
        target: The row.
        layout: The validation set.
        source: The file of weights, which decides the classes of a detector.
        classes: Names of the classes of a detector for other classes than COCO's.
        opencv: Resize by OpenCV instead of as TensorFlow 1.
    """
    cfg = copy.deepcopy(get_config(published_models()[target.published].config))
    dataset = evaluation_dataset(cfg)
    dataset.update(ConfigDict(layout.dataset))
    task = TASKS[target.table]
    if task == 'seg':
        dataset.pipeline = [s for s in dataset.pipeline if s['type'] != 'Resize']
        if target.multi_scale:
            cfg.model.type = 'mnv2_mm.MultiScaleSegmentor'
            cfg.model.backbone.output_stride = 8
        return cfg
    if not opencv:
        dataset.pipeline = [
            dict(type='mnv2_mm.TensorFlowResize', scale=step['scale'])
            if step['type'] == 'Resize'
            else step
            for step in dataset.pipeline
        ]
    if task == 'det':
        cfg.test_evaluator.ann_file = layout.dataset['ann_file']
        _set_classes(cfg, dataset, source, classes)
    return cfg


def _set_classes(
    cfg: Config, dataset: dict, source: Source, classes: Sequence[str] | None
) -> None:
    """Give a detector the classes of its file."""
    head = cfg.model.bbox_head
    slots = _class_slots(source)
    if slots is None or (slots in _COCO_SLOTS and not classes):
        return
    count = _COCO_CLASSES if slots in _COCO_SLOTS else max(slots - 1, 1)
    if len(classes or ()) != count:
        raise InputError(
            f'{source.path} has {slots} class slots'
            f'{", one of them for the background" * (slots > 1)}; give --classes with '
            f'{count} name{"s" * (count > 1)} of the annotation file, in the order of '
            'the network'
        )
    head.num_classes, head.background_slot = count, slots > 1
    dataset.metainfo = dict(classes=tuple(classes))


def _class_slots(source: Source) -> int | None:
    """Outputs of a detector for each anchor, with the background."""
    sizes = {}
    for key, value in translate(source).tensors.items():
        match = re.fullmatch(r'bbox_head\.(cls|reg)_convs\.0(\.1)?\.bias', key)
        if match:
            sizes[match[1]] = value.numel()
    if sizes.keys() != {'cls', 'reg'}:
        return None
    return sizes['cls'] // (sizes['reg'] // 4)


def host_config(cfg: Config) -> Config:
    """The same evaluation with the host's own MobileNetV2 in place of ours.

    It pads symmetrically, and mmseg's dilates only the first block of a stage.
    mmdet's SSDLite has other layers, so that no published weights fit it.
    """
    cfg = copy.deepcopy(cfg)
    ours = cfg.model.backbone
    backbone = dict(widen_factor=ours.widen_factor, norm_cfg=ours.norm_cfg)
    if 'head' in cfg.model:
        backbone['type'] = 'mmpretrain.MobileNetV2'
    else:
        backbone |= dict(type='mmseg.MobileNetV2', **_HOST_STRIDES[ours.output_stride])
        backbone['out_indices'] = (5, 6)  # of a single map it returns no tuple
        cfg.model.decode_head.in_index = 1
    cfg.model.backbone = ConfigDict(backbone)
    return cfg


def host_weights(weights: dict) -> dict:
    """Rename the backbone's tensors of a state dict to mmpretrain's and mmseg's."""
    (key_map,) = (m for m in KEY_MAPS if m.name == 'mmpretrain or mmseg')
    theirs = {ours: name for name, ours in key_map.modules.items()}
    renamed = {}
    for key, value in weights.items():
        module, _, leaf = key.rpartition('.')
        name = theirs.get(module.removeprefix('backbone.'))
        renamed[f'backbone.{name}.{leaf}' if name else key] = value
    return renamed


def peer_config(cfg: Config, source: Source, key_map: str) -> Config:
    """Config for weights of torchvision, timm or mmpretrain, as they evaluate theirs.

    Shorter side to 256 and the middle 224 pixels, by Pillow; timm's are bicubic. The
    converter sets mean and deviation.
    """
    cfg = copy.deepcopy(cfg)
    cfg.model.backbone.padding = translate(source).padding or 'symmetric'
    bicubic = 'bicubic' if key_map == 'timm' else 'bilinear'
    evaluation_dataset(cfg).pipeline = [
        dict(type='LoadImageFromFile'),
        dict(
            type='ResizeEdge',
            scale=256,
            edge='short',
            backend='pillow',
            interpolation=bicubic,
        ),
        dict(type='CenterCrop', crop_size=224),
        dict(type='PackInputs'),
    ]
    return cfg


def markdown(results: Sequence[Mapping[str, Any]], table: str) -> str:
    """The results as a table."""
    head = [METRICS[TASKS[table]], 'paper', 'publisher', 'measured', 'difference']
    head += ['95 % interval', 'images', 'seconds', 'notes']
    rows = [head, ['---'] * len(head)]
    for row in results:
        low, high = row.get('interval', (None, None))
        cells = [
            f'{row["row"]} ({row["id"]})',
            *(_number(row.get(name)) for name in head[1:4]),
            _number(row.get('difference'), '+'),
            '-' if low is None else f'{low:.2f} to {high:.2f}',
            f'{row["images"]} of {row["whole_set"]}' if 'images' in row else '-',
            f'{row["seconds"]:.0f}' if 'seconds' in row else '-',
            row['note'],
        ]
        rows.append(cells)
    lines = [f'| {" | ".join(row)} |' for row in rows]
    made = {
        f'torch {r["torch"]}, {r["machine"]}, {r["date"]}'
        for r in results
        if 'date' in r
    }
    return '\n'.join([*lines, '', *sorted(made)]) + '\n'


def _number(value: float | None, sign: str = '') -> str:
    return '-' if value is None else f'{value:{sign}.2f}'
