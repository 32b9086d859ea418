"""All exported models of a config: size, latency and accuracy of each.

Each model is timed and evaluated by the tool that a user calls for one, in a
process of its own: a backend that is missing, or that crashes, costs its row
and not the table.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mnv2_mm.runtime import timing
from mnv2_mm.runtime.machine import cores, describe
from mnv2_mm.runtime.model import JSON, read_info
from mnv2_mm.utils.config import config_root
from mnv2_mm.utils.errors import InputError

_COLORS = {'PyTorch': 'C7', 'onnxruntime': 'C0', 'ncnn': 'C1', 'tensorrt': 'C2'}
_MARKERS = {'fp32': 'o', 'fp16': 's', 'int8': 'D'}


@dataclass
class Row:
    """What is known of one exported model."""

    name: str  # of its folder
    path: Path  # the folder; the checkpoint in the row of PyTorch
    backend: str = ''
    precision: str = ''
    bytes: int | None = None  # size of its files; None if it cannot be read
    input: Sequence[int | None] = ()  # (B, 3, H, W), None for an open axis
    times: Mapping = field(default_factory=dict)  # content of benchmark.json
    metrics: Mapping[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)  # why something is missing

    @property
    def latency(self) -> dict[int | None, Mapping]:
        """Times of the stages by the number of threads; None is not on the CPU."""
        return {one['threads']: one for one in self.times.get('times', ())}


def find_exported_models(work_dir: str | Path) -> list[Row]:
    """The exported models in the folders of a folder, or the one that it is.

    Raises:
        InputError: none can be read, or they are of several models.
    """
    work_dir = Path(work_dir)
    if not work_dir.is_dir():
        raise InputError(f'there is no folder {work_dir}')
    rows, first = [], None
    for folder in [work_dir, *sorted(p.parent for p in work_dir.glob(f'*/{JSON}'))]:
        if not (folder / JSON).is_file():
            continue
        row = Row(folder.resolve().name, folder)
        rows.append(row)
        try:
            _, info = read_info(folder)
        except InputError as error:
            row.problems.append(str(error))
            continue
        row.backend, row.precision = info['backend'], info['precision']
        row.bytes = timing.size_of(folder, info)
        row.input, row.times = info['input']['shape'], timing.read(folder)
        first = first or (row.name, info)
        if difference := _difference(first[1], info):
            raise InputError(
                f'{first[0]} and {row.name} in {work_dir} are exports of two models '
                f'({difference}); give each model a folder of its own'
            )
    if first is None:
        reasons = '; '.join(row.problems[0] for row in rows)
        reasons = reasons or 'tools/deploy.py makes one, with --work-dir'
        raise InputError(f'{work_dir} holds no exported model: {reasons}')
    return rows


def _difference(first: Mapping, second: Mapping) -> str:
    """How the models of two exports differ; empty if they are the same."""
    for key in ('task', 'config', 'classes'):
        a, b = first.get(key), second.get(key)
        if a == b or a is None or b is None:  # older versions name no config
            continue
        if key == 'classes' and len(a) != len(b):
            a, b = len(a), len(b)
        elif key == 'classes':
            a, b = next(pair for pair in zip(a, b, strict=True) if pair[0] != pair[1])
        return f'{key}: {a} and {b}'
    return ''


def measure_latency(row: Row, image: str) -> None:
    """Time an exported model by tools/run_build.py, into its folder and row."""
    before = timing.read(row.path)
    if _run(row, 'run_build.py', row.path, image, '--benchmark'):
        row.times = timing.read(row.path)
        if row.times == before:
            row.problems.append(f'{timing.BENCHMARK} could not be written')


def measure_accuracy(row: Row, config: str, limit: int | None) -> None:
    """Evaluate an exported model or a checkpoint by tools/test.py."""
    with tempfile.TemporaryDirectory() as folder:
        flags = ['--work-dir', folder, *(('--limit', limit) if limit else ())]
        if _run(row, 'test.py', config, row.path, *flags):
            text = (Path(folder) / 'metrics.json').read_text(encoding='utf-8')
            row.metrics = json.loads(text)['metrics']


def _run(row: Row, tool: str, *arguments: object) -> bool:
    """Run one of this project's tools; a failure is noted in the row."""
    command = [sys.executable, config_root().parent / 'tools' / tool, *arguments]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, errors='replace'
    )
    if done.returncode == 0:
        return True
    output = done.stderr.strip().splitlines() or ['no output']
    errors = [line for line in output if line.startswith('error: ')]
    reason = (errors or output)[-1].removeprefix('error: ')
    if done.returncode < 0:
        reason = f'{tool} was killed by signal {-done.returncode}'
    if reason not in row.problems:
        row.problems.append(reason)
    return False


def pytorch_row(config: object, checkpoint: str, image: str) -> Row:
    """The row of PyTorch: size of the weights, time from image to prediction.

    Raises:
        InputError: the checkpoint does not fit, or there is no image.
    """
    import cv2
    import numpy as np
    import torch

    from mnv2_mm.api import init_model, predict

    pixels = cv2.imread(image, cv2.IMREAD_COLOR)
    if pixels is None:
        raise InputError(f'{image} cannot be read as an image')
    model = init_model(config, checkpoint)
    times = []
    for threads in sorted({1, cores()}):
        torch.set_num_threads(threads)
        marks = [time.perf_counter()]
        for _ in range(5 + timing.LEAST_RUNS):
            predict(model, pixels)
            marks.append(time.perf_counter())
        (total,) = timing.quartiles(np.diff(marks)[5:, None])
        times.append({'threads': threads, 'total': total})
    size = sum(value.nbytes for value in model.state_dict().values())
    row = Row('PyTorch', Path(checkpoint), 'PyTorch', 'fp32', size)
    row.times = {'machine': describe(), 'times': times}
    return row


def table(rows: Sequence[Row], metric: str = '') -> str:
    """Markdown: a line for each exported model, and notes.

    Args:
        rows: In the order of the lines.
        metric: Name of the accuracy; empty for none.
    """
    threads = list(dict.fromkeys(count for row in rows for count in row.latency))
    machines = list(dict.fromkeys(row.times['machine'] for row in rows if row.times))
    head = ['model', 'backend', 'precision', 'input', 'size']
    head += [metric] if metric else []
    head += [f'latency{_threads(count)}' for count in threads]
    lines = [head, ['---'] * len(head)]
    for row in rows:
        mark = ''
        if len(machines) > 1 and row.times:
            mark = f' <sup>{machines.index(row.times["machine"]) + 1}</sup>'
        size = 'x'.join(str(side or '?') for side in row.input[2:])
        cells = [row.name + mark, row.backend, row.precision, size]
        cells.append('' if row.bytes is None else f'{row.bytes / 1e6:.2f} MB')
        if metric:
            cells.append(f'{row.metrics[metric]:.4g}' if metric in row.metrics else '')
        cells += [_latency(row.latency.get(count)) for count in threads]
        lines.append([cell or '-' for cell in cells])
    lines = [f'| {" | ".join(cells)} |' for cells in lines]
    if threads:
        stages = ' + '.join(timing.STAGES[:-1])
        lines += ['', f'Latency: median of the total in ms (quartiles); {stages}.']
    for number, machine in enumerate(machines, 1):
        mark = f'{number}. ' if len(machines) > 1 else 'Timed on '
        lines += ['', f'{mark}{machine}']
    if problems := [f'- {row.name}: {text}' for row in rows for text in row.problems]:
        lines += ['', 'Missing:', '', *problems]
    return '\n'.join(lines) + '\n'


def _threads(count: int | None) -> str:
    if count is None:  # not on the CPU
        return ''
    return f', {count} thread' + ('' if count == 1 else 's')


def _latency(found: Mapping | None) -> str:
    """Total with quartiles, and the stages if they were timed."""
    if not found:
        return ''
    text = '{median:.1f} ({quarter:.1f}-{three_quarters:.1f})'.format(**found['total'])
    if found.keys() >= set(timing.STAGES):
        medians = [f'{found[stage]["median"]:.1f}' for stage in timing.STAGES[:-1]]
        text += '; ' + ' + '.join(medians)
    return text


def plot(
    rows: Sequence[Row], path: str | os.PathLike, *, metric: str, title: str
) -> bool:
    """Draw accuracy (without a metric: size) over latency.

    The area of a mark is the size of the model. Returns whether a row has both.
    """
    from matplotlib.figure import Figure

    shown = [r for r in rows if r.latency and (not metric or metric in r.metrics)]
    if not shown:
        return False
    figure = Figure(figsize=(9, 4.8), layout='constrained')
    axes = figure.subplots()
    largest = max(row.bytes for row in shown)
    values = [row.metrics[metric] if metric else row.bytes / 1e6 for row in shown]
    for row, value in zip(shown, values, strict=True):
        total = next(iter(row.latency.values()))['total']
        median = total['median']
        axes.errorbar(
            median,
            value,
            xerr=[[median - total['quarter']], [total['three_quarters'] - median]],
            color=_COLORS.get(row.backend, 'C4'),
            marker=_MARKERS.get(row.precision, '^'),
            markersize=max(25 * (row.bytes / largest) ** 0.5, 5) if metric else 9,
            alpha=0.55,
            capsize=2,
            linestyle='',
            label=f'{row.name}, {row.bytes / 1e6:.1f} MB',
        )
    used = {next(iter(row.latency)) for row in shown}
    threads = _threads(used.pop()) if len(used) == 1 else ''
    axes.set_xlabel(f'latency of an image, ms{threads} (median, quartiles)')
    axes.set_ylabel(metric or 'size, MB')
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    if metric:  # at least a tenth of the accuracy, so that noise stays small
        room = max(0.25 * (max(values) - min(values)), 0.05 * max(values))
        axes.set_ylim(min(values) - room, max(values) + room)
    axes.grid(alpha=0.3)
    place = dict(loc='center left', bbox_to_anchor=(1.01, 0.5), markerscale=0.4)
    axes.legend(**place, fontsize=8, title='area: size' if metric else None)
    left_out = ', '.join(row.name for row in rows if row not in shown)
    note = f'\nnot drawn, since a value is missing: {left_out}' if left_out else ''
    axes.set_title(title + note, fontsize=10)
    figure.savefig(path, dpi=130)
    return True
