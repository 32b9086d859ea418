"""Decoding after the crop: the same pixels, or at a reduced scale nearly."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import TRANSFORMS, DefaultScope
from PIL import Image

from mnv2_mm.datasets import LoadImage
from mnv2_mm.datasets.transforms.deferred import (
    REDUCED,
    DeferredPicture,
    size_of,
)
from mnv2_mm.datasets.transforms.distorted_box import Window
from mnv2_mm.utils.errors import InputError

HEIGHT, WIDTH = 250, 333  # no multiples of eight


@pytest.fixture(scope='module')
def pixels():
    """So smooth that shrinking by eight loses little."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (HEIGHT // 32, WIDTH // 32, 3), np.uint8)
    return cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope='module')
def path(pixels, tmp_path_factory):
    path = tmp_path_factory.mktemp('deferred') / 'a.jpg'
    cv2.imwrite(str(path), pixels, [cv2.IMWRITE_JPEG_QUALITY, 97])
    return path


def load(path, **settings) -> dict:
    entry = dict(type='mnv2_mm.LoadImage', **settings)
    return TRANSFORMS.build(entry)(dict(img_path=str(path)))


def cv2_window(whole, window, color) -> np.ndarray:
    """The window of a canvas that is filled pixel by pixel."""
    left, top, right, bottom = window
    found = np.empty((bottom - top, right - left, 3), np.uint8)
    found[:] = 0 if color is None else np.array(color).astype(np.uint8)
    for row in range(max(top, 0), min(bottom, HEIGHT)):
        for column in range(max(left, 0), min(right, WIDTH)):
            found[row - top, column - left] = whole[row, column]
    return found


#: Windows of the image; beyond it where there is a canvas.
WINDOWS = {
    'whole': (0, 0, WIDTH, HEIGHT),
    'odd corner': (37, 21, 250, 203),
    'canvas': (-201, -77, 500, 501),
    'canvas, right of it': (333, -50, 433, 50),
    'canvas, a strip': (-100, 40, 61, 90),
}


def deferred_window(image, name):
    if name.startswith('canvas'):
        image = image.on_canvas((900, 1100), 300, 200, (9.6, 127.5, 250))
        left, top, right, bottom = (
            v + (300, 200)[i % 2] for i, v in enumerate(WINDOWS[name])
        )
        return image[top:bottom, left:right]
    left, top, right, bottom = WINDOWS[name]
    return image[top:bottom, left:right]


@pytest.mark.parametrize('name', WINDOWS)
def test_full_scale_is_the_same_to_the_last_bit(path, name):
    image = load(path, deferred=True)['img']
    image = deferred_window(image, name)
    whole = cv2.imread(str(path))
    wanted = cv2_window(whole, WINDOWS[name], image.color)
    assert image.shape == wanted.shape
    for size in ((191, 299), (1, 600), wanted.shape[1::-1]):
        resized = cv2.resize(wanted, size)
        assert (image.resized(size) == resized).all()
    nearest = cv2.resize(wanted, (20, 20), interpolation=cv2.INTER_NEAREST)
    assert (image.resized((20, 20), 'nearest') == nearest).all()


@pytest.mark.parametrize('name', ['whole', 'odd corner', 'canvas'])
@pytest.mark.parametrize('factor', [2, 4, 8])
def test_reduced_scale_is_where_full_scale_is(path, name, factor):
    """An offset of a pixel of the result would be many times the bound.

    The bound is for the smooth image, of which shrinking loses little.
    """
    image = deferred_window(load(path, deferred=True)['img'], name)
    height, width = image.shape[:2]
    size = int(width / factor / 1.2), int(height / factor / 1.1)
    asked = []
    decode = image.decode
    watched = dataclasses.replace(
        image, decode=lambda factor: asked.append(factor) or decode(factor)
    )
    found = watched.resized(size).astype(float)
    assert asked == [factor]
    full = cv2_window(cv2.imread(str(path)), WINDOWS[name], image.color)
    # averaged over its area, as a reduced decoding does
    wanted = cv2.resize(full, size, interpolation=cv2.INTER_AREA)
    off = np.abs(found - wanted).mean()
    moved = np.abs(found[1:, 1:] - wanted[:-1, :-1]).mean()
    assert off < 4
    assert moved > 2.5 * off


@pytest.mark.parametrize('name', ['whole', 'odd corner'])
@pytest.mark.parametrize('factor', [2, 4, 8])
@pytest.mark.parametrize('axis', [0, 1])
def test_a_reduced_scale_is_off_by_a_third_of_a_pixel_at_most(
    axis, name, factor, tmp_path
):
    """The values of a ramp tell where they come from.

    Rounding (JPEG's, the sampling's) has no preference, so that the mean
    tells more than a pixel. Without the half pixels in the geometry it is
    off by (factor - 1) / 2.
    """
    slope = 0.7
    ramp = (np.mgrid[:HEIGHT, :WIDTH][axis] * slope + 10).round()
    path = tmp_path / 'ramp.jpg'
    cv2.imwrite(str(path), ramp, [cv2.IMWRITE_JPEG_QUALITY, 100])
    left, top, right, bottom = WINDOWS[name]
    size = (right - left) // factor - 3, (bottom - top) // factor - 1
    image = load(path, deferred=True)['img'][top:bottom, left:right]
    found = image.resized(size)[1:-1, 1:-1, 0].astype(float)
    found = ((found - 10) / slope).mean(axis=1 - axis)
    first, extent = [(top, bottom - top), (left, right - left)][axis]
    count = size[1 - axis]
    # the middle of the share of the window that a pixel covers
    wanted = first + (np.arange(count) + 0.5) / count * extent - 0.5
    assert abs((found - wanted[1:-1]).mean()) < 0.34


def test_what_is_cropped_away_does_not_come_back_on_a_canvas(path):
    image = load(path, deferred=True)['img'][50:90, 60:120]
    canvas = image.on_canvas((100, 200), 70, 30, (1, 2, 3))
    wanted = np.full((100, 200, 3), (1, 2, 3), np.uint8)
    wanted[30:70, 70:130] = cv2.imread(str(path))[50:90, 60:120]
    assert (canvas.resized((200, 100)) == wanted).all()
    small = cv2.resize(wanted, (50, 25))
    assert (canvas.resized((50, 25)) == small).all()  # at full scale
    with pytest.raises(InputError, match='one Expand'):
        canvas.on_canvas((300, 300), 0, 0, (0, 0, 0))


@pytest.mark.parametrize('orientation', range(1, 9))
def test_turned_photos(pixels, orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / 'turned.jpg'
    Image.fromarray(pixels[..., ::-1]).save(path, exif=exif, quality=97)
    whole = cv2.imread(str(path))
    results = load(path, deferred=True)
    assert results['img_shape'] == results['ori_shape'] == whole.shape[:2]
    image = results['img'][10:110, 20:120]
    assert (image.resized((100, 100)) == whole[10:110, 20:120]).all()
    for factor in REDUCED:
        height, width = results['img'].decode(factor).shape[:2]
        assert (height, width) == tuple(-(-s // factor) for s in whole.shape[:2])


def test_other_formats_are_decoded_at_once(pixels, tmp_path):
    path = tmp_path / 'a.png'
    cv2.imwrite(str(path), pixels)
    found = load(path, deferred=True)['img']
    assert isinstance(found, np.ndarray) and (found == pixels).all()
    assert size_of(b'\xff\xd8 no header') is None


# -- in pipelines ------------------------------------------------------------
def det_results(path) -> dict:
    boxes = [[10, 20, 200, 180], [150, 30, 390, 290], [100, 100, 130, 140]]
    return dict(
        img_path=str(path),
        instances=[
            dict(bbox=box, bbox_label=i, ignore_flag=0) for i, box in enumerate(boxes)
        ],
        gt_seg_map=np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 7,
    )


STEPS = [
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='mnv2_mm.Expand', mean=(9.6, 127.5, 250), seg_ignore_label=9),
    dict(type='mnv2_mm.MinIoURandomCrop', min_ious=(0.1,)),
]


def run(path, seed, *, size, resize='mnv2_mm.Resize', **load_settings):
    pipeline = [
        dict(type='mnv2_mm.LoadImage', **load_settings),
        *STEPS,
        dict(type=resize, scale=size, keep_ratio=False),
    ]
    np.random.seed(seed)
    results = det_results(path)
    results['gt_seg_map'] = results['gt_seg_map'].astype(np.uint8)
    with DefaultScope.overwrite_default_scope('mmdet'):
        for step in pipeline:
            results = TRANSFORMS.build(step)(results)
    return results


@pytest.mark.parametrize('seed', range(6))
@pytest.mark.parametrize('deferred', [False, True])
def test_resize_is_mmdets(path, deferred, seed):
    """Deferred too, where no reduced scale fits."""
    pytest.importorskip('mmdet.datasets')
    size = (700, 500)
    wanted = run(path, seed, size=size, resize='mmdet.Resize')
    found = run(path, seed, size=size, deferred=deferred)
    assert set(found) == set(wanted)
    assert (found['img'] == wanted['img']).all()
    assert (found['gt_seg_map'] == wanted['gt_seg_map']).all()
    boxes = found['gt_bboxes'].tensor, wanted['gt_bboxes'].tensor
    assert torch.equal(*boxes)
    for key in ('img_shape', 'scale', 'scale_factor', 'keep_ratio'):
        assert found[key] == wanted[key]
    assert found['homography_matrix'] == pytest.approx(wanted['homography_matrix'])


@pytest.mark.parametrize('seed', range(6))
def test_a_reduced_scale_keeps_boxes_and_random_numbers(path, seed):
    pytest.importorskip('mmdet.datasets')
    size = (64, 48)
    wanted = run(path, seed, size=size)
    found = run(path, seed, size=size, deferred=True)
    boxes = found['gt_bboxes'].tensor, wanted['gt_bboxes'].tensor
    assert torch.equal(*boxes)
    assert found['scale_factor'] == wanted['scale_factor']
    assert found['img'].shape == wanted['img'].shape
    off = np.abs(found['img'].astype(float) - wanted['img'])
    assert off.mean() < 6


def test_inceptions_crop_decodes_too(path):
    found = []
    for deferred in (False, True):
        np.random.seed(2)
        crop = TRANSFORMS.build(dict(type='mnv2_mm.DistortedCrop', scale=300))
        found.append(crop(load(path, deferred=deferred))['img'])
    assert (found[0] == found[1]).all()


def test_resize_of_arrays_and_masks():
    structures = pytest.importorskip('mmdet.structures.mask')
    resize = TRANSFORMS.build(dict(type='mnv2_mm.Resize', scale=40))
    bitmap = np.zeros((1, 10, 20), np.uint8)
    bitmap[:, 2:4, 5:10] = 1
    found = resize(
        dict(
            img=np.zeros((10, 20, 3), np.uint8),
            gt_bboxes=np.array([[5, 2, 10, 4], [15, 8, 25, 12]], np.float32),
            gt_masks=structures.BitmapMasks(bitmap, 10, 20),
        )
    )
    assert found['img'].shape == (40, 40, 3)
    assert found['gt_bboxes'].tolist() == [[10, 8, 20, 16], [30, 32, 40, 40]]
    assert found['gt_masks'].masks.shape == (1, 40, 40)
    assert found['gt_masks'].masks.sum() == 2 * 5 * 8
    assert 'scale=(40, 40)' in repr(resize)


# -- errors ------------------------------------------------------------------
@pytest.mark.parametrize(
    ('build', 'expected'),
    [
        (
            lambda: LoadImage(deferred=True, ignore_empty=True),
            'ignore_empty=False',
        ),
        (
            lambda: LoadImage(deferred=True, color_type='grayscale'),
            "color_type='color'",
        ),
        (
            lambda: TRANSFORMS.build(
                dict(type='mnv2_mm.Resize', scale=9, keep_ratio=True)
            ),
            'keep_ratio=True',
        ),
        (
            lambda: TRANSFORMS.build(dict(type='mnv2_mm.Resize', scale=(0, 9))),
            r'scale=\(0, 9\)',
        ),
    ],
)
def test_wrong_arguments_are_named(build, expected):
    with pytest.raises(InputError, match=expected):
        build()


def test_other_transforms_say_what_is_wrong(path):
    image = load(path, deferred=True)['img']
    with pytest.raises(InputError, match='before it a pipeline can have'):
        np.flip(image, 1) + np.ones(3)
    with pytest.raises(InputError, match='before it a pipeline can have'):
        np.asarray(image)


def test_a_image_that_breaks_late_is_named(tmp_path):
    """The header is whole, the rest is not to be decoded."""

    def decode(factor):
        return LoadImage()._decoded(b'\xff\xd8abc\xff\xd9', 'bird.jpg', 'color')

    image = DeferredPicture(decode, (9, 9), Window(0, 0, 9, 9))
    with pytest.raises(InputError, match=r'bird\.jpg cannot be decoded'):
        image.resized((9, 9))
