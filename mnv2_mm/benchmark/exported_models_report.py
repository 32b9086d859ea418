"""The exported models of a config as a Markdown table and as an image."""

import os
from collections.abc import Sequence

from mnv2_mm.benchmark.exported_models import Row

#: Color of a backend, marker of a precision; others get what is left.
_COLORS = {
    'PyTorch': 'tab:gray',
    'onnxruntime': 'tab:blue',
    'ncnn': 'tab:orange',
    'tensorrt': 'tab:green',
}
_MARKERS = {'fp32': 'o', 'fp16': 's', 'int8': 'D'}
_STAGES = ('preprocessing', 'network', 'postprocessing')


def table(rows: Sequence[Row], metric: str = '') -> str:
    """Markdown: a line for each exported model, and notes.

    Args:
        rows: In the order of the lines.
        metric: Name of the accuracy; empty for none.
    """
    threads = list(dict.fromkeys(count for row in rows for count in row.threads()))
    machines = list(dict.fromkeys(row.times['machine'] for row in rows if row.times))
    head = ['model', 'backend', 'precision', 'input', 'size']
    head += [metric] if metric else []
    head += [f'latency{_threads(count)}' for count in threads]
    lines = [_line(head), _line(['---'] * len(head))]
    for row in rows:
        mark = ''
        if len(machines) > 1 and row.times:
            mark = f' <sup>{machines.index(row.times["machine"]) + 1}</sup>'
        size = 'x'.join(str(side or '?') for side in row.input[2:])
        cells = [row.name + mark, row.backend, row.precision, size]
        cells.append('' if row.bytes is None else f'{row.bytes / 1e6:.2f} MB')
        if metric:
            cells.append(f'{row.metrics[metric]:.4g}' if metric in row.metrics else '')
        cells += [_latency(row, count) for count in threads]
        lines.append(_line([cell or '-' for cell in cells]))
    if threads:
        lines += [
            '',
            'Latency: median of the total in ms (quartiles); preprocessing + '
            'network + postprocessing.',
        ]
    for number, machine in enumerate(machines, 1):
        mark = f'{number}. ' if len(machines) > 1 else 'Timed on '
        lines += ['', f'{mark}{machine}']
    if problems := [f'- {row.name}: {text}' for row in rows for text in row.problems]:
        lines += ['', 'Missing:', '', *problems]
    return '\n'.join(lines) + '\n'


def _line(cells: Sequence[str]) -> str:
    return '| ' + ' | '.join(cells) + ' |'


def _threads(count: int | None) -> str:
    if count is None:  # not on the CPU
        return ''
    return f', {count} thread' + ('' if count == 1 else 's')


def _latency(row: Row, threads: int | None) -> str:
    """Total with quartiles, and the stages if they were timed."""
    found = row.latency(threads)
    if not found:
        return ''
    text = '{median:.1f} ({quarter:.1f}-{three_quarters:.1f})'.format(**found['total'])
    if all(stage in found for stage in _STAGES):
        text += '; ' + ' + '.join(f'{found[stage]["median"]:.1f}' for stage in _STAGES)
    return text


def plot(
    rows: Sequence[Row], path: str | os.PathLike, *, metric: str, title: str
) -> bool:
    """Draw accuracy over latency; the area of a mark is the size.

    Args:
        rows: Those without a latency are left out.
        path: Image to write.
        metric: Name of the accuracy; empty draws the size instead.
        title: Text above.

    Returns:
        Whether there was anything to draw.
    """
    from matplotlib.figure import Figure

    shown = [
        row for row in rows if row.threads() and (not metric or metric in row.metrics)
    ]
    if not shown:
        return False
    figure = Figure(figsize=(9, 4.8), layout='constrained')
    axes = figure.subplots()
    largest = max(row.bytes for row in shown)
    others = iter(('tab:purple', 'tab:brown', 'tab:pink', 'tab:olive') * 9)
    colors = dict(_COLORS)
    for row in shown:
        total = row.latency(row.threads()[0])['total']
        median = total['median']
        value = row.metrics[metric] if metric else row.bytes / 1e6
        if row.backend not in colors:
            colors[row.backend] = next(others)
        color = colors[row.backend]
        error = [[median - total['quarter']], [total['three_quarters'] - median]]
        axes.errorbar(median, value, xerr=error, color=color, capsize=2, zorder=2)
        axes.scatter(
            median,
            value,
            s=max(600 * row.bytes / largest, 25) if metric else 80,
            color=color,
            marker=_MARKERS.get(row.precision, '^'),
            alpha=0.55,
            edgecolors='black',
            linewidths=0.6,
            label=f'{row.name}, {row.bytes / 1e6:.1f} MB',
            zorder=3,
        )
    used = {row.threads()[0] for row in shown}
    threads = _threads(used.pop()) if len(used) == 1 else ''
    axes.set_xlabel(f'latency of an image, ms{threads} (median, quartiles)')
    axes.set_ylabel(metric or 'size, MB')
    axes.set_xlim(left=0)
    if metric:  # at least a tenth of the accuracy, so that noise stays small
        values = [row.metrics[metric] for row in shown]
        room = max(0.25 * (max(values) - min(values)), 0.05 * max(values))
        axes.set_ylim(min(values) - room, max(values) + room)
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
    note = f'\nnot drawn, since a value is missing: {left_out}'
    axes.set_title(title + (note if left_out else ''), fontsize=10)
    figure.savefig(path, dpi=130)
    return True
