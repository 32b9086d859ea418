"""Ground truth on images, label counts, and warnings about them."""

import shutil
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mnv2_mm.datasets.gt_visualizer import GtVisualizer
from mnv2_mm.datasets.label_histogram import LabelHistogram
from mnv2_mm.datasets.sample.writer import SampleSettings, write_sample_set

CONFIGS = {
    'ssdlite_sample': 'mmdet',
    'deeplabv3_sample': 'mmseg',
    'mnv2_sample': 'mmpretrain',
}


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp('made') / 'sample'
    write_sample_set(out, SampleSettings(train=6, val=8))
    return out


@pytest.fixture
def sample(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(made, tmp_path / 'data' / 'sample')


@pytest.mark.parametrize('split', ['train', 'val'])
@pytest.mark.parametrize('name', CONFIGS)
def test_each_task(name, split, run_tool, sample, capsys):
    pytest.importorskip(CONFIGS[name])
    args = ('--split', split, '--num', 2, '--out-dir', 'out')
    assert run_tool('browse_dataset', name, *args) == 0
    images = list(Path('out').glob('*.jpg'))
    assert len(images) == 2
    assert all(min(cv2.imread(str(p)).shape[:2]) >= 300 for p in images)
    text = capsys.readouterr().out
    for label in ('circle', 'square', 'triangle', 'star', 'ring'):
        assert label in text
    assert '2 images in out' in text


def test_black_and_white_masks(run_tool, sample, capsys):
    pytest.importorskip('mmseg')
    for path in (sample / 'masks').rglob('*.png'):
        mask = cv2.imread(str(path), -1)
        cv2.imwrite(str(path), np.where(mask > 0, 255, 0).astype(np.uint8))
    assert run_tool('browse_dataset', 'deeplabv3_sample', '--num', 1) == 1
    text = capsys.readouterr().out
    assert '(255 = ignored)' in text
    assert 'hold only 0 and 255' in text and 'mask[mask == 255] = 1' in text


def test_labels_out_of_range_are_counted_and_not_drawn(run_tool, sample, capsys):
    pytest.importorskip('mmseg')
    path = sample / 'masks/train/00000.png'
    cv2.imwrite(str(path), np.full((192, 256), 9, np.uint8))
    assert run_tool('browse_dataset', 'deeplabv3_sample', '--num', 9) == 1
    text = capsys.readouterr().out
    assert '(9 = NO CLASS)' in text and 'labels 9 belong to no class' in text
    assert 'not drawn: mask ' in text and '5 images in' in text


def test_no_data(run_tool, tmp_path, monkeypatch, capsys):
    pytest.importorskip('mmdet')
    monkeypatch.chdir(tmp_path)
    assert run_tool('browse_dataset', 'ssdlite_sample') == 2
    assert 'mnv2 sample' in capsys.readouterr().err


def test_boxes_are_drawn_where_they_are():
    structures = pytest.importorskip('mmdet.structures')
    inputs = torch.full((3, 200, 200), 40, dtype=torch.uint8)
    boxes = torch.tensor([[20.0, 120.0, 80.0, 180.0]])
    truth = InstanceData(bboxes=boxes, labels=torch.tensor([0]))
    for before in (False, True):
        # with Resize first, boxes are those of the original image
        shape = (400, 400) if before else (200, 200)
        sample = structures.DetDataSample(metainfo={'ori_shape': shape})
        sample.gt_instances = truth
        pipeline = [{'type': 'Resize'}, {'type': 'LoadAnnotations'}]
        visualizer = GtVisualizer(
            {'classes': ('a',), 'palette': [(255, 0, 0)]},
            pipeline if before else pipeline[::-1],
        )
        image = visualizer.draw(inputs, sample).astype(int)
        red = (image[..., 2] - image[..., 0]) > 100
        scale = image.shape[0] / shape[0]
        columns, rows = (np.flatnonzero(red.sum(axis) > 40 * scale) for axis in (0, 1))
        edges = np.array([columns[0], rows[0], columns[-1], rows[-1]]) / scale
        assert np.abs(edges - boxes[0].numpy()).max() < 4
        assert (truth.bboxes == boxes).all()  # the sample stays as it was


@pytest.mark.parametrize(
    ('unit', 'counts', 'ignore', 'expected'),
    [
        ('boxes', {0: 5, 1: 2}, None, []),
        ('boxes', {0: 5}, None, ['no boxes of: dog']),
        ('pixels', {0: 5, 1: 1, 255: 2}, 255, []),
        ('pixels', {0: 5, 255: 2}, 255, ['255 is ignored']),
        ('pixels', {0: 5, 255: 2}, 254, ['255 is no class']),
        ('pixels', {0: 5, 1: 4, 7: 1}, 255, ['labels 7 belong to no class']),
    ],
)
def test_warnings(unit, counts, ignore, expected):
    histogram = LabelHistogram(
        ('cat', 'dog'), unit, Counter(counts), ignore_index=ignore
    )
    found = histogram.warnings()
    assert len(found) == len(expected)
    for text, part in zip(found, expected, strict=True):
        assert part in text


def test_table():
    histogram = LabelHistogram(
        ('cat', 'dog'),
        'boxes',
        Counter({0: 3, 4: 1}),
        Counter({0: 2, 4: 1}),
        counted=2,
        total=5,
    )
    assert histogram.rows() == [
        ('cat', 3, 0.75, 2),
        ('dog', 0, 0.0, 0),
        ('(4 = NO CLASS)', 1, 0.25, 1),
    ]
    assert '75.0%' in str(histogram) and '2 counted, 5 in all' in str(histogram)
