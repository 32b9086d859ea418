"""The generated sample set: deterministic, and the three tasks agree."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mnv2_mm.datasets.sample import textures as sample_textures
from mnv2_mm.datasets.sample import writer as sample_writer
from mnv2_mm.datasets.sample.scenes import CLASSES, MIN_VISIBLE, make_scene, outline
from mnv2_mm.datasets.sample.writer import (
    SampleSettings,
    crop_around,
    run_lengths,
    write_sample_set,
)
from mnv2_mm.utils.errors import InputError

SMALL = SampleSettings(train=5, val=3)
#: Of the training annotations of SMALL, generator version 8.
ANNOTATIONS_SHA256 = '3568661cebd7591bcce6b5feaec77d1ab8e11a7a5f50907c06b49908683e3456'


@pytest.fixture(scope='module')
def sample(tmp_path_factory):
    out = tmp_path_factory.mktemp('data') / 'sample'
    assert write_sample_set(out, SMALL)
    return out


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }


def test_annotations_are_the_same_on_every_machine(sample):
    """Unlike images, whose encoding depends on OpenCV's version."""
    text = (sample / 'annotations/train.json').read_bytes()
    assert hashlib.sha256(text).hexdigest() == ANNOTATIONS_SHA256


def test_same_seed_same_bytes(sample, tmp_path):
    write_sample_set(tmp_path / 'again', SMALL)
    assert content(sample) == content(tmp_path / 'again')


def test_another_seed_another_set(sample, tmp_path):
    write_sample_set(tmp_path / 'other', SampleSettings(5, train=1, val=1))
    name = 'images/train/00000.jpg'
    assert content(sample)[name] != content(tmp_path / 'other')[name]


def test_an_image_does_not_depend_on_the_number_of_images(sample, tmp_path):
    write_sample_set(tmp_path / 'one', SampleSettings(train=1, val=1))
    for name, data in content(tmp_path / 'one').items():
        if name.startswith(('images', 'masks', 'classify')):
            assert content(sample)[name] == data


@pytest.mark.parametrize('split', ['train', 'val'])
def test_boxes_masks_and_crops_agree(sample, split):
    coco = json.loads((sample / f'annotations/{split}.json').read_text())
    names = {row['id']: row['name'] for row in coco['categories']}
    assert tuple(names[i + 1] for i in range(len(CLASSES))) == CLASSES
    assert len(coco['images']) == getattr(SMALL, split)
    assert [row['id'] for row in coco['annotations']] == list(
        range(1, len(coco['annotations']) + 1)
    )
    for image in coco['images']:
        photo = cv2.imread(str(sample / 'images' / split / image['file_name']))
        assert photo.shape == (image['height'], image['width'], 3)
        stem = Path(image['file_name']).stem
        index = cv2.imread(str(sample / f'masks/{split}/{stem}.png'), -1)
        assert index.shape == photo.shape[:2]
        rebuilt = np.zeros_like(index)
        for row in coco['annotations']:
            if row['image_id'] != image['id']:
                continue
            mask = decode(row['segmentation'])
            assert not (rebuilt[mask]).any()  # visible parts are disjoint
            rebuilt[mask] = row['category_id']
            assert row['area'] == mask.sum()
            ys, xs = np.nonzero(mask)
            assert row['bbox'] == [
                xs.min(),
                ys.min(),
                xs.max() - xs.min() + 1,
                ys.max() - ys.min() + 1,
            ]
        assert (rebuilt == index).all()
    for path in (sample / 'classify' / split).glob('*/*.jpg'):
        stem, number, _ = path.stem.split('_')
        rows = [row for row in coco['annotations'] if row['image_id'] == int(stem) + 1]
        assert names[rows[int(number)]['category_id']] == path.parent.name
        side = SMALL.crop_size
        assert cv2.imread(str(path)).shape == (side, side, 3)


def decode(segmentation: dict) -> np.ndarray:
    height, width = segmentation['size']
    counts = segmentation['counts']
    values = np.arange(len(counts)) % 2
    return np.repeat(values, counts).reshape(width, height).T.astype(bool)


def test_run_lengths_are_those_of_pycocotools():
    coco_mask = pytest.importorskip('pycocotools.mask')
    rng = np.random.default_rng(0)
    for mask in (rng.uniform(size=(7, 5)) < 0.5, np.ones((3, 4), bool)):
        rle = {'size': list(mask.shape), 'counts': run_lengths(mask)}
        encoded = coco_mask.frPyObjects(rle, *mask.shape)
        assert (coco_mask.decode(encoded).astype(bool) == mask).all()


def test_scenes_are_not_trivial():
    scenes = [make_scene(np.random.default_rng([7, i])) for i in range(40)]
    objects = [item for scene in scenes for item in scene.objects]
    assert {item.label for item in objects} == set(range(len(CLASSES)))
    assert all(item.visible >= MIN_VISIBLE for item in objects)
    covered = np.mean([item.visible < 0.98 for item in objects])
    assert 0.1 < covered < 0.9
    sides = [max(item.box[2:]) / 144 for item in objects]
    assert min(sides) < 0.33 and max(sides) > 0.6
    assert np.mean([len(scene.objects) for scene in scenes]) > 2
    # background is textured: no image is flat where no object is
    for scene in scenes:
        bare = scene.image[scene.index_mask() == 0]
        assert bare.std(axis=0).max() > 4


def test_objects_stand_out():
    """The mean color inside differs from that of the edge around it."""
    apart = []
    for i in range(30):
        scene = make_scene(np.random.default_rng([8, i]))
        for item in scene.objects:
            mask = item.mask.astype(np.uint8)
            around = cv2.dilate(mask, np.ones((9, 9), np.uint8)) - mask
            inside = scene.image[item.mask].mean(axis=0)
            outside = scene.image[around.astype(bool)].mean(axis=0)
            apart.append(np.linalg.norm(inside - outside))
    assert np.quantile(apart, 0.05) > 60


@pytest.mark.parametrize('kind', CLASSES)
def test_outline_fits_its_circle(kind):
    polygons = outline(kind, np.random.default_rng(0), diameter=100)
    assert len(polygons) == (2 if kind == 'ring' else 1)
    assert 80 < 2 * np.linalg.norm(polygons[0], axis=1).max() < 120


@pytest.mark.parametrize('kind', sample_textures.TEXTURES)
def test_textures_are_weights(kind):
    rng = np.random.default_rng(0)
    weights = sample_textures.weights(kind, rng, size=(40, 30))
    assert weights.shape == (30, 40) and weights.dtype == np.float32
    assert 0 <= weights.min() <= weights.max() <= 1
    assert kind == 'plain' or weights.max() - weights.min() > 0.3


def test_crop_shows_its_object():
    scene = make_scene(np.random.default_rng(3))
    for index, item in enumerate(scene.objects):
        crop = crop_around(scene, index, np.random.default_rng(0), size=64)
        assert crop.shape == (64, 64, 3)
        inside = scene.image[item.mask].mean(axis=0)
        near = np.abs(crop.astype(float) - inside).sum(axis=2) < 120
        assert near.mean() > 0.08


def test_second_run_keeps_the_set(sample):
    before = (sample / 'meta.json').stat().st_mtime_ns
    assert not write_sample_set(sample, SMALL)
    assert (sample / 'meta.json').stat().st_mtime_ns == before


def test_other_settings_need_force(tmp_path):
    out = tmp_path / 'set'
    small = SampleSettings(train=1, val=1)
    write_sample_set(out, small)
    other = SampleSettings(seed=1, train=1, val=1)
    with pytest.raises(InputError, match=r'seed 0 instead of 1.*--force'):
        write_sample_set(out, other)
    assert write_sample_set(out, other, force=True)
    assert json.loads((out / 'meta.json').read_text())['seed'] == 1
    assert os.listdir(tmp_path) == ['set']


def test_a_foreign_folder_is_never_replaced(tmp_path):
    (tmp_path / 'thesis.tex').write_text('years of work')
    with pytest.raises(InputError, match='not a generated sample set'):
        write_sample_set(tmp_path, SMALL, force=True)
    assert (tmp_path / 'thesis.tex').read_text() == 'years of work'


def test_killed_midway_leaves_no_partial_set(tmp_path):
    out = tmp_path / 'set'
    code = (
        'import os, sys\n'
        'from mnv2_mm.datasets.sample.writer import SampleSettings, write_sample_set\n'
        'def die(done, total):\n'
        '    if done == 2: os._exit(9)\n'  # no clean-up runs, as with kill -9
        f'write_sample_set({str(out)!r}, SampleSettings(train=3, val=1),'
        ' progress=die)\n'
    )
    root = Path(sample_writer.__file__).parents[2]
    env = {**os.environ, 'PYTHONPATH': str(root)}
    result = subprocess.run([sys.executable, '-c', code], env=env)
    assert result.returncode == 9
    assert not out.exists() and len(os.listdir(tmp_path)) == 1
    write_sample_set(out, SampleSettings(train=1, val=1))
    assert os.listdir(tmp_path) == ['set']  # leftovers are gone too


def test_an_error_midway_keeps_the_old_set(tmp_path):
    out = tmp_path / 'set'
    write_sample_set(out, SampleSettings(train=1, val=1))

    def fail(done, total):
        raise OSError('disk full')

    with pytest.raises(OSError, match='disk full'):
        write_sample_set(out, SampleSettings(train=2, val=1), force=True, progress=fail)
    assert json.loads((out / 'meta.json').read_text())['train'] == 1
    assert os.listdir(tmp_path) == ['set']


@pytest.mark.parametrize(('name', 'value'), [('train', 0), ('width', 8), ('seed', -1)])
def test_bad_settings_are_named(name, value):
    with pytest.raises(InputError, match=f'{name} is {value}; the least is'):
        SampleSettings(**{name: value})
