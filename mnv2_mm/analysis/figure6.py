"""Figure 6 of the paper as an experiment: its variants, records and plot.

Figure 6a compares linear bottlenecks with ReLU6 in the bottleneck, Figure 6b
shortcuts between bottlenecks, between expansions and none: top-1 against
training steps, one ImageNet training each. Here every variant is trained
small and with several seeds. The paper's network is in both panels.

``tools/figure6_experiment.py`` trains; ``tools/figures.py --figure 6`` draws.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.files import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TOP1 = 'accuracy/top1'
RECORDS = 'figure6.json'


class Variant(NamedTuple):
    """A curve of Figure 6."""

    label_a: str | None  # in panel a, None if it is not there
    label_b: str | None
    color: str
    argument: str = ''  # of MobileNetV2Ablation, and its value

    @property
    def options(self) -> tuple[str, ...]:
        """Values of tools/train.py --cfg-options."""
        kind = 'model.backbone.type=mnv2_mm.MobileNetV2Ablation'
        return (kind, f'model.backbone.{self.argument}') if self.argument else ()


PAPER = 'paper'
VARIANTS = {
    PAPER: Variant('linear bottleneck', 'shortcut between bottlenecks', 'tab:blue'),
    'relu6': Variant(
        'ReLU6 in bottleneck', None, 'tab:red', 'bottleneck_act.type=ReLU6'
    ),
    'expansion': Variant(
        None, 'shortcut between expansions', 'tab:orange', 'shortcut=expansion'
    ),
    'none': Variant(None, 'no shortcut', 'tab:green', 'shortcut=none'),
}
#: 97.5 % quantile of Student's t by degrees of freedom, from 1: half the
#: width of a 95 % interval for a mean of so few seeds, in standard errors.
_STUDENT = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)


def read_records(path: str | os.PathLike) -> dict:
    """Read ``figure6.json``, or that of a folder.

    Raises:
        InputError: it is not there, or holds no finished training.
    """
    path = Path(path)
    path = path / RECORDS if path.is_dir() else path
    try:
        records = json.loads(path.read_text(encoding='utf-8'))
        _, rows = itemgetter('title', 'runs')(records)
        fields = itemgetter('variant', 'top1', 'seed', 'final_loss')
        runs = [
            (str(name), np.asarray(top1, float)[:, 1].size)
            for name, top1, *_ in map(fields, rows)
        ]
    except FileNotFoundError as error:
        tool = f'python tools/figure6_experiment.py --out {path.parent}'
        raise InputError(f'{path} is not there; {tool} writes it') from error
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(
            f'{path} holds no records of tools/figure6_experiment.py'
        ) from error
    if not runs or not all(name in VARIANTS and top1 for name, top1 in runs):
        raise InputError(f'{path} holds no finished training of Figure 6')
    return records


def curves(records: Mapping, variant: str) -> dict[int, np.ndarray]:
    """Top-1 curves of a variant by seed, each (points, 2): step, percent."""
    return {
        run['seed']: np.asarray(run['top1'], float)
        for run in records['runs']
        if run['variant'] == variant
    }


def last_values(records: Mapping, variant: str) -> dict[int, float]:
    """Top-1 of a variant in percent at the end of training, by seed."""
    return {seed: curve[-1, 1] for seed, curve in curves(records, variant).items()}


class Gap(NamedTuple):
    """How far a variant stays below the paper's network."""

    mean: float  # percent points of top-1; positive: the paper's is better
    margin: float  # half the 95 % interval of that mean, inf for one seed
    above: int  # seeds for which the paper's network is better
    seeds: int


def gap(records: Mapping, variant: str) -> Gap | None:
    """Compare seed by seed; None where the two have no seed in common."""
    ours, theirs = last_values(records, PAPER), last_values(records, variant)
    pairs = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
    if not pairs:
        return None
    count = len(pairs)
    margin = math.inf
    if count > 1:
        student = _STUDENT[min(count - 1, len(_STUDENT)) - 1]
        margin = student * float(np.std(pairs, ddof=1)) / math.sqrt(count)
    return Gap(float(np.mean(pairs)), margin, sum(p > 0 for p in pairs), count)


def summary(records: Mapping) -> str:
    """The table of the experiment and what it does and does not show."""
    lines = [
        f'{"variant":30}{"seeds":>6}{"top-1":>8}{"sd":>7}{"least":>8}'
        f'{"most":>8}{"training loss":>16}'
    ]
    verdicts = []
    for name, variant in VARIANTS.items():
        last = np.array(list(last_values(records, name).values()))
        if not len(last):
            continue
        losses = [r['final_loss'] for r in records['runs'] if r['variant'] == name]
        spread = f'{last.std(ddof=1):7.2f}' if len(last) > 1 else f'{"-":>7}'
        label = variant.label_b or variant.label_a
        if name == PAPER:
            label = "the paper's network"
        elif found := gap(records, name):
            verdicts.append(_verdict(label, found))
        lines.append(
            f'{label:30}{len(last):6}{last.mean():8.2f}{spread}'
            f'{last.min():8.2f}{last.max():8.2f}{np.mean(losses):16.3f}'
        )
    return '\n'.join(lines + verdicts)


def _verdict(label: str, found: Gap) -> str:
    """One sentence on a gap; the paper has all of them positive."""
    if found.seeds < 2:
        outcome = 'one seed shows no order'
    elif abs(found.mean) <= found.margin:
        outcome = 'no order beyond the spread of the seeds'
    else:
        outcome = f"{'the' if found.mean > 0 else 'against the'} paper's order"
    margin = f' ± {found.margin:.2f}' if found.seeds > 1 else ''
    return (
        f"the paper's network over {label}: {found.mean:+.2f}{margin} points "
        f'(95 %), better for {found.above} of {found.seeds} seeds: {outcome}'
    )


def plot_figure6(records: Mapping, path: str | os.PathLike) -> None:
    """Draw the two panels: mean (line) and spread (band) over the seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.8), layout='constrained')
    panels = figure.subplots(1, 2, sharey=True)
    titles = ('(a) non-linearity in the bottleneck', '(b) what the shortcuts connect')
    for panel, (axes, title) in enumerate(zip(panels, titles, strict=True)):
        for name, variant in VARIANTS.items():
            label = variant[panel]
            if label and (found := curves(records, name)):
                _draw(axes, list(found.values()), label, variant.color)
        axes.set_title(title)
        axes.set_xlabel('training steps')
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(loc='lower right', fontsize=9)
    panels[0].set_ylabel('top-1 on the validation set, %')
    figure.suptitle(
        f'Figure 6 of the paper at a small scale: {records["title"]}\n'
        'line: mean of the seeds; band: least to most; at the end mean ± '
        'standard deviation',
        fontsize=10,
    )
    save_figure(figure, path, dpi=130)


def _draw(axes: 'Axes', seeds: Sequence[np.ndarray], label: str, color: str) -> None:
    """One variant; only the steps that all its seeds have."""
    count = min(len(curve) for curve in seeds)
    steps = seeds[0][:count, 0]
    top1 = np.stack([curve[:count, 1] for curve in seeds])
    mean = top1.mean(0)
    label = f'{label}: {mean[-1]:.1f}'
    if len(seeds) > 1:
        label += f' ± {top1[:, -1].std(ddof=1):.1f}'
        band = top1.min(0), top1.max(0)
        axes.fill_between(steps, *band, color=color, alpha=0.15, lw=0)
        axes.plot(steps, top1.T, color=color, lw=0.6, alpha=0.5)
    label += f' ({len(seeds)} seed{"s" * (len(seeds) > 1)})'
    axes.plot(steps, mean, color=color, lw=2, label=label)
