"""Figure 1 of the paper: what ReLU leaves of a manifold of two dimensions.

Section 3.2: a spiral x in the plane is embedded into n dimensions by a random
matrix T, passed through ReLU and projected back by the (pseudo-)inverse of T:

    x' = T^-1 ReLU(T x)

With n = 2 or 3 parts of the spiral collapse onto each other; with more
dimensions all of it comes back, though bent. That is why the bottleneck is
linear and ReLU is in the expansion.

The paper shows images. Two numbers are added here. ``error`` is what
differs between x and x', after the best scaling of x': ReLU halves the
length of what it lets through on average, which loses nothing. ``kept`` is
the share of points that ReLU(T x) still determines: those for which at least
two rows of T are positive, since two independent rows fix a point of the
plane (Lemma 2 asks as much of an expansion, see
:mod:`mnv2_mm.analysis.figure7`).
"""

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mnv2_mm.utils.errors import InputError

#: The dimensions of the paper's figure.
DIMENSIONS = (2, 3, 5, 15, 30)
POINTS = 2000
TURNS = 2.5
#: Turns of the spiral at its beginning, which keeps it off the origin.
_START = 0.15


class Embedding(NamedTuple):
    """A manifold that went through ReLU in n dimensions and back."""

    dimensions: int  # n
    points: np.ndarray  # x', (points, 2)
    error: float  # |x - s x'| / |x| with the best scale s, 0 to 1
    kept: float  # share of points that ReLU(T x) determines


def spiral(points: int = POINTS, turns: float = TURNS) -> np.ndarray:
    """An Archimedean spiral in the unit disk, (points, 2), inside out."""
    angle = 2 * np.pi * np.linspace(_START, turns, points)
    radius = angle / angle[-1]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def embed(
    x: np.ndarray, dimensions: int, *, seed: int = 0, relu: bool = True
) -> Embedding:
    """Send points of the plane through n dimensions and back.

    Args:
        x: (points, 2).
        dimensions: n, at least 2; fewer cannot hold the plane.
        seed: Of T, whose entries are standard normal.
        relu: Without it x comes back as it was: T has full column rank.

    Raises:
        InputError: ``dimensions`` is below 2.
    """
    if dimensions < x.shape[1]:
        raise InputError(
            f'{dimensions} dimensions cannot hold a plane; give {x.shape[1]} or more'
        )
    rng = np.random.default_rng([seed, dimensions])
    matrix = rng.standard_normal((dimensions, x.shape[1]))
    embedded = x @ matrix.T
    positive = (embedded > 0).sum(axis=1)
    if relu:
        embedded = np.maximum(embedded, 0)
    back = embedded @ np.linalg.pinv(matrix).T
    length = (back * back).sum()
    scale = (back * x).sum() / length if length else 0.0
    return Embedding(
        dimensions,
        back,
        float(np.linalg.norm(x - scale * back) / np.linalg.norm(x)),
        float((positive >= x.shape[1]).mean()) if relu else 1.0,
    )


def plot_figure1(
    path: str | os.PathLike, *, dimensions: Sequence[int] = DIMENSIONS, seed: int = 0
) -> list[Embedding]:
    """Draw the input and what comes back; returns the latter.

    Points keep the color of their place on the spiral, so that one sees
    which of them have collapsed. Every panel has its own scale.

    Raises:
        InputError: a dimension is below 2.
    """
    from matplotlib.figure import Figure

    x = spiral()
    found = [embed(x, n, seed=seed) for n in dimensions]
    figure = Figure(figsize=(2.3 * (1 + len(found)), 2.9), layout='constrained')
    panels = figure.subplots(1, 1 + len(found), squeeze=False)[0]
    texts = [
        f'n = {e.dimensions}\nkept {e.kept:.0%}, error {e.error:.2f}' for e in found
    ]
    for axes, points, text in zip(
        panels, [x, *(e.points for e in found)], ['input x\n', *texts], strict=True
    ):
        axes.plot(*points.T, color='0.8', lw=0.6, zorder=1)
        axes.scatter(*points.T, c=np.arange(len(x)), cmap='viridis', s=3, zorder=2)
        # equal scales, with the view centered on the points
        low, high = points.min(0), points.max(0)
        middle, half = (low + high) / 2, 0.56 * max(high - low)
        axes.set_xlim(middle[0] - half, middle[0] + half)
        axes.set_ylim(middle[1] - half, middle[1] + half)
        axes.set_aspect('equal')
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(text, fontsize=9)
    figure.suptitle(
        'Figure 1: a spiral x through $T^{-1}$ ReLU(T x), T random n x 2 '
        f'(seed {seed}); color: place on the spiral',
        fontsize=10,
    )
    figure.savefig(path, dpi=150)
    return found
