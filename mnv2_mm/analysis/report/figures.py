"""Figures of the report as SVG inside of the page, drawn by matplotlib.

They are as wide as a telephone needs them; a large screen shows two in a row.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from mnv2_mm.utils.curves import Curves, draw_losses, draw_metrics

_SIZE = (5.2, 3.6)  # inches
_LINES = 10  # of a figure with one line for each class
_FIELDS = 20  # rows of a confusion matrix
_NUMBERS = 10  # rows up to which its fields have numbers


class Drawing(NamedTuple):
    """A figure as the address of an image, and what it shows for those who hear it."""

    address: str
    alt: str


def data_address(kind: str, data: bytes) -> str:
    """Content of a file as an address: the page needs no other file."""
    return f'data:image/{kind};base64,{base64.b64encode(data).decode()}'


def _finish(figure: Figure, alt: str) -> Drawing:
    stream = io.BytesIO()
    # the same file for the same figures
    with mpl.rc_context({'svg.hashsalt': 'mnv2_mm'}):
        figure.savefig(stream, format='svg', metadata={'Date': None})
    return Drawing(data_address('svg+xml', stream.getvalue()), alt)


def draw_training(curves: Curves) -> list[Drawing]:
    """Loss, and metrics on the validation set, over the training."""
    losses = Figure(_SIZE, layout='constrained')
    metrics = Figure(_SIZE, layout='constrained')
    draw_losses(losses.subplots(), curves)
    keys = draw_metrics(metrics.subplots(), curves)
    last = ', '.join(f'{key} {curves.last[key]:.3g} at the end' for key in keys)
    return [
        _finish(losses, 'Loss over the iterations of the training'),
        _finish(metrics, f'Metrics over the iterations: {last or "none"}'),
    ]


def draw_precision_recall(
    precision: Mapping[str, np.ndarray], recall: np.ndarray
) -> Drawing:
    """Precision over recall, a line for each class; of many the best and the worst."""
    figure = Figure(_SIZE, layout='constrained')
    axes = figure.subplots()
    by_area = sorted(precision, key=lambda name: -precision[name].mean())
    if len(by_area) > _LINES:
        by_area = [*by_area[: _LINES // 2], *by_area[-_LINES // 2 :]]
    for name in by_area:
        axes.plot(recall, precision[name], label=f'{name} {precision[name].mean():.2f}')
    mean = np.mean([*precision.values()], axis=0)
    axes.plot(recall, mean, 'k--', label=f'mean of all {mean.mean():.2f}')
    axes.set(xlabel='recall', ylabel='precision', xlim=(0, 1), ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend(title='class, AP at IoU 0.5', fontsize=8, loc='lower left')
    return _finish(figure, 'Precision over recall, a line for each class')


def draw_matrix(
    shares: np.ndarray, rows: Sequence[str], columns: Sequence[str], *, classes: int
) -> Drawing:
    """Confusion matrix; of many classes those with most errors.

    Args:
        shares: (truth, prediction), 0 to 1.
        rows, columns: Names; the first ones are the classes.
        classes: Number of classes.
    """
    square = shares[:classes, :classes]
    # a row or a column of zeros says nothing
    shown, note = np.flatnonzero(square.any(0) | shares[:classes].any(1)), ''
    if len(shown) > _FIELDS:
        order = np.argsort(square.diagonal()[shown], kind='stable')[:_FIELDS]
        shown, note = (
            np.sort(shown[order]),
            f' (the {_FIELDS} classes with most errors)',
        )
    down, right = ([*shown, *range(classes, len(n))] for n in (rows, columns))
    shares = shares[np.ix_(down, right)]
    figure = Figure((_SIZE[0], 4.6), layout='constrained')
    axes = figure.subplots()
    axes.imshow(shares, cmap='Blues', vmin=0, vmax=1, aspect='auto')
    size = 9 if len(down) <= _NUMBERS else 6
    axes.set_xticks(
        range(len(right)), [columns[i] for i in right], rotation=90, fontsize=size
    )
    axes.set_yticks(range(len(down)), [rows[i] for i in down], fontsize=size)
    axes.set(xlabel='prediction', ylabel=f'truth{note}')
    if len(down) <= _NUMBERS + 1:
        for (y, x), share in np.ndenumerate(shares):
            color = 'white' if share > 0.5 else 'black'
            text = f'{100 * share:.0f}'
            axes.text(x, y, text, ha='center', va='center', color=color, fontsize=9)
    return _finish(figure, f'Confusion matrix{note}')
