"""Figure 1 of the paper: what ReLU leaves of a manifold of two dimensions.

Section 3.2: a spiral x in the plane is embedded into n dimensions by a random
matrix T, passed through ReLU and projected back by the (pseudo-)inverse of T:

    x' = T^-1 ReLU(T x)

With n = 2 or 3 parts of the spiral collapse onto each other; with more
dimensions all of it comes back, though bent.

Two numbers are not in the paper. ``error`` is what differs between x and x',
after the best scaling of x': ReLU halves the length of what it lets through
on average, which loses nothing. ``kept`` is the share of points for which at
least two rows of T are positive: two independent rows fix a point of the plane
(Lemma 2, see :mod:`mnv2_mm.analysis.figure7`).
"""

import os
from typing import NamedTuple

import numpy as np

from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.files import save_figure

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


def spiral(points: int = POINTS) -> np.ndarray:
    """An Archimedean spiral in the unit disk, (points, 2), inside out."""
    angle = 2 * np.pi * np.linspace(_START, TURNS, points)
    radius = angle / angle[-1]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def embed(
    x: np.ndarray, dimensions: int, *, seed: int = 0, relu: bool = True
) -> Embedding:
    """Send points of the plane through n dimensions and back.

    Args:
        x: (points, 2).
        dimensions: n, at least 2.
        seed: Of T, whose entries are standard normal.
        relu: Without it x comes back.

    Raises:
        InputError: ``dimensions`` is below 2.
    """
    if dimensions < 2:
        raise InputError(f'{dimensions} dimensions cannot hold a plane; give 2 or more')
    rng = np.random.default_rng([seed, dimensions])
    matrix = rng.standard_normal((dimensions, 2))
    embedded = x @ matrix.T
    positive = (embedded > 0).sum(axis=1)
    if relu:
        embedded = np.maximum(embedded, 0)
    back = embedded @ np.linalg.pinv(matrix).T
    length = (back * back).sum()
    scale = (back * x).sum() / length if length else 0.0
    error = np.linalg.norm(x - scale * back) / np.linalg.norm(x)
    kept = (positive >= 2).mean() if relu else 1.0
    return Embedding(dimensions, back, float(error), float(kept))


def plot_figure1(path: str | os.PathLike, *, seed: int = 0) -> list[Embedding]:
    """Draw the input and what comes back; returns the latter.

    Points keep the color of their place on the spiral, so that one sees
    which of them have collapsed. Every panel has its own scale.
    """
    from matplotlib.figure import Figure

    x = spiral()
    found = [embed(x, n, seed=seed) for n in DIMENSIONS]
    shown = {'input x\n': x}
    for e in found:
        text = f'n = {e.dimensions}\nkept {e.kept:.0%}, error {e.error:.2f}'
        shown[text] = e.points
    figure = Figure(figsize=(2.3 * len(shown), 2.9), layout='constrained')
    panels = figure.subplots(1, len(shown))
    for axes, (text, points) in zip(panels, shown.items(), strict=True):
        axes.plot(*points.T, color='0.8', lw=0.6, zorder=1)
        axes.scatter(*points.T, c=np.arange(len(x)), cmap='viridis', s=3, zorder=2)
        # equal scales, with the view centered on the points
        low, high = points.min(0), points.max(0)
        middle, half = (low + high) / 2, 0.56 * max(high - low)
        (left, bottom), (right, top) = middle - half, middle + half
        limits = dict(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[])
        axes.set(**limits, aspect='equal')
        axes.set_title(text, fontsize=9)
    figure.suptitle(
        'Figure 1: a spiral x through $T^{-1}$ ReLU(T x), T random n x 2 '
        f'(seed {seed}); color: place on the spiral',
        fontsize=10,
    )
    save_figure(figure, path, dpi=150)
    return found
