"""The training pipelines: images per second of one worker.

One step takes every image of the generated sample set, JPEGs of 87 KB on
average, through a pipeline as a worker of the data loader does, from its
annotation to the packed tensor. Files are in the system's cache; nothing is
collated or sent. Each step draws new random numbers, the same in all cases.
"""

import contextlib
import copy
import io
import itertools
from functools import partial

import cv2
import numpy as np
from mmengine.registry import DATASETS, TRANSFORMS, init_default_scope

from mnv2_mm.benchmark.core import Case, Options, Step, case_group
from mnv2_mm.benchmark.detectors import MMDET, shipped_config
from mnv2_mm.datasets.sample.scenes import CLASSES
from mnv2_mm.datasets.sample.writer import SampleSettings, write_sample_set
from mnv2_mm.utils.config import get_config

Pipeline = list[dict]
IMAGES = 24
#: The sample set for each host.
_DATASETS = {
    'mmdet': dict(
        type='CocoDataset',
        metainfo=dict(classes=CLASSES),
        ann_file='annotations/train.json',
        data_prefix=dict(img='images/train'),
    ),
    'mmseg': dict(
        type='BaseSegDataset',
        data_prefix=dict(img_path='images/train', seg_map_path='masks/train'),
    ),
    'mmpretrain': dict(
        type='CustomDataset', data_prefix='images/train', with_label=False
    ),
}
#: Transforms of ours that a host has under another name.
_HOST_NAMES = {
    'LoadImage': 'LoadImageFromFile',
    'SegPhotoMetricDistortion': 'PhotoMetricDistortion',
    'SegRandomCrop': 'RandomCrop',
}
_MMPRETRAIN = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=224, crop_ratio_range=(0.1, 1)),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='ColorJitter', brightness=0.125, saturation=0.5),
    dict(type='PackInputs'),
]


def data_cases(options: Options) -> list[Case]:
    """Cases of `tools/benchmark.py data`."""
    cv2.setNumThreads(0)  # as in a worker; before processes are forked
    root = options.folder / 'sample'
    write_sample_set(root, SampleSettings(width=640, height=480, train=IMAGES, val=1))
    zoom_out = training_pipeline(get_config('ssdlite_mnv2_coco_sgd_600e'))
    photometric = training_pipeline(get_config('ssdlite_bccd'))
    photometric[3].scale = zoom_out[4].scale  # 320
    crop = training_pipeline(get_config('ssdlite_mnv2_coco'))
    seg = training_pipeline(get_config('deeplabv3_mnv2_voc_adamw_40k'))
    cls = training_pipeline(get_config('mnv2_in1k'))
    mmdet = training_pipeline(shipped_config('mmdet', MMDET))
    ssdlite = 'SSDLite 320: crop, resize, flip'
    found = []
    for title, host, ours, theirs in (
        (f'{ssdlite}, photometric, expand', 'mmdet', zoom_out, mmdet),
        (f'{ssdlite}, photometric', 'mmdet', photometric, None),
        (ssdlite, 'mmdet', crop, None),
        ('DeepLabv3 513: scale, crop, flip, photometric', 'mmseg', seg, None),
        ('MobileNetV2 224: crop, resize, flip', 'mmpretrain', cls, _MMPRETRAIN),
    ):
        table = {
            f"{host}'s transforms": dict(pipeline=theirs or host_copy(ours, host)),
            'mnv2_mm': dict(pipeline=ours),
        }
        make = partial(one_pass, host, str(root))
        found += case_group(title, make, table, images=IMAGES)
    return found


def training_pipeline(cfg: dict) -> Pipeline:
    """Training pipeline of a config."""
    dataset = cfg.train_dataloader.dataset
    while 'pipeline' not in dataset:  # a ConcatDataset of two, a RepeatDataset
        dataset = dataset.get('dataset') or dataset.datasets[0]
    return dataset.pipeline


def host_copy(pipeline: Pipeline, host: str) -> Pipeline:
    """The same steps by the host's transforms, where it has them."""
    steps = copy.deepcopy(pipeline)
    for step in steps:
        scope, _, name = step['type'].rpartition('.')
        name = _HOST_NAMES.get(name, name)
        if scope == 'mnv2_mm' and TRANSFORMS.get(f'{host}.{name}'):
            step['type'] = name
    return steps


def one_pass(host: str, root: str, pipeline: Pipeline) -> Step:
    """One pass over the sample set."""
    cv2.setNumThreads(0)
    init_default_scope(host)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
        images = DATASETS.build(
            dict(_DATASETS[host], data_root=root, pipeline=pipeline)
        )
    seeds = itertools.count()

    def step() -> None:
        np.random.seed(next(seeds))
        for index in range(len(images)):
            images[index]

    return step
