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

from mnv2_mm.benchmark.baselines import detector_config
from mnv2_mm.benchmark.core import Case, Options, Step, case_group
from mnv2_mm.datasets.sample.scenes import CLASSES
from mnv2_mm.datasets.sample.writer import SampleSettings, write_sample_set
from mnv2_mm.utils.config import get_config

Pipeline = list[dict]
IMAGES = 24
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


def cases(options: Options) -> list[Case]:
    """Cases of `tools/benchmark.py data`."""
    cv2.setNumThreads(0)  # as in a worker; before processes are forked
    root = options.folder / 'sample'
    write_sample_set(root, SampleSettings(width=640, height=480, train=IMAGES, val=1))
    images = dict(
        type='CocoDataset',
        metainfo=dict(classes=CLASSES),
        ann_file='annotations/train.json',
        data_prefix=dict(img='images/train'),
    )
    folders = dict(img_path='images/train', seg_map_path='masks/train')
    masks = dict(type='BaseSegDataset', data_prefix=folders)
    plain = dict(type='CustomDataset', data_prefix='images/train', with_label=False)

    crop = training_pipeline('ssdlite_mnv2_coco')
    zoom_out = training_pipeline('ssdlite_mnv2_coco_sgd_600e')
    photometric = training_pipeline('ssdlite_bccd')
    photometric[3].scale = zoom_out[4].scale  # 320
    mmdet = detector_config(ours=False).train_dataloader.dataset.dataset.pipeline
    seg = training_pipeline('deeplabv3_mnv2_voc_adamw_40k')
    cls = training_pipeline('mnv2_in1k')
    ssdlite = 'SSDLite 320: crop, resize, flip'
    found = []
    for title, host, dataset, ours, theirs in (
        (f'{ssdlite}, photometric, expand', 'mmdet', images, zoom_out, mmdet),
        (f'{ssdlite}, photometric', 'mmdet', images, photometric, None),
        (ssdlite, 'mmdet', images, crop, None),
        ('DeepLabv3 513: scale, crop, flip, photometric', 'mmseg', masks, seg, None),
        ('MobileNetV2 224: crop, resize, flip', 'mmpretrain', plain, cls, _MMPRETRAIN),
    ):
        load = partial(one_pass, host, dict(dataset, data_root=str(root)))
        makes = {
            f"{host}'s transforms": partial(load, theirs or host_copy(ours, host)),
            'mnv2_mm': partial(load, ours),
        }
        found += case_group(title, makes, images=IMAGES)
    return found


def training_pipeline(name: str) -> Pipeline:
    """Training pipeline of a config of ours."""
    dataset = get_config(name).train_dataloader.dataset
    while 'pipeline' not in dataset:  # a ConcatDataset of two
        dataset = dataset.datasets[0]
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


def one_pass(host: str, dataset: dict, pipeline: Pipeline) -> Step:
    """One pass over a data set."""
    cv2.setNumThreads(0)
    init_default_scope(host)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
        images = DATASETS.build(dict(dataset, pipeline=pipeline))
    seeds = itertools.count()

    def step() -> None:
        np.random.seed(next(seeds))
        for index in range(len(images)):
            images[index]

    return step
