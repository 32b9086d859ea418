"""Table and image of Figure 7; the counts are of :mod:`.activations`.

The paper draws least, mean and largest number of positive channels against
the layer, at step 0 and after training. Here it is the share of channels, so
that the threshold is one line, and the standard deviation is drawn too.
"""

import os
from collections.abc import Mapping, Sequence

import numpy as np

from mnv2_mm.analysis.activations import LayerShare


def table(shares: Sequence[LayerShare]) -> str:
    """Shares and Lemma 2's condition for each layer, in percent."""
    lines = [
        'layer  channels   positive channels, %           positions with n or more, %',
        '         n -> kn    mean     sd  least   most     positive  between 0 and 6',
    ]
    for s in shares:
        holds, strict = s.invertible / s.positions, s.open / s.positions
        lines.append(
            f'{s.layer:5}{s.inputs:5} -> {s.channels:<5}{100 * s.mean:6.1f}'
            f'{100 * s.deviation:7.1f}{100 * s.least:7.1f}'
            f'{100 * s.most:7.1f}{100 * holds:13.2f}{100 * strict:17.2f}'
        )
    return '\n'.join(lines)


def plot_figure7(
    states: Mapping[str, Sequence[LayerShare]],
    path: str | os.PathLike,
    *,
    source: str,
) -> None:
    """Draw a panel a state: mean, deviation, range, and the threshold.

    Args:
        states: Counts by the panel's title.
        path: Image to write.
        source: Network and images, for the title.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6 * len(states), 4.5), layout='constrained')
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(states), sharey=True, squeeze=False)[0]
    for axes, (title, shares) in zip(panels, states.items(), strict=True):
        layer = [s.layer for s in shares]
        mean = np.array([s.mean for s in shares])
        sd = np.array([s.deviation for s in shares])
        axes.fill_between(
            layer,
            [s.least for s in shares],
            [s.most for s in shares],
            color='tab:blue',
            alpha=0.12,
            lw=0,
            label='least to most',
        )
        axes.errorbar(
            layer,
            mean,
            sd,
            color='tab:blue',
            marker='o',
            ms=4,
            capsize=3,
            label='mean ± standard deviation',
        )
        axes.plot(
            layer,
            [s.inputs / s.channels for s in shares],
            color='tab:red',
            ls='--',
            label='invertible from here: n of k n channels',
        )
        axes.set_title(title)
        axes.set_xlabel('layer (TF number) of the expansion')
        axes.set_xticks(layer)
        axes.set_ylim(0, 1)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel('share of positive channels at a position')
    panels[-1].legend(fontsize=8, loc='upper right')
    figure.suptitle(
        f"Figure 7: channels that the expansions' ReLU6 leaves positive\n{source}",
        fontsize=10,
    )
    figure.savefig(path, dpi=130)
