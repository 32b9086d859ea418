"""Images of what tools/benchmark.py measured."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

#: 'training, 320 px, batch 8' of the part that lets the cost grow.
GROWTH = re.compile(r'(\w+), (\d+) px, batch (\d+)$')


def draw(content: Mapping, path: Path) -> None:
    """Write a PNG: curves of what grows, bars of the rest.

    Args:
        content: What `--json` writes.
        path: Of the PNG.
    """
    curves, bars = _sort(content['parts'])
    panels = [*curves.items(), *bars.items()]
    columns = 2 if len(panels) > 1 else 1
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(6.4 * columns, 3.2 * rows + 0.5),
        squeeze=False,
        layout='constrained',
    )
    for axis, (title, data) in zip(axes.flat, panels, strict=False):
        axis.set_title(title, fontsize=10)
        if title in curves:
            _curves(axis, data, title)
        else:
            _bars(axis, data)
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    figure.suptitle(f'{content["machine"]}, {content["date"]}', fontsize=9)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _sort(
    parts: Mapping[str, Sequence[Mapping]],
) -> tuple[dict[str, dict], dict[str, Sequence[Mapping]]]:
    """What changes one quantity, by that quantity, and the rest.

    The batch varies at the side that most parts have, and the other way
    round, so a part can stand in both.
    """
    growth, bars = [], {}
    for title, results in parts.items():
        match = GROWTH.match(title)
        if match:
            work, side, batch = match.groups()
            growth.append((work, int(side), int(batch), results))
        else:
            bars[title] = results
    curves: dict[str, dict] = {}
    for work in dict.fromkeys(work for work, *_ in growth):
        points = [point for point in growth if point[0] == work]
        for name, index, fixed in (
            ('batch', 2, _most(point[1] for point in points)),
            ('side', 1, _most(point[2] for point in points)),
        ):
            other = 3 - index
            lines = defaultdict(dict)
            for point in points:
                if point[other] != fixed:
                    continue
                for result in point[3]:
                    rate = 1000 * point[2] / result['median']
                    lines[result['name']][point[index]] = rate
            unit = 'px' if name == 'batch' else 'a batch'
            what = f'{work}: images a second by {name}, {fixed} {unit}'
            curves[what] = dict(lines)
    return curves, bars


def _most(values: Sequence[int]) -> int:
    values = list(values)
    return max(dict.fromkeys(values), key=values.count)


def _curves(axis: Axes, lines: Mapping[str, Mapping], title: str) -> None:
    # sorted, as the first may be missing at some points: one color a name
    for name, points in sorted(lines.items()):
        xs = sorted(points)
        axis.plot(xs, [points[x] for x in xs], marker='o', label=name)
    axis.set_xscale('log', base=2)
    ticks = sorted(set().union(*lines.values()))
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.minorticks_off()
    axis.set_ylim(bottom=0)
    axis.set_xlabel('images a batch' if 'by batch' in title else 'side, px')
    axis.set_ylabel('images a second')
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)


def _bars(axis: Axes, results: Sequence[Mapping]) -> None:
    """Medians, with the least and the most as whiskers."""
    for row, result in enumerate(results):
        times, median = result['milliseconds'], result['median']
        spread = [[median - min(times)], [max(times) - median]]
        axis.barh(
            row,
            median,
            xerr=spread,
            color=f'C{min(row, 1)}',
            height=0.6,
            error_kw=dict(ecolor='0.4', capsize=3),
        )
        axis.annotate(
            f'{median:.1f}',
            (max(times), row),
            xytext=(6, 0),
            textcoords='offset points',
            va='center',
            fontsize=8,
        )
    axis.set_yticks(range(len(results)), [r['name'] for r in results])
    axis.tick_params(axis='y', labelsize=8)
    axis.invert_yaxis()
    axis.margins(x=0.15)
    axis.set_xlim(left=0)
    axis.set_xlabel('ms')
