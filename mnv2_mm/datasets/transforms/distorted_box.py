"""TensorFlow's random window: ``tf.image.sample_distorted_bounding_box``.

Both official training recipes draw their crops by this operation: SSD
(ssd_random_crop.py) and Inception (inception_crop.py). How it draws, and how
that differs from the random crops of torchvision and the hosts:

* the aspect ratio is uniform, not its logarithm;
* the height is uniform between the smallest and the largest that the area
  allows, so large areas are rarer than with a uniform area;
* a window counts when it covers enough of *any one* object, objects being
  rectangles of whole pixels;
* after 100 failed attempts the window is the whole image.

All attempts are drawn and tested at once, which takes a fraction of a
millisecond even if many fail.
"""

import numpy as np

from mnv2_mm.datasets.transforms.geometry import Window

#: As ``max_attempts`` of the Object Detection API and of slim.
MAX_ATTEMPTS = 100


def sample_distorted_box(
    height: int,
    width: int,
    boxes: np.ndarray | None = None,
    *,
    min_object_covered: float = 0.1,
    aspect_ratio_range: tuple[float, float] = (0.75, 1.33),
    area_range: tuple[float, float] = (0.05, 1.0),
) -> Window:
    """Draw a window of an image with numpy's global generator.

    Args:
        height: Rows of the image.
        width: Columns of the image.
        boxes: Objects (n, 4) as left, top, right, bottom in pixels; without any the
            whole image is the object.
        min_object_covered: Least share of one object's area in the window.
        aspect_ratio_range: Width over height of the window.
        area_range: Area of the window over the image's.
    """
    smallest, largest = np.array(area_range) * height * width
    windows = _draw(height, width, aspect_ratio_range, smallest, largest)
    if boxes is None or not len(boxes):
        boxes = np.array([[0, 0, width, height]])
    # the conversion to whole pixels truncates
    objects = np.clip(boxes, 0, [width, height, width, height]).astype(int)
    # covered share of every object (n, m); -1 for those without a pixel
    corner = np.maximum(windows[:, None, :2], objects[None, :, :2])
    extent = np.minimum(windows[:, None, 2:], objects[None, :, 2:]) - corner
    common = extent.clip(min=0).prod(axis=2)
    area = (objects[:, 2:] - objects[:, :2]).clip(min=0).prod(axis=1)
    covered = np.where(area >= 1, common / np.maximum(area, 1), -1.0)
    found = np.flatnonzero((covered >= min_object_covered).any(axis=1))
    return (
        Window(*windows[found[0]].tolist())
        if len(found)
        else Window(0, 0, width, height)
    )


def _draw(
    height: int,
    width: int,
    aspect_ratio_range: tuple[float, float],
    smallest: float,
    largest: float,
) -> np.ndarray:
    """Draw up to ``MAX_ATTEMPTS`` windows (n, 4) with areas in pixels in a range."""
    aspect = np.random.uniform(*aspect_ratio_range, MAX_ATTEMPTS)
    low = np.rint(np.sqrt(smallest / aspect))
    high = np.minimum(np.rint(np.sqrt(largest / aspect)), height)
    # the largest height whose rounded width fits into the image
    high = np.minimum(high, np.floor((width + 0.5 - 1e-7) / aspect))
    low = np.minimum(low, high)
    rows = low + np.floor(np.random.uniform(size=MAX_ATTEMPTS) * (high - low + 1))
    # One row more or less corrects the area for rounding.
    rows += rows * np.rint(rows * aspect) < smallest
    rows -= rows * np.rint(rows * aspect) > largest
    columns = np.rint(rows * aspect)
    area = rows * columns
    fits = (smallest <= area) & (area <= largest) & (area >= 1)
    fits &= (rows <= height) & (columns <= width)
    rows, columns = rows[fits].astype(int), columns[fits].astype(int)
    # TF never draws the last offset; an offset of zero is left if it is all
    top = np.random.randint(0, np.maximum(height - rows, 1))
    left = np.random.randint(0, np.maximum(width - columns, 1))
    return np.stack([left, top, left + columns, top + rows], axis=1)
