"""Print and draw what was measured, and on which machine."""

import datetime
import itertools
import os
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mnv2_mm.benchmark.core import Result
from mnv2_mm.runtime.machine import describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Instruction sets that decide about speed, and the flag of each in
#: /proc/cpuinfo (x86-64, Arm).
_INSTRUCTIONS = {
    'avx2': ('avx2',),
    'avx512': ('avx512f',),
    'vnni': ('avx512_vnni', 'avx_vnni'),
    'bf16': ('avx512_bf16', 'bf16'),
    'amx': ('amx_bf16',),
    'neon': ('asimd', 'neon'),
}


def environment(threads: int, device: str = 'cpu') -> dict[str, object]:
    """On what and when something is measured."""
    try:
        text = Path('/proc/cpuinfo').read_text(encoding='utf-8', errors='replace')
    except OSError:
        text = ''
    lines = (line.partition(':') for line in text.splitlines())
    flags = {
        flag
        for key, _, value in lines
        if key.strip() in ('flags', 'Features')
        for flag in value.split()
    }
    found = [name for name, known in _INSTRUCTIONS.items() if flags & set(known)]
    load = os.getloadavg() if hasattr(os, 'getloadavg') else ()
    result = dict(
        processor=describe(),
        instruction_set=' '.join(found) or 'unknown',
        threads=threads,
        load_average=[round(value, 2) for value in load],
        torch=torch.__version__,
        date=str(datetime.date.today()),
    )
    if torch.device(device).type == 'cuda':
        result['gpu'] = torch.cuda.get_device_name(device)
    return result


def header(found: Mapping[str, object]) -> str:
    """The environment as lines of text."""
    return '\n'.join(
        f'{key.replace("_", " ") + ":":16} '
        + (' '.join(map(str, value)) if isinstance(value, list) else str(value))
        for key, value in found.items()
    )


def title(group: str, point: int | None) -> str:
    """Title of what is compared: a group, at a point of its x axis."""
    return group if point is None else f'{group} = {point}'


def table(results: Sequence[Result]) -> str:
    """Medians, spread, and the speed relative to the first result."""
    reference = results[0]
    rows = [['', 'median', 'min', 'max', 'images/s']]
    rows[0].append(f'times as fast as {reference.case.name}: median (min to max)')
    for result in results:
        times = result.median, *(1000 * f(result.seconds) for f in (min, max))
        images, ratio = result.case.images, result.ratios(reference)
        rows.append(
            [
                result.case.name,
                *(f'{time:.1f} ms' for time in times),
                f'{1000 * images / result.median:.0f}' if images else '',
                ''
                if result is reference
                else f'{statistics.median(ratio):.2f} ({min(ratio):.2f} to '
                f'{max(ratio):.2f})',
            ]
        )
    if not any(result.case.images for result in results):
        rows = [[*row[:4], row[5]] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, *numbers, ratio in rows:
        cells = [
            f'{cell:>{width}}' for cell, width in zip(numbers, widths[1:], strict=False)
        ]
        lines.append('  '.join([f'{name:{widths[0]}}', *cells, ratio]).rstrip())
    return '\n'.join(lines)


def records(results: Sequence[Result]) -> list[dict[str, object]]:
    """The results of one comparison for a JSON file."""
    return [
        dict(
            group=result.case.group,
            point=result.case.point,
            name=result.case.name,
            images=result.case.images,
            milliseconds=[1000 * value for value in result.seconds],
            median=result.median,
            min=1000 * min(result.seconds),
            max=1000 * max(result.seconds),
            reference=results[0].case.name,
            ratio=statistics.median(result.ratios(results[0])),
        )
        for result in results
    ]


def plot(content: Mapping, path: str | os.PathLike) -> None:
    """Draw a panel for each group: curves over its x axis, or bars.

    Args:
        content: What ``--json`` writes.
        path: Image to write.
    """
    from matplotlib.figure import Figure

    panels: dict[str, list[Mapping]] = defaultdict(list)
    for record in content['results']:
        panels[record['group']].append(record)
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    size = 6.4 * columns, 3.2 * rows + 0.5
    figure = Figure(figsize=size, layout='constrained')
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis, (name, found) in itertools.zip_longest(
        axes, panels.items(), fillvalue=('', [])
    ):
        if not found:
            axis.remove()
            continue
        axis.set_title(name, fontsize=10)
        draw = _bars if found[0]['point'] is None else _curves
        draw(axis, found)
    env = content['environment']
    text = f'{env["processor"]}, {env["threads"]} threads, {env["date"]}'
    figure.suptitle(text, fontsize=9)
    figure.savefig(path, dpi=110)


def _curves(axis: 'Axes', found: Iterable[Mapping]) -> None:
    """Images per second over the x axis, a line for each name."""
    # sorted, since the first may be missing at some points: one color a name
    order = sorted(found, key=lambda record: (record['name'], record['point']))
    for name, records in itertools.groupby(order, lambda record: record['name']):
        line = [(r['point'], 1000 * r['images'] / r['median']) for r in records]
        axis.plot(*zip(*line, strict=True), marker='o', label=name)
    ticks = sorted({record['point'] for record in order})
    axis.set_xscale('log', base=2)
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.minorticks_off()
    axis.set_ylim(bottom=0)
    axis.set_ylabel('images/s')
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)


def _bars(axis: 'Axes', found: Sequence[Mapping]) -> None:
    """Medians, with the range of all rounds as whiskers."""
    names = [record['name'] for record in found]
    medians = [record['median'] for record in found]
    bars = axis.barh(
        names,
        medians,
        xerr=[
            [record['median'] - record['min'] for record in found],
            [record['max'] - record['median'] for record in found],
        ],
        color=['C0', *['C1'] * (len(found) - 1)],
        height=0.6,
        error_kw=dict(ecolor='0.4', capsize=3),
    )
    labels = [f'{median:.1f}' for median in medians]
    axis.bar_label(bars, labels, padding=6, fontsize=8)
    axis.tick_params(axis='y', labelsize=8)
    axis.invert_yaxis()
    axis.margins(x=0.15)
    axis.set_xlim(left=0)
    axis.set_xlabel('ms')
