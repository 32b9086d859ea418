"""Whole recipes: our transforms give what the hosts' give."""

import copy
import json

import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.registry import TRANSFORMS, DefaultScope

from mnv2_mm.utils.config import get_config

#: Transforms of ours that a host has under another name.
HOST_NAMES = {
    'LoadImage': 'LoadImageFromFile',
    'SegPhotoMetricDistortion': 'PhotoMetricDistortion',
    'SegRandomCrop': 'RandomCrop',
}


def by_host(pipeline, host):
    """The same steps by the host's transforms, where it has them."""
    steps = copy.deepcopy(pipeline)
    for step in steps:
        scope, _, name = step['type'].rpartition('.')
        name = HOST_NAMES.get(name, name)
        if scope == 'mnv2_mm' and TRANSFORMS.get(f'{host}.{name}'):
            step['type'] = name
    return steps


def samples(root, host):
    """Annotations of the tiny set in the form of the hosts' data sets."""
    content = json.loads((root / 'annotations/train.json').read_text())
    for image in content['images'][:6]:
        name = image['file_name']
        results = dict(img_path=str(root / 'images/train' / name))
        if host == 'mmseg':
            mask = root / 'masks/train' / name.replace('.jpg', '.png')
            yield dict(
                results,
                seg_map_path=str(mask),
                seg_fields=[],
                label_map=None,
                reduce_zero_label=False,
            )
            continue
        boxes = [
            np.add(a['bbox'], [0, 0, *a['bbox'][:2]]).tolist()
            for a in content['annotations']
            if a['image_id'] == image['id']
        ]
        objects = [
            dict(bbox=box, bbox_label=number, ignore_flag=0)
            for number, box in enumerate(boxes)
        ]
        yield dict(results, img_id=image['id'], instances=objects)


@pytest.mark.parametrize(
    ('name', 'host'),
    [
        ('ssdlite_mnv2_coco', 'mmdet'),
        ('ssdlite_mnv2_coco_sgd_600e', 'mmdet'),
        ('ssdlite_bccd', 'mmdet'),
        ('table6/ssd300_vgg16', 'mmdet'),
        ('deeplabv3_mnv2_voc', 'mmseg'),
        ('deeplabv3_mnv2_voc_adamw_40k', 'mmseg'),
        ('deeplabv3_pets', 'mmseg'),
    ],
)
def test_recipes_give_what_the_hosts_transforms_give(name, host, tiny_data):
    pytest.importorskip(f'{host}.models')
    dataset = get_config(name).train_dataloader.dataset
    steps = dataset.get('pipeline') or next(d.pipeline for d in dataset.datasets)
    for step in steps:
        if step['type'] == 'mnv2_mm.CheckSegMask':
            step['num_classes'] = 6
    theirs = by_host(steps, host)
    assert theirs != steps
    with DefaultScope.overwrite_default_scope(host):
        pipelines = [Compose(theirs), Compose(steps)]
    for seed in range(4):
        for sample in samples(tiny_data, host):
            found = []
            for pipeline in pipelines:
                np.random.seed(seed)
                found.append(pipeline(copy.deepcopy(sample)))
            wanted, given = found
            assert given['inputs'].dtype == wanted['inputs'].dtype
            torch.testing.assert_close(
                given['inputs'], wanted['inputs'], rtol=0, atol=1e-3
            )
            first, second = (f['data_samples'] for f in found)
            if host == 'mmseg':
                masks = first.gt_sem_seg.data, second.gt_sem_seg.data
                assert torch.equal(*masks)
                continue
            truth, same = first.gt_instances, second.gt_instances
            assert torch.equal(truth.bboxes.tensor, same.bboxes.tensor)
            assert torch.equal(truth.labels, same.labels)
            assert first.metainfo == second.metainfo
