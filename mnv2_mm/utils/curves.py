"""Loss and metric curves of a training, from mmengine's own records.

Each start of a training writes one ``<time>/vis_data/scalars.json``. Where a later
start goes over the same iterations again, its values count.
"""

import json
import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.files import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Keys of a record that are no curves.
_NOT_CURVES = {'data_time', 'time', 'step', 'iter', 'epoch', 'memory'}
_MAX_LINES = 6  # in one panel

Curve = list[tuple[int, float]]


class Curves(NamedTuple):
    """Values by key, as (iteration, value)."""

    train: dict[str, Curve]
    metrics: dict[str, Curve]
    #: Iterations at which a start (the first one left out) continued.
    resumed: list[int]

    @property
    def last(self) -> dict[str, float]:
        """Newest value of each metric."""
        return {key: curve[-1][1] for key, curve in self.metrics.items()}


def read_curves(work_dir: str | os.PathLike) -> Curves:
    """Read the records of all starts of a training."""
    files = sorted(Path(work_dir).glob('*/vis_data/scalars.json'))
    starts = [
        (records, _resumes(file)) for file in files if (records := _records(file))
    ]
    if not starts:
        raise InputError(
            f'{work_dir} holds no record of a training (<time>/vis_data/scalars.json); '
            'give the work dir of tools/train.py'
        )
    train: list[dict] = []
    metrics: list[dict] = []
    resumed = []
    for number, (records, resumes) in enumerate(starts):
        new = [r for r in records if 'lr' in r]
        if number and new:
            # a training from the beginning takes the place of all before
            first = min(r['step'] for r in new) if resumes else 0
            train = [r for r in train if r['step'] < first]
            resumed = [step for step in resumed if step < first] + [first] * bool(train)
            # a metric belongs to the iterations before it, so first itself is left out
            metrics = [r for r in metrics if r['step'] < first]
        train += new
        # of all starts: a resumed one may validate where the last one was killed
        last_of_epoch = {r['epoch']: r['step'] for r in train if 'epoch' in r}
        for record in records:
            if 'lr' in record:
                continue
            # trained by epoch, metrics are recorded by epoch
            step = last_of_epoch.get(record['step'])
            if step is None and not last_of_epoch:
                step = record['step']
            if step is not None:
                metrics.append({**record, 'step': step})
    return Curves(_by_key(train), _by_key(metrics), resumed)


def _resumes(file: Path) -> bool:
    """Whether a start continued another, by the config that mmengine wrote with it."""
    config = file.with_name('config.py')
    return not config.is_file() or '\nresume = True\n' in config.read_text('utf-8')


def _records(file: Path) -> list[dict]:
    """Lines of a file; a killed run may have left the last one unfinished."""
    records = []
    for line in file.read_text(encoding='utf-8').splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict) and 'step' in record:
            records.append(record)
    return records


def _by_key(records: list[dict]) -> dict[str, Curve]:
    curves: dict[str, dict[int, float]] = defaultdict(dict)
    for record in sorted(records, key=lambda r: r['step']):
        for key, value in record.items():
            if key not in _NOT_CURVES and isinstance(value, int | float):
                curves[key][record['step']] = float(value)  # the later one counts
    return {key: [*curve.items()] for key, curve in curves.items()}


def plot(curves: Curves, path: str | os.PathLike, *, title: str = '') -> list[str]:
    """Draw loss, learning rate and metrics; returns the keys of the drawn metrics."""
    # no window is opened: this runs on servers
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 4.5), layout='constrained')
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3, width_ratios=(3, 3, 2))
    draw_losses(left, curves)
    metrics = draw_metrics(middle, curves)
    if 'lr' in curves.train:
        right.plot(*zip(*curves.train['lr'], strict=True), color='tab:gray')
    right.set_title('learning rate')
    _finish(right, curves)
    figure.suptitle(title)
    save_figure(figure, path, dpi=110)
    return metrics


def draw_metrics(axes: 'Axes', curves: Curves) -> list[str]:
    """Draw the main metrics; returns their keys."""
    metrics = _main_metrics(curves.metrics)
    for key, curve in metrics.items():
        x, y = zip(*curve, strict=True)
        label = f'{key}, last {y[-1]:.3g}'
        axes.plot(x, y, marker='o', markersize=3, label=label)
    axes.set_title('metrics on the validation set')
    if metrics:
        axes.set_ylim(bottom=0)
    else:
        axes.text(0.5, 0.5, 'none recorded', ha='center', transform=axes.transAxes)
    _finish(axes, curves)
    return list(metrics)


def _finish(axes: 'Axes', curves: Curves, *, label: str | None = None) -> None:
    """Add what all panels have; the lines of resumed starts have one label."""
    axes.set_xlabel('iteration')
    axes.grid(alpha=0.3)
    for step in curves.resumed:
        axes.axvline(step, color='k', linestyle=':', linewidth=1, label=label)
        label = None  # once
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=8)


def _main_metrics(metrics: dict[str, Curve]) -> dict[str, Curve]:
    """Without those of each class, or with no value (-1: no object of that size)."""
    kept = {
        key: curve
        for key, curve in metrics.items()
        if any(value >= 0 for _, value in curve)
        and not key.endswith(('_s', '_m', '_l', '_precision'))
    }
    return dict(list(kept.items())[:_MAX_LINES])


def draw_losses(axes: 'Axes', curves: Curves) -> None:
    """Draw the total loss thick and its parts thin, smoothed over the raw values."""
    train = curves.train
    parts = [key for key in train if key.rpartition('.')[2].startswith('loss')]
    if 'loss' in parts:
        parts.remove('loss')
        parts = ['loss', *(parts if len(parts) > 1 else [])]  # one is the same curve
    drawn = []
    for key in parts[:_MAX_LINES]:
        x, y = map(np.asarray, zip(*train[key], strict=True))
        width = 2.0 if key == 'loss' else 1.0
        (line,) = axes.plot(x, _smooth(y), linewidth=width, label=key)
        axes.plot(x, y, alpha=0.25, linewidth=0.8, color=line.get_color())
        drawn.append(y)
    values = np.concatenate(drawn or [np.ones(1)])
    finite = values[np.isfinite(values)]
    if finite.min(initial=0) == 0:  # neither scale has room for a loss below 0
        positive = finite[finite > 0]
        if positive.size and positive.max() > 30 * np.median(positive):
            axes.set_yscale('log')  # a high start would flatten the rest
        else:
            axes.set_ylim(bottom=0)
    lost = max((int((~np.isfinite(y)).sum()) for y in drawn), default=0)
    note = f'; {lost} record{"s" * (lost > 1)} not finite' if lost else ''
    axes.set_title(f'loss (line: mean of neighbors{note})')
    _finish(axes, curves, label='resumed')


def _smooth(values: np.ndarray) -> np.ndarray:
    """Mean over a window of a twentieth of the curve, shorter at its ends.

    NaN and infinity are left out; it is NaN where the window has nothing else.
    """
    half = len(values) // 40
    finite = np.isfinite(values)
    start = np.maximum(np.arange(len(values)) - half, 0)
    end = np.minimum(np.arange(len(values)) + half + 1, len(values))
    rows = np.stack([np.where(finite, values, 0.0), finite])
    sums = np.pad(rows.cumsum(axis=1), ((0, 0), (1, 0)))
    total, count = sums[:, end] - sums[:, start]
    return total / np.where(count > 0, count, np.nan)
