"""Drawing: labels beside each other, sizes that follow the image, colors, legends."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnv2_mm.runtime.drawing import (
    beside,
    default_palette,
    draw,
    place_labels,
    text_color,
)

RED = (250, 0, 0)
INFO = {'classes': ['background', 'dog', 'Käfer'], 'palette': [RED] * 3}


def gray(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 90, np.uint8)


def red(image: np.ndarray) -> np.ndarray:
    return image[..., 2].astype(int) - image[..., 0] > 100


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(5, 300), st.integers(5, 300)),
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(0, 60),
)
def test_labels_neither_overlap_nor_leave_the_image(
    shape: tuple[int, int], seed: int, count: int
) -> None:
    random = np.random.default_rng(seed)
    boxes = np.sort(random.uniform(-20, 320, (count, 2, 2)), axis=1).reshape(-1, 4)
    sizes = random.integers(1, (80, 20), (count, 2))
    places = place_labels(boxes, sizes, shape)
    canvas = np.zeros(shape, int)
    for (x1, y1, x2, y2), size in zip(places, sizes, strict=True):
        if x2:
            assert [x2 - x1, y2 - y1] == size.tolist()
            assert min(x1, y1) >= 0 and x2 <= shape[1] and y2 <= shape[0]
            canvas[y1:y2, x1:x2] += 1
    assert canvas.max(initial=0) <= 1


def test_the_first_label_stands_on_its_box_and_the_second_moves() -> None:
    boxes = np.array([[50, 50, 150, 150], [50, 50, 150, 150], [0, 0, 99, 99]])
    places = place_labels(boxes, np.array([[40, 12]] * 3), (200, 200))
    assert places[0].tolist() == [50, 38, 90, 50]
    assert places[1, 2] and places[1].tolist() != places[0].tolist()
    assert places[2].tolist() == [0, 0, 40, 12]  # no room above


def test_text_and_lines_take_the_same_part_of_small_and_large_images() -> None:
    parts = []
    for width in (640, 4000):
        image, scale = gray(width * 3 // 4, width), width / 640
        box = np.array([[100, 100, 400, 400]]) * scale
        one = np.array([1])
        drawn = draw(image, dict(boxes=box, labels=one, scores=one / 2), INFO)
        assert drawn.shape == image.shape and (image == 90).all()
        parts.append(red(drawn).mean())
        line = red(drawn)[round(300 * scale)][: round(200 * scale)].sum()
        assert 0.004 < line / width < 0.008
    assert parts[1] == pytest.approx(parts[0], rel=0.3)


def test_small_images_are_enlarged_with_their_boxes() -> None:
    found = dict(boxes=np.array([[24.0, 24, 72, 72]]), labels=np.array([1]))
    drawn = draw(gray(96, 96), found, INFO)
    assert drawn.shape == (480, 480, 3)
    columns = np.flatnonzero(red(drawn).sum(0) > 200)
    assert columns[0] == pytest.approx(120, abs=3)
    assert columns[-1] == pytest.approx(360, abs=3)


def test_boxes_below_the_threshold_are_left_out() -> None:
    found = dict(boxes=np.array([[9.0, 9, 400, 400]]), labels=np.array([1]))
    scored = {**found, 'scores': np.array([0.2])}
    assert not red(draw(gray(480, 480), scored, INFO)).any()
    assert red(draw(gray(480, 480), scored, INFO, score_thr=0.1)).any()


def luminance(color: tuple[int, int, int]) -> float:
    parts = [c / 255 for c in color]
    parts = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return float(np.dot(parts, (0.0722, 0.7152, 0.2126)))


@given(fill=st.tuples(*[st.integers(0, 255)] * 3))
def test_text_has_the_contrast_that_wcag_asks_for(fill: tuple[int, int, int]) -> None:
    low, high = sorted(map(luminance, (fill, text_color(fill))))
    assert (high + 0.05) / (low + 0.05) > 4.4


def test_default_colors_differ() -> None:
    colors = np.array(default_palette(21))
    gaps = np.abs(colors[:, None] - colors[None]).sum(-1) + 999 * np.eye(21, dtype=int)
    assert gaps.min() > 40


def test_masks_color_classes_but_not_background_or_ignored_pixels() -> None:
    mask = np.zeros((48, 64), int)
    mask[24:, :32], mask[24:, 32:] = 1, 255
    drawn = draw(gray(480, 640), {'mask': mask}, INFO)
    assert drawn[400, 100].tolist() == [45, 45, 170]
    assert drawn[400, 500].tolist() == drawn[100, 500].tolist() == [90, 90, 90]
    assert drawn[240, 320].tolist() == [255, 255, 255]  # border
    assert red(drawn[:60, :60]).any()  # legend


@pytest.mark.parametrize('count', [3, 21, 400])
def test_the_legend_fits(count: int) -> None:
    mask = np.arange(480 * 640).reshape(480, 640) % count
    for classes in ([f'class of {i}' for i in range(count)], ['x' * 200] * count, ()):
        drawn = draw(gray(480, 640), {'mask': mask}, {'classes': classes})
        assert drawn.shape == (480, 640, 3)
        assert (drawn[60, 30:90].min(-1) < 70).any() and (drawn[-5:].max(-1) > 70).all()


def test_bars_of_the_best_classes_follow_their_probabilities() -> None:
    info = {'classes': list('abcdefg'), 'palette': [RED] * 7}
    shares = np.array([0.0, 0.4, 0.1, 0.0, 0.5, 0.0, 0.0])
    bars = red(draw(gray(480, 640), {'probabilities': shares}, info)).sum(1)
    ends = np.flatnonzero(np.diff(np.pad(bars, 1)) < 0)
    lengths = [bars[end - 1] for end in ends if bars[end - 1] > 2]
    assert np.array(lengths) / lengths[0] == pytest.approx([1, 0.8, 0.2], abs=0.05)
    truth = draw(gray(480, 640), {'labels': np.array([2])}, info)
    assert red(truth).any()


def test_titles_stand_above_the_images() -> None:
    images = {'PyTorch': gray(480, 640), 'a long title ' * 20: gray(480, 640)}
    drawn = beside(images)
    assert drawn.shape[1] > 1280 and (drawn[-480:, :640] == 90).all()
    strip = drawn[:-480, :640]
    assert strip.max() > 200 and (drawn[-480:, 640:-640] == 255).all()


@pytest.mark.parametrize('shape', [(1, 1), (1, 3000), (3000, 1), (5, 400)])
def test_unusual_images_and_numbers(shape: tuple[int, int]) -> None:
    wrong = np.array([[0, 0, 9, 9], [1e30, -np.inf, np.nan, 3]], np.float32)
    labels = np.array([1, 70])
    boxes = dict(boxes=wrong, labels=labels, scores=np.array([0.9, np.nan]))
    for found in (
        boxes,
        dict(boxes=wrong, labels=labels),
        dict(boxes=wrong[:0], labels=labels[:0]),
        dict(mask=np.ones(shape, np.int64)),
        dict(probabilities=np.ones(3, np.float32) / 3),
    ):
        image = np.zeros((*shape, 3), np.uint8)
        drawn = beside({'prediction': draw(image, found, INFO)})
        assert drawn.dtype == np.uint8 and drawn.ndim == 3


def test_colors_of_other_classes_are_not_taken() -> None:
    """mmdet's CocoDataset keeps the 80 colors of COCO for a set of two classes."""
    found = dict(boxes=np.array([[5, 5, 40, 40]]), labels=np.array([1]))
    classes = {'classes': ('cell', 'platelet')}
    expected = draw(gray(64, 64), found, classes)
    other = draw(gray(64, 64), found, {**classes, 'palette': [(119, 11, 32)] * 80})
    np.testing.assert_array_equal(other, expected)
    own = draw(gray(64, 64), found, {**classes, 'palette': [(119, 11, 32)] * 2})
    assert (own != expected).any()
