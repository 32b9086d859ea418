"""The generated scenes: shapes on textured, cluttered backgrounds.

A scene is a picture and the objects in it. Boxes, masks and class labels of
the sample set are all read off the same objects, so the three tasks see the
same truth. Objects differ in colour, texture, size (12 to 60 % of the
picture's shorter side), rotation and proportion, cover one another in part
and may stick out of the picture. Clutter that belongs to no class (bars,
arcs, crosses, half discs, small bits) lies behind them.

A mask holds the *visible* pixels of an object, and its box is the tight box
around those pixels: what an annotator could draw who sees the picture only.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from mnv2_mm.datasets import sample_textures as textures

#: Class names; label 0 is the first, index masks hold the label plus one.
CLASSES = ('circle', 'square', 'triangle', 'star', 'ring')
#: Object size (diameter of the enclosing circle) / shorter picture side.
SIZE_RANGE = (0.12, 0.60)
#: Share of an object that has to stay visible, inside and uncovered.
MIN_VISIBLE = 0.6
#: Most objects in a scene; there is at least one.
MAX_OBJECTS = 6

_SUBPIXEL_BITS = 4  # cv2 takes vertices as fixed-point numbers


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
    """A picture and its objects, the later ones in front."""

    image: np.ndarray  #: (H, W, 3) uint8, BGR
    objects: tuple[SceneObject, ...]

    def index_mask(self) -> np.ndarray:
        """The label map (H, W) uint8: 0 background, label + 1 elsewhere."""
        index = np.zeros(self.image.shape[:2], np.uint8)
        for item in self.objects:
            index[item.mask] = item.label + 1
        return index


def make_scene(
    rng: np.random.Generator, *, size: tuple[int, int] = (256, 192)
) -> Scene:
    """Draw one scene.

    Args:
        rng: the only source of randomness; the same state gives the same
            scene.
        size: (width, height) in pixels.
    """
    canvas = textures.background(rng, size=size)
    for _ in range(int(rng.integers(3, 13))):
        _paint(rng, canvas, _clutter(rng, size=size), distance=40)

    wholes: list[float] = []  # area of each shape, also outside the picture
    labels: list[int] = []
    masks: list[np.ndarray] = []
    for _ in range(int(rng.integers(1, MAX_OBJECTS + 1))):
        label = int(rng.integers(len(CLASSES)))
        placed = _place(rng, label, size=size, masks=masks, wholes=wholes)
        if placed is None:  # no room left
            continue
        mask, whole = placed
        masks = [other & ~mask for other in masks]
        _paint(rng, canvas, mask, distance=110)
        labels.append(label)
        masks.append(mask)
        wholes.append(whole)

    objects = tuple(
        SceneObject(label, mask, min(1.0, float(mask.sum()) / whole))
        for label, mask, whole in zip(labels, masks, wholes, strict=True)
    )
    return Scene(textures.photograph(rng, canvas), objects)


def outline(
    kind: str, rng: np.random.Generator, *, diameter: float
) -> list[np.ndarray]:
    """The closed polygons [(N, 2) float] of a shape around the origin.

    Polygons inside another are holes. The proportion (0.85 to 1.18) and the
    rotation are random.

    Args:
        kind: one of ``CLASSES``.
        rng: source of randomness.
        diameter: of the enclosing circle before stretching, in pixels.
    """
    if kind == 'circle':
        rings = [_regular(64)]
    elif kind == 'ring':
        rings = [_regular(64), _regular(64) * rng.uniform(0.45, 0.65)]
    elif kind == 'square':
        rings = [_regular(4)]
    elif kind == 'triangle':
        rings = [_regular(3)]
    elif kind == 'star':
        star = _regular(10)
        star[1::2] *= rng.uniform(0.38, 0.5)
        rings = [star]
    else:
        raise ValueError(f'shape {kind!r} is not one of {CLASSES}')
    stretch = rng.uniform(0.85, 1.18)
    scale = np.array([stretch, 1 / stretch]) * diameter / 2
    turn = _rotation(rng.uniform(0, 2 * np.pi))
    # turned before it is stretched too, or squares would only get longer
    first = _rotation(rng.uniform(0, 2 * np.pi))
    return [((ring @ first) * scale) @ turn for ring in rings]


def _place(
    rng: np.random.Generator,
    label: int,
    *,
    size: tuple[int, int],
    masks: list[np.ndarray],
    wholes: list[float],
) -> tuple[np.ndarray, float] | None:
    """Find a place that leaves every object visible enough.

    Returns:
        The mask (H, W) bool and the area of the whole shape in pixels, or
        None when some tries found no such place.
    """
    for _ in range(12):
        share = rng.uniform(*SIZE_RANGE)
        shape = outline(CLASSES[label], rng, diameter=share * min(size))
        centre = np.array([rng.uniform(0, side) for side in size])
        mask = _rasterise(shape, centre, size=size)
        whole = _area(shape)
        if mask.sum() < MIN_VISIBLE * whole:
            continue
        if all(
            (other & ~mask).sum() >= MIN_VISIBLE * total
            for other, total in zip(masks, wholes, strict=True)
        ):
            return mask, whole
    return None


def _clutter(rng: np.random.Generator, *, size: tuple[int, int]) -> np.ndarray:
    """The mask (H, W) bool of something that belongs to no class."""
    mask = np.zeros((size[1], size[0]), np.uint8)
    centre = np.array([rng.uniform(0, side) for side in size])
    kind = rng.integers(5)
    x, y = (int(value) for value in centre)
    if kind == 0:  # a line
        end = [int(rng.uniform(0, side)) for side in size]
        cv2.line(mask, (x, y), end, 1, int(rng.integers(1, 4)))
    elif kind == 1:  # an open arc
        axes = [int(value) for value in rng.integers(8, 40, 2)]
        start = float(rng.uniform(0, 360))
        stop = start + float(rng.uniform(60, 190))
        cv2.ellipse(
            mask, (x, y), axes, 0, start, stop, 1, int(rng.integers(1, 4))
        )
    elif kind == 2:  # a bar, or two crossing ones
        corners = _regular(4) @ _rotation(np.pi / 4)
        bar = corners * np.array([rng.uniform(8, 40), rng.uniform(1.5, 4)])
        turn = _rotation(rng.uniform(0, np.pi))
        crossing = bar[:, ::-1] if rng.uniform() < 0.5 else bar
        return _rasterise([bar @ turn], centre, size=size) | _rasterise(
            [crossing @ turn], centre, size=size
        )
    elif kind == 3:  # a half disc
        disc = _regular(64)[:33] * rng.uniform(6, 24)
        disc = disc @ _rotation(rng.uniform(0, 2 * np.pi))
        return _rasterise([disc], centre, size=size)
    else:  # scattered small bits
        for _ in range(int(rng.integers(3, 12))):
            at = centre + rng.normal(0, 24, 2)
            bit = rng.uniform(-4, 4, (int(rng.integers(3, 6)), 2))
            mask |= _rasterise([bit], at, size=size)
    return mask.astype(bool)


def _paint(
    rng: np.random.Generator,
    canvas: np.ndarray,
    mask: np.ndarray,
    *,
    distance: float,
) -> None:
    """Fill ``mask`` (H, W) on ``canvas`` (H, W, 3) with a random texture.

    The colour is at least ``distance`` from the mean of what it covers; the
    edge is softened by one pixel.
    """
    if not mask.any():
        return
    behind = canvas[mask].mean(axis=0)
    colour = textures.contrasting_colour(rng, behind, distance=distance)
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    # only the part that changes, one pixel wider for the soft edge
    part = np.s_[max(y - 1, 0) : y + height + 1, max(x - 1, 0) : x + width + 1]
    alpha = mask[part].astype(np.float32)
    size = alpha.shape[1], alpha.shape[0]
    surface = textures.fill(rng, colour, size=size, contrast=60)
    alpha = cv2.GaussianBlur(alpha, (3, 3), 0.6)[..., None]
    canvas[part] += (surface - canvas[part]) * alpha


def _rasterise(
    polygons: list[np.ndarray],
    centre: np.ndarray | float,
    *,
    size: tuple[int, int],
) -> np.ndarray:
    """The pixels (H, W) bool inside ``polygons`` moved to ``centre``."""
    mask = np.zeros((size[1], size[0]), np.uint8)
    unit = 1 << _SUBPIXEL_BITS
    fixed = [
        np.rint((points + centre) * unit).astype(np.int32)
        for points in polygons
    ]
    cv2.fillPoly(mask, fixed, 1, cv2.LINE_8, _SUBPIXEL_BITS)
    return mask.astype(bool)


def _area(polygons: list[np.ndarray]) -> float:
    """The area in pixels of a polygon minus that of its holes."""
    outer, *holes = (
        cv2.contourArea(points.astype(np.float32)) for points in polygons
    )
    return outer - sum(holes)


def _regular(corners: int) -> np.ndarray:
    """The corners (N, 2) of a regular polygon in the unit circle."""
    angles = np.arange(corners) * (2 * np.pi / corners)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _rotation(angle: float) -> np.ndarray:
    """The matrix (2, 2) that turns row vectors by ``angle`` radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, sin], [-sin, cos]])
