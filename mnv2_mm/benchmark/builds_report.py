"""The builds of one model as a Markdown table and as an image."""

import os
from collections.abc import Sequence

from mnv2_mm.benchmark.builds import Row

#: Color of a backend, marker of a precision; others get what is left.
_COLOURS = {
    'PyTorch': 'tab:gray',
    'onnxruntime': 'tab:blue',
    'ncnn': 'tab:orange',
    'tensorrt': 'tab:green',
}
_MARKERS = {'fp32': 'o', 'fp16': 's', 'int8': 'D'}
_LEAST_RANGE = 0.1  # of the accuracies that are drawn, of the largest
_AREA = 600  # of the largest build's mark, in square points


def table(rows: Sequence[Row], metric: str = '') -> str:
    """Markdown: a line a build, then what is to be said of the figures.

    Args:
        rows: In the order of the lines.
        metric: Name of the accuracy; empty for none.
    """
    threads = dict.fromkeys(
        one['threads'] for row in rows for one in row.times.get('times', ())
    )
    head = ['build', 'backend', 'precision', 'input', 'size']
    head += [metric] if metric else []
    head += [
        'latency' if count is None else f'latency, {_threads(count)}'
        for count in threads
    ]
    machines, problems = _notes(rows)
    lines = [_line(head), _line(['---'] * len(head))]
    for row in rows:
        marks = (
            [list(machines).index(row.times['machine']) + 1]
            if (len(machines) > 1 and row.times)
            else []
        )
        cells = [
            row.name + ''.join(f' <sup>{mark}</sup>' for mark in marks),
            row.backend or '-',
            row.precision or '-',
            _size(row.input),
            '-' if row.bytes is None else f'{row.bytes / 1e6:.2f} MB',
        ]
        if metric:
            value = row.metrics.get(metric)
            cells.append('-' if value is None else f'{value:.4g}')
        cells += [_latency(row, count) for count in threads]
        lines.append(_line(cells))
    if threads:
        lines += [
            '',
            'Latency: median of the whole in ms (quartiles); preprocessing + '
            'network + postprocessing.',
        ]
    for number, machine in enumerate(machines, 1):
        mark = f'{number}. ' if len(machines) > 1 else 'Timed on '
        lines += ['', f'{mark}{machine}']
    if problems:
        lines += ['', 'Missing:', '', *(f'- {text}' for text in problems)]
    return '\n'.join(lines) + '\n'


def _notes(rows: Sequence[Row]) -> tuple[list[str], list[str]]:
    """Machines that were timed, and what went wrong with which build."""
    machines = dict.fromkeys(row.times['machine'] for row in rows if row.times)
    problems = [f'{row.name}: {text}' for row in rows for text in row.problems]
    return list(machines), problems


def _line(cells: Sequence[str]) -> str:
    return '| ' + ' | '.join(cells) + ' |'


def _threads(count: int) -> str:
    return f'{count} thread' + ('' if count == 1 else 's')


def _size(shape: Sequence[int | None]) -> str:
    """Height and width of an input, a question mark for an open one."""
    return 'x'.join(str(side or '?') for side in shape[2:]) or '-'


def _latency(row: Row, threads: int | None) -> str:
    """Total with quartiles, and the stages that were timed."""
    found = next(
        (one for one in row.times.get('times', ()) if one['threads'] == threads),
        None,
    )
    if found is None:
        return '-'
    total = found['total']
    text = '{median:.1f} ({quarter:.1f}-{three_quarters:.1f})'.format(**total)
    stages = ('preprocessing', 'network', 'postprocessing')
    if all(stage in found for stage in stages):
        medians = (f'{found[stage]["median"]:.1f}' for stage in stages)
        text += f'; {" + ".join(medians)}'
    return text


def plot(
    rows: Sequence[Row], path: str | os.PathLike, *, metric: str, title: str
) -> bool:
    """Draw accuracy over latency, the area of a mark being the size.

    Args:
        rows: Those without a latency are left out.
        path: Image to write.
        metric: Name of the accuracy; empty: the size takes its place.
        title: Text above.

    Returns:
        Whether there was anything to draw.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [
        row for row in rows if row.latency() and (not metric or metric in row.metrics)
    ]
    if not shown:
        return False
    figure = Figure(figsize=(9, 4.8), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    largest = max(row.bytes for row in shown)
    spare = iter(('tab:purple', 'tab:brown', 'tab:pink', 'tab:olive') * 9)
    colors = dict(_COLOURS)
    for row in shown:
        total = row.latency()['total']
        value = row.metrics[metric] if metric else row.bytes / 1e6
        color = colors.get(row.backend) or colors.setdefault(row.backend, next(spare))
        median = total['median']
        axes.errorbar(
            median,
            value,
            xerr=[
                [median - total['quarter']],
                [total['three_quarters'] - median],
            ],
            color=color,
            elinewidth=1,
            capsize=2,
            zorder=2,
        )
        axes.scatter(
            median,
            value,
            s=max(_AREA * row.bytes / largest, 25) if metric else 80,
            color=color,
            marker=_MARKERS.get(row.precision, '^'),
            alpha=0.55,
            edgecolors='black',
            linewidths=0.6,
            label=f'{row.name}, {row.bytes / 1e6:.1f} MB',
            zorder=3,
        )
    used = {row.latency()['threads'] for row in shown}
    text = 'latency of an image, ms'
    if len(used) == 1 and None not in used:
        text += f', {_threads(used.pop())}'
    axes.set_xlabel(f'{text} (median, quartiles)')
    axes.set_ylabel(metric or 'size, MB')
    axes.set_xlim(left=0)
    if metric:
        _widen(axes, [row.metrics[metric] for row in shown])
    else:
        axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    legend = axes.legend(
        fontsize=8,
        loc='center left',
        bbox_to_anchor=(1.01, 0.5),
        title='area: size' if metric else None,
        labelspacing=1.0,
    )
    for mark in legend.legend_handles:
        mark.set_sizes([40])
    left_out = ', '.join(row.name for row in rows if row not in shown)
    note = f'\nnot drawn, as a figure is missing: {left_out}'
    axes.set_title(title + (note if left_out else ''), fontsize=10)
    figure.savefig(path, dpi=130)
    return True


def _widen(axes: object, values: Sequence[float]) -> None:
    """Room around the accuracies, so that noise does not fill the image."""
    least, most = min(values), max(values)
    room = max(0.25 * (most - least), _LEAST_RANGE * most / 2)
    axes.set_ylim(least - room, most + room)
