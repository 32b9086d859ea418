"""SSD's random crop in TensorFlow's version."""

import numpy as np
import pytest
from mmengine.registry import TRANSFORMS

from mnv2_mm.datasets import SSDRandomCrop
from mnv2_mm.datasets.transforms.geometry import Window
from mnv2_mm.datasets.transforms.ssd_random_crop import SETTINGS, inside
from mnv2_mm.utils.errors import InputError


@pytest.fixture(autouse=True)
def _seed():
    np.random.seed(0)


WINDOW = Window(20, 10, 80, 70)  # 60 x 60
BOXES = np.array(
    [
        [30, 20, 50, 40],  # completely inside
        [10, 10, 30, 30],  # half: 10 of its 20 columns
        [70, 60, 90, 80],  # a quarter: 10 of 20 on both sides
        [0, 0, 20, 10],  # touches a corner only
        [0, 0, 100, 90],  # holds the window: 3600 of 9000
    ],
    dtype=np.float32,
)


@pytest.mark.parametrize(
    ('threshold', 'kept'),
    [
        (0.0, [0, 1, 2, 4]),
        (0.25, [0, 1, 2, 4]),
        (0.26, [0, 1, 4]),
        (0.4, [0, 1, 4]),
        (0.5, [0, 1]),
        (1.0, [0]),
    ],
)
def test_which_boxes_a_window_keeps(threshold, kept):
    assert np.flatnonzero(inside(BOXES, WINDOW, threshold)).tolist() == kept


class Fixed(SSDRandomCrop):
    """Crops every image to WINDOW."""

    def __init__(self, threshold: float) -> None:
        super().__init__(
            [dict(min_object_covered=0, overlap_thresh=threshold, random_coef=0)]
        )

    def _random_setting(self):
        return self.settings[0]

    def _random_window(self, size, corners, setting):
        assert size == (90, 100)
        return WINDOW


def results(boxes) -> dict:
    image = np.arange(90 * 100 * 3).reshape(90, 100, 3)
    return dict(
        img=image,
        img_shape=(90, 100),
        gt_bboxes=boxes,
        gt_bboxes_labels=np.arange(len(boxes)),
        gt_ignore_flags=np.arange(len(boxes)) % 2 == 1,
        gt_seg_map=image[..., 0],
    )


CLIPPED = [[10, 10, 30, 30], [0, 0, 10, 20], [50, 50, 60, 60], [0, 0, 60, 60]]


@pytest.mark.parametrize('form', ['array', 'boxes'])
def test_boxes_are_moved_and_clipped(form):
    """By hand: minus (20, 10), then cut to 60 x 60."""
    boxes = BOXES.copy()
    if form == 'boxes':
        structures = pytest.importorskip('mmdet.structures.bbox')
        boxes = structures.HorizontalBoxes(boxes)
    source = results(boxes)
    image = source['img']
    found = Fixed(0.25)(source)
    kept = getattr(found['gt_bboxes'], 'tensor', found['gt_bboxes'])
    assert type(found['gt_bboxes']) is type(boxes)
    assert kept.tolist() == CLIPPED
    assert found['gt_bboxes_labels'].tolist() == [0, 1, 2, 4]
    assert found['gt_ignore_flags'].tolist() == [False, True, False, False]
    assert found['img_shape'] == (60, 60)
    assert (found['img'] == image[10:70, 20:80]).all()
    assert (found['gt_seg_map'] == image[10:70, 20:80, 0]).all()
    # a point of the image, carried over by the homography
    moved = found['homography_matrix'] @ [25, 30, 1]
    assert moved.tolist() == [5, 20, 1]


def test_a_second_crop_adds_to_the_homography():
    first = results(BOXES[:0])
    first['homography_matrix'] = np.diag([2.0, 2.0, 1.0])
    found = Fixed(0)(first)
    # twice as large, then moved by the window's corner
    assert (found['homography_matrix'] @ [25, 30, 1]).tolist() == [30, 50, 1]


@pytest.mark.parametrize('kind', ['BitmapMasks', 'PolygonMasks'])
@pytest.mark.parametrize('count', [2, 0])
def test_masks_are_cropped_with_their_boxes(kind, count):
    structures = pytest.importorskip('mmdet.structures.mask')
    source = results(BOXES[[3, 0]][:count])
    if kind == 'BitmapMasks':
        bitmaps = np.zeros((count, 90, 100), np.uint8)
        bitmaps[-1:, 20:40, 30:50] = 1
        masks = structures.BitmapMasks(bitmaps, 90, 100)
    else:
        corner = [np.array([0.0, 0, 20, 0, 20, 10, 0, 10])]
        square = [np.array([30.0, 20, 50, 20, 50, 40, 30, 40])]
        masks = structures.PolygonMasks([corner, square][:count], 90, 100)
    source['gt_masks'] = masks
    found = Fixed(0)(source)
    masks = found['gt_masks']
    assert (masks.height, masks.width) == (60, 60)
    assert len(masks) == len(found['gt_bboxes']) == count // 2
    if count:
        box = masks.get_bboxes('hbox').tensor.tolist()
        assert box == [[10, 10, 30, 30]]


def test_the_seven_official_settings():
    shares = [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0]
    assert [s.min_object_covered for s in SETTINGS] == shares
    assert [s.overlap_thresh for s in SETTINGS] == shares
    for setting in SETTINGS:
        assert setting.aspect_ratio_range == (0.5, 2.0)
        assert setting.area_range == (0.1, 1.0)
        assert setting.random_coef == 0.15
    assert SSDRandomCrop().settings == SETTINGS


def test_statistics_of_many_crops():
    """15 % stay as they are; area and aspect keep their ranges."""
    crop = TRANSFORMS.build(dict(type='mnv2_mm.SSDRandomCrop'))
    image = np.zeros((100, 120, 3), np.uint8)
    boxes = np.array([[20, 20, 60, 60], [70, 30, 110, 90]], np.float32)
    kept, areas, aspects = 0, [], []
    for _ in range(1500):
        source = dict(img=image, gt_bboxes=boxes)
        found = crop(source)
        if 'homography_matrix' not in found:
            kept += 1
            assert found['img'] is image and found['gt_bboxes'] is boxes
            continue
        height, width = found['img_shape']
        areas.append(height * width / image[..., 0].size)
        aspects.append(width / height)
    assert kept / 1500 == pytest.approx(0.15, abs=0.03)
    assert min(areas) >= 0.1 and min(areas) < 0.11 and max(areas) > 0.9
    assert 0.48 < min(aspects) < 0.55 and 1.8 < max(aspects) < 2.05
    assert boxes.tolist() == [[20, 20, 60, 60], [70, 30, 110, 90]]


def test_each_setting_is_drawn_as_often():
    crop = SSDRandomCrop()
    drawn = [crop._random_setting() for _ in range(7000)]
    for setting in SETTINGS:
        assert drawn.count(setting) == pytest.approx(850, rel=0.15)


@pytest.mark.parametrize('boxes', [np.zeros((0, 4), np.float32), None])
def test_an_image_without_objects(boxes):
    crop = SSDRandomCrop([dict(min_object_covered=1, overlap_thresh=1)])
    shapes = set()
    for _ in range(30):
        source = results(np.zeros((0, 4), np.float32))
        if boxes is None:
            source = dict(img=source['img'])
        found = crop(source)
        shapes.add(found['img'].shape[:2])
        if boxes is not None:
            assert found['gt_bboxes'].shape == (0, 4)
            assert len(found['gt_bboxes_labels']) == 0
    # min_object_covered=1 of the image itself: only the whole will do
    assert shapes == {(90, 100)}


@pytest.mark.parametrize(
    ('settings', 'expected'),
    [
        ([], 'settings is empty'),
        ([dict(overlap_thresh=0.5)], 'first two are required'),
        ([dict(min_object_covered=0, overlap_thresh=0, aera=1)], 'aera'),
        ([dict(min_object_covered=2, overlap_thresh=0)], 'between 0 and 1'),
        (
            [dict(min_object_covered=0, overlap_thresh=0, area_range=(0.5, 2))],
            r'area_range=\(0.5, 2\).*high <= 1',
        ),
        (
            [dict(min_object_covered=0, overlap_thresh=0, aspect_ratio_range=(2, 1))],
            'aspect_ratio_range',
        ),
    ],
)
def test_wrong_settings_are_named(settings, expected):
    with pytest.raises(InputError, match=expected):
        SSDRandomCrop(settings)


def test_other_boxes_than_horizontal_ones_are_refused():
    with pytest.raises(InputError, match=r'shape \(2, 8\)'):
        Fixed(0)(results(np.zeros((2, 8))))
