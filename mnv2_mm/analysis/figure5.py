"""Figure 5: accuracy against multiply-adds, one line a width.

The accuracies are the official release's, quoted; the multiply-adds are
counted from the configs. Nothing was trained for it.
"""

import os

from mnv2_mm.analysis.paper import GRID, RELEASE
from mnv2_mm.utils.files import save_figure

#: Lines whose labels stand above them, so that neighbors do not overlap.
_ABOVE = (0.5, 0.75, 1.3)


def plot_figure5(results: list[dict], path: str | os.PathLike) -> None:
    """Draw what :func:`mnv2_mm.analysis.tables.count_tables` returns."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5.5), layout='constrained')
    axes = figure.subplots()
    for width in sorted(GRID):
        # no row of another table has such a name
        rows = [row for row in results if row['row'].startswith(f'{width:g}, ')]
        x = [row['madds'] / 1e6 for row in rows]
        y = [row['paper_accuracy'] for row in rows]
        (line,) = axes.plot(x, y, marker='o', label=f'width {width:g}')
        above = width in _ABOVE
        for row, one, other in zip(rows, x, y, strict=True):
            axes.annotate(
                row['row'].partition(', ')[2],
                (one, other),
                xytext=(-4, 5) if above else (4, -9),
                ha='right' if above else 'left',
                textcoords='offset points',
                fontsize=7,
                color=line.get_color(),
            )
    axes.set_xscale('log')
    axes.set_xticks(ticks := [10, 20, 50, 100, 200, 500], map(str, ticks))
    axes.set_xlabel('multiply-adds, millions (counted here, log scale)')
    axes.set_ylabel('ImageNet top-1, %')
    axes.set_title(f'MobileNetV2 by width and resolution, top-1 {RELEASE}', fontsize=10)
    axes.grid(alpha=0.3, which='both')
    axes.legend()
    save_figure(figure, path, dpi=120)
