"""The generated scenes: shapes on textured, cluttered backgrounds.

Boxes, masks and class labels of the sample set come from the same objects. Objects of
a class share a hue; they differ in texture, size, rotation and proportion, cover
each other in part and may extend beyond the image. Clutter without a class (bars,
crosses, arcs) is in the background. A mask holds the *visible* pixels of an object, and
its box is the tight box around them.

Shapes are filled with numpy and not with OpenCV, whose rules for pixels on an
edge differ between versions: annotations are the same on every machine.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from mnv2_mm.datasets.sample import textures

#: Class names; label 0 is the first, index masks hold the label plus one.
CLASSES = ('circle', 'square', 'triangle', 'star', 'ring')
#: Hue of each class in degrees. It is no proof of the class: where the background
#: is too near to it, an object has any color (one in twenty), and so has the clutter.
HUES = (0, 220, 120, 50, 290)
#: Object size (diameter of the enclosing circle) / shorter image side.
SIZE_RANGE = (0.30, 0.70)
#: Share of an object that has to stay visible, inside and uncovered.
MIN_VISIBLE = 0.7
#: Most objects in a scene; there is at least one.
MAX_OBJECTS = 4
#: Most pieces of clutter in a scene; there may be none.
MAX_CLUTTER = 4


@dataclass(frozen=True)
class SceneObject:
    """One object of a scene."""

    label: int  #: index into ``CLASSES``
    mask: np.ndarray  #: visible pixels, (H, W) bool
    visible: float  #: visible share of the whole shape, 0..1

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Tight box of the visible pixels: x, y, width, height."""
        return cv2.boundingRect(self.mask.astype(np.uint8))


@dataclass(frozen=True)
class Scene:
    """An image and its objects, the later ones in front."""

    image: np.ndarray  #: (H, W, 3) uint8, BGR
    objects: tuple[SceneObject, ...]

    def index_mask(self) -> np.ndarray:
        """The label map (H, W) uint8: 0 background, label + 1 elsewhere."""
        index = np.zeros(self.image.shape[:2], np.uint8)
        for item in self.objects:
            index[item.mask] = item.label + 1
        return index


def make_scene(
    rng: np.random.Generator, *, size: tuple[int, int] = (192, 144)
) -> Scene:
    """Draw one scene of (width, height) pixels; the same rng state, the same scene."""
    canvas = textures.background(rng, size=size)
    for _ in range(int(rng.integers(MAX_CLUTTER + 1))):
        _paint(rng, canvas, _clutter(rng, size=size), distance=40)

    #: label, visible mask, area of the shape, also outside the image
    placed: list[tuple[int, np.ndarray, float]] = []
    for _ in range(int(rng.integers(1, MAX_OBJECTS + 1))):
        label = int(rng.integers(len(CLASSES)))
        found = _place(rng, label, size=size, placed=placed)
        if found is None:  # no room left
            continue
        mask, whole = found
        placed = [(i, other & ~mask, total) for i, other, total in placed]
        placed.append((label, mask, whole))
        _paint(rng, canvas, mask, distance=140, hue=HUES[label])
    objects = tuple(
        SceneObject(label, mask, min(1.0, float(mask.sum()) / whole))
        for label, mask, whole in placed
    )
    return Scene(textures.photograph(rng, canvas), objects)


def outline(
    kind: str, rng: np.random.Generator, *, diameter: float
) -> list[np.ndarray]:
    """The closed polygons [(N, 2) float] of one of ``CLASSES`` around the origin.

    Polygons inside another are holes. The proportion (0.85 to 1.18) and the rotation
    are random; ``diameter`` (pixels) is that of the enclosing circle before stretching.
    """
    corners = dict(circle=64, ring=64, square=4, triangle=3, star=10)
    rings = [_regular(corners[kind])]
    if kind == 'ring':
        rings.append(_regular(64) * rng.uniform(0.45, 0.65))
    elif kind == 'star':
        rings[0][1::2] *= rng.uniform(0.38, 0.5)
    stretch = rng.uniform(0.85, 1.18)
    scale = np.array([stretch, 1 / stretch]) * diameter / 2
    turn = _rotation(rng.uniform(0, 2 * np.pi))
    # rotated before stretching too, else squares would only get longer
    first = _rotation(rng.uniform(0, 2 * np.pi))
    return [((ring @ first) * scale) @ turn for ring in rings]


def _place(
    rng: np.random.Generator,
    label: int,
    *,
    size: tuple[int, int],
    placed: list[tuple[int, np.ndarray, float]],
) -> tuple[np.ndarray, float] | None:
    """Find a place that leaves every object visible enough, in some tries.

    Returns the mask (H, W) bool and the area of the whole shape in pixels.
    """
    for _ in range(12):
        share = rng.uniform(*SIZE_RANGE)
        shape = outline(CLASSES[label], rng, diameter=share * min(size))
        center = np.array([rng.uniform(0, side) for side in size])
        mask = _rasterize(shape, center, size=size)
        whole = _area(shape)
        if mask.sum() < MIN_VISIBLE * whole:
            continue
        if all(
            (other & ~mask).sum() >= MIN_VISIBLE * total for _, other, total in placed
        ):
            return mask, whole
    return None


def _clutter(rng: np.random.Generator, *, size: tuple[int, int]) -> np.ndarray:
    """Draw a mask (H, W) bool of something that belongs to no class."""
    center = np.array([rng.uniform(0, side) for side in size])
    turn = _rotation(rng.uniform(0, 2 * np.pi))
    kind = rng.integers(3)
    if kind == 0:  # an open arc
        angles = np.linspace(0, np.radians(rng.uniform(60, 150)), 24)
        curve = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        curve = curve * rng.uniform(12, 40, 2)
        inner = curve * (1 - rng.uniform(1, 4) / np.abs(curve).max())
        shape = np.concatenate([curve, inner[::-1]])
    else:  # a bar, or two crossing ones
        shape = _bar(rng.uniform(12, 80), rng.uniform(1, 5))
        if kind == 2:
            crossing = _rasterize([shape[:, ::-1] @ turn], center, size=size)
            return crossing | _rasterize([shape @ turn], center, size=size)
    return _rasterize([shape @ turn], center, size=size)


def _paint(
    rng: np.random.Generator,
    canvas: np.ndarray,
    mask: np.ndarray,
    *,
    distance: float,
    hue: float | None = None,
) -> None:
    """Fill ``mask`` (H, W) on ``canvas`` (H, W, 3) with a random texture.

    The color is at least ``distance`` from the mean of what it covers, and of
    the ``hue`` if there is one that far. Clutter, which has no ``hue``, is as pale as
    the background. The edge is softened by one pixel.
    """
    if not mask.any():
        return
    behind = canvas[mask].mean(axis=0)
    color = textures.contrasting_color(rng, behind, distance=distance)
    if hue is None:
        color = textures.muted(color, textures.BACKGROUND_SATURATION)
    else:
        typical = textures.typical_color(rng, hue, behind, distance=distance)
        color = color if typical is None else typical
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    # only the part that changes, one pixel wider for the soft edge
    part = np.s_[max(y - 1, 0) : y + height + 1, max(x - 1, 0) : x + width + 1]
    alpha = mask[part].astype(np.float32)
    size = alpha.shape[1], alpha.shape[0]
    surface = textures.fill(rng, color, size=size, contrast=45)
    alpha = cv2.GaussianBlur(alpha, (3, 3), 0.6)[..., None]
    canvas[part] += (surface - canvas[part]) * alpha


def _rasterize(
    polygons: list[np.ndarray], center: np.ndarray, *, size: tuple[int, int]
) -> np.ndarray:
    """The pixels (H, W) bool inside ``polygons`` moved to ``center``.

    Even-odd rule at the pixels' centers, which have whole coordinates.
    """
    width, height = size
    start = np.concatenate(polygons) + center
    end = np.concatenate([np.roll(p, -1, axis=0) for p in polygons]) + center
    y = np.arange(height)[:, None]
    crosses = (start[:, 1] <= y) != (end[:, 1] <= y)  # (H, edges)
    rows, edges = np.nonzero(crosses)
    (x0, y0), (x1, y1) = start[edges].T, end[edges].T
    x = x0 + (rows - y0) / (y1 - y0) * (x1 - x0)
    columns = np.clip(np.ceil(x), 0, width).astype(int)
    # every crossing switches the rest of its row between outside and inside
    turns = np.zeros((height, width + 1), np.int32)
    np.add.at(turns, (rows, columns), 1)
    return np.cumsum(turns[:, :width], axis=1) % 2 == 1


def _area(polygons: list[np.ndarray]) -> float:
    """The area in pixels of a polygon minus that of its holes."""
    outer, *holes = (
        abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2
        for x, y in (points.T for points in polygons)
    )
    return float(outer - sum(holes))


def _bar(length: float, width: float) -> np.ndarray:
    """The corners (4, 2) of a bar around the origin."""
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    return signs * np.array([length, width]) / 2


def _regular(corners: int) -> np.ndarray:
    """The corners (N, 2) of a regular polygon in the unit circle."""
    angles = np.arange(corners) * (2 * np.pi / corners)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _rotation(angle: float) -> np.ndarray:
    """The matrix (2, 2) that turns row vectors by ``angle`` radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, sin], [-sin, cos]])
