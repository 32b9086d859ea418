"""The training pipelines: images per second of one worker.

One call takes every image of a set through a pipeline as a worker of the
data loader does, from its annotation to the packed tensor; files are in the
system's cache, and nothing is collated or sent. Each pass draws new random
numbers, the same for all contestants.
"""

import argparse
import atexit
import contextlib
import copy
import io
import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from mmengine.registry import DATASETS, TRANSFORMS, init_default_scope

from mnv2_mm.benchmark.images import (
    PHOTOS,
    PICTURES,
    enlarged,
    with_boxes_of_coco,
    write_photos,
)
from mnv2_mm.benchmark.pairs import Contestant, Part
from mnv2_mm.benchmark.peers import peer_config
from mnv2_mm.datasets.sample.scenes import CLASSES
from mnv2_mm.utils.config import get_config

#: Transforms of ours that a host has under another name.
_HOSTS_NAME = {
    'LoadImage': 'LoadImageFromFile',
    'SegPhotoMetricDistortion': 'PhotoMetricDistortion',
    'SegRandomCrop': 'RandomCrop',
}


def parts(_: argparse.Namespace) -> list[Part]:
    """What `tools/benchmark.py data` measures."""
    cv2.setNumThreads(0)  # as in a worker
    folder = tempfile.TemporaryDirectory(prefix='mnv2_mm_benchmark_')
    atexit.register(folder.cleanup)
    root = Path(folder.name) / 'sample'
    write_photos(root)
    return [*detection(root), *segmentation(root), classification(root)]


def detection(root: Path) -> list[Part]:
    """Our three recipes of SSDLite's pipeline, against mmdet's transforms."""
    dataset = dict(
        type='CocoDataset',
        metainfo=dict(classes=CLASSES),
        ann_file=str(with_boxes_of_coco(root / 'annotations/train.json')),
        data_prefix=dict(img=str(root / 'images/train')),
    )
    modern = _pipeline('ssdlite_mnv2_coco_sgd_600e')
    official = _pipeline('ssdlite_mnv2_coco')
    cells = _pipeline('ssdlite_bccd')
    cells[3].scale = modern[4].scale
    shipped = peer_config().train_dataloader.dataset.dataset.pipeline
    return [
        _part(
            'SSDLite 320: expand, crop, resize, flip, photometric',
            'mmdet',
            dataset,
            {
                "mmdet's ssdlite, as shipped": shipped,
                'ssdlite_mnv2_coco_sgd_600e': modern,
                'the same, to_uint8': in_bytes(modern),
            },
        ),
        _part(
            'SSDLite 320: crop, resize, flip, photometric',
            'mmdet',
            dataset,
            {
                "mmdet's transforms": plain(cells, 'mmdet'),
                'ssdlite_bccd at 320': cells,
            },
        ),
        _part(
            'SSDLite 320: crop, resize, flip',
            'mmdet',
            dataset,
            {
                "mmdet's transforms, our crop": plain(official, 'mmdet'),
                'ssdlite_mnv2_coco': official,
            },
        ),
        _part(
            'SSDLite 320: crop, resize, flip, photos of 12 megapixels',
            'mmdet',
            enlarged(dataset, root / 'photos'),
            {
                "mmdet's transforms, our crop": plain(official, 'mmdet'),
                'ssdlite_mnv2_coco': official,
            },
            images=PHOTOS,
        ),
    ]


def segmentation(root: Path) -> list[Part]:
    """Both recipes of Mobile DeepLabv3, against mmseg's transforms."""
    dataset = dict(
        type='BaseSegDataset',
        data_root=str(root),
        data_prefix=dict(img_path='images/train', seg_map_path='masks/train'),
    )
    parts = []
    for name, steps in (
        ('deeplabv3_mnv2_voc_adamw_40k', 'scale, crop, flip, photometric'),
        ('deeplabv3_mnv2_voc', 'scale, crop, pad, flip'),
    ):
        ours = _pipeline(name)
        pipelines = {"mmseg's transforms": plain(ours, 'mmseg'), name: ours}
        title = f'Mobile DeepLabv3 513: {steps}'
        parts.append(_part(title, 'mmseg', dataset, pipelines))
    return parts


def classification(root: Path) -> Part:
    """Inception's preprocessing against mmpretrain's nearest to it."""
    dataset = dict(
        type='CustomDataset',
        data_root=str(root / 'images/train'),
        with_label=False,
    )
    theirs = [
        dict(type='LoadImageFromFile'),
        dict(type='RandomResizedCrop', scale=224, crop_ratio_range=(0.1, 1)),
        dict(type='RandomFlip', prob=0.5, direction='horizontal'),
        dict(type='ColorJitter', brightness=0.125, saturation=0.5),
        dict(type='PackInputs'),
    ]
    ours = _pipeline('mnv2_in1k')
    return _part(
        'MobileNetV2 224: crop, resize, flip, colours',
        'mmpretrain',
        dataset,
        {
            "mmpretrain's transforms": theirs,
            'mnv2_in1k': ours,
        },
    )


def in_bytes(pipeline: list[dict]) -> list[dict]:
    """The same, its colors clipped and rounded to bytes."""
    steps = copy.deepcopy(pipeline)
    for step in steps:
        if step['type'] == 'mnv2_mm.PhotoMetricDistortion':
            step['to_uint8'] = True
    return steps


def plain(pipeline: list[dict], host: str) -> list[dict]:
    """The same steps by the host's transforms, where it has them."""
    steps = copy.deepcopy(pipeline)
    for step in steps:
        scope, _, name = step['type'].rpartition('.')
        name = _HOSTS_NAME.get(name, name)
        if scope == 'mnv2_mm' and TRANSFORMS.get(f'{host}.{name}'):
            step['type'] = name
    return steps


def _pipeline(name: str) -> list[dict]:
    """Training pipeline of a config of ours."""
    dataset = get_config(name).train_dataloader.dataset
    while 'pipeline' not in dataset:  # a ConcatDataset of two
        dataset = dataset.datasets[0]
    return dataset.pipeline


def _part(
    title: str,
    host: str,
    dataset: dict,
    pipelines: dict[str, list[dict]],
    *,
    images: int = PICTURES,
) -> Part:
    """Passes over one data set through each of the pipelines."""
    contestants = [
        Contestant(name, _passes(host, {**dataset, 'pipeline': steps}))
        for name, steps in pipelines.items()
    ]
    return Part(title, contestants, images=images)


def _passes(host: str, dataset: dict) -> Callable[[], Callable[[], object]]:
    """One pass over a data set."""

    def prepare() -> Callable[[], object]:
        init_default_scope(host)
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools talks
            images = DATASETS.build(dataset)
        seeds = itertools.count()

        def run() -> None:
            np.random.seed(next(seeds))
            for index in range(len(images)):
                images[index]

        return run

    return prepare
