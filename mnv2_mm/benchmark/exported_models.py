"""All exported models of a config: size, latency and accuracy of each.

Each model is timed and evaluated by the tool that a user calls for one, in a
process of its own: a backend that is missing, or that crashes, costs its row
and not the table.
"""

import itertools
import json
import os
import subprocess
import sys
import tempfile
import timeit
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch

from mnv2_mm.analysis.markdown import table_line
from mnv2_mm.api import load
from mnv2_mm.engine.network_graph import EAGER_CALLS
from mnv2_mm.runtime import timing
from mnv2_mm.runtime.description import JSON, read_info
from mnv2_mm.runtime.machine import cores, describe
from mnv2_mm.runtime.read_image import read_image
from mnv2_mm.utils.config import config_root
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.files import save_figure

#: With the runs before that make the graph.
_REPEATS = timing.LEAST_RUNS + EAGER_CALLS + 3
_COLORS = dict(onnxruntime='C0', ncnn='C1', tensorrt='C2', litert='C3', openvino='C5')
_ENDS = ('quarter', 'three_quarters')
_MARKERS = {'fp32': 'o', 'fp16': 's', 'int8': 'D'}


@dataclass
class Row:
    """What is known of one exported model, or of the one in PyTorch."""

    name: str  # of its folder
    path: Path  # the folder; the checkpoint in the row of PyTorch
    info: Mapping = field(default_factory=dict)  # content of model.json
    bytes: int | None = None  # size of its files; None if it cannot be read
    times: Mapping = field(default_factory=dict)  # content of benchmark.json
    metrics: Mapping[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)  # why something is missing

    @property
    def latency(self) -> dict[str, Mapping]:
        """Median and quartiles from image to result, by the title of the column."""
        found = {}
        for one in self.times.get('times', ()):
            count = one['threads']  # None for a backend that is not on the CPU
            threads = f', {count} thread{"s" * (count > 1)}' if count else ''
            found[f'latency{threads}'] = one['total']
        return found


def find_exported_models(work_dir: str | Path) -> list[Row]:
    """The exported models in the folders of a folder, or the one that it is.

    Raises:
        InputError: none can be read, or they are of several models.
    """
    work_dir = Path(work_dir)
    if not work_dir.is_dir():
        raise InputError(f'there is no folder {work_dir}')
    rows = []
    for file in [*work_dir.glob(JSON), *sorted(work_dir.glob(f'*/{JSON}'))]:
        row = Row(file.parent.resolve().name, file.parent)
        rows.append(row)
        try:
            _, row.info = read_info(row.path)
            row.bytes = timing.size_of(row.info)
            row.times = timing.read(row.path, row.info)
        except InputError as error:
            row.problems.append(str(error))
    first, *others = [row for row in rows if row.info] or [None]
    if first is None:
        reasons = '; '.join(row.problems[0] for row in rows)
        reasons = reasons or 'tools/export.py makes one, with --work-dir'
        raise InputError(f'{work_dir} holds no exported model: {reasons}')
    for row, key in itertools.product(others, ('task', 'config', 'classes')):
        pair = first.info.get(key), row.info.get(key)
        if pair[0] != pair[1] and None not in pair:  # older versions lack config
            raise InputError(
                f'{first.name} and {row.name} in {work_dir} are exports of two models, '
                f'since {key} differs; give each model a folder of its own'
            )
    return rows


def measure_latency(row: Row, image: str) -> None:
    """Time an exported model by tools/run_exported.py, into its folder and row."""
    before = timing.read(row.path, row.info)
    if _run(row, 'run_exported.py', row.path, image, '--benchmark'):
        row.times = timing.read(row.path, row.info)
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
    reasons = ['no output', *done.stderr.strip().splitlines()]  # the last counts
    reasons += [line[7:] for line in reasons if line.startswith('error: ')]
    if done.returncode < 0:
        reasons.append(f'{tool} was killed by signal {-done.returncode}')
    if reasons[-1] not in row.problems:
        row.problems.append(reasons[-1])
    return False


def pytorch_row(config: object, checkpoint: str, image: str) -> Row:
    """The row of PyTorch: size of the weights, time from image to prediction.

    Raises:
        InputError: the checkpoint does not fit, or there is no image.
    """
    pixels = read_image(image)
    model = load(config, checkpoint, backend='pytorch')
    times = []
    for threads in sorted({1, cores()}):
        torch.set_num_threads(threads)
        spent = timeit.repeat(partial(model.run, [pixels]), number=1, repeat=_REPEATS)
        (total,) = timing.quartiles(np.array(spent[-timing.LEAST_RUNS :])[:, None])
        times.append({'threads': threads, 'total': total})
    return Row(
        'PyTorch',
        Path(checkpoint),
        dict(backend='PyTorch', precision='fp32'),
        sum(value.nbytes for value in model.network.state_dict().values()),
        {'machine': describe(), 'times': times},
    )


def table(rows: Sequence[Row], metric: str = '') -> str:
    """Markdown: a line for each exported model, and notes.

    Args:
        rows: In the order of the lines.
        metric: Name of the accuracy; empty for none.
    """
    columns = dict.fromkeys(key for row in rows for key in row.latency)
    head = ['model', 'backend', 'precision', 'input', 'size']
    head += [metric] * bool(metric) + [*columns]
    lines = [table_line(head), table_line(['---'] * len(head))]
    for row in rows:
        sides = row.info.get('input', {}).get('shape', ())[2:]
        cells = [row.name, row.info.get('backend'), row.info.get('precision')]
        cells.append('x'.join(str(side or '?') for side in sides))
        cells.append(row.bytes is not None and f'{row.bytes / 1e6:.2f} MB')
        if metric:
            cells.append(metric in row.metrics and f'{row.metrics[metric]:.4g}')
        text = '{median:.1f} ({quarter:.1f}-{three_quarters:.1f})'
        totals = map(row.latency.get, columns)
        cells += [total and text.format(**total) for total in totals]
        lines.append(table_line(cell or '-' for cell in cells))
    if columns:
        lines += ['', 'Latency: median in ms (quartiles), from image to result.']
    for machine in dict.fromkeys(row.times['machine'] for row in rows if row.times):
        names = [row.name for row in rows if row.times.get('machine') == machine]
        lines += ['', f'Timed on {machine}: {", ".join(names)}.']
    if problems := [f'- {row.name}: {text}' for row in rows for text in row.problems]:
        lines += ['', 'Missing:', '', *problems]
    return '\n'.join(lines) + '\n'


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
    for row in shown:
        label, total = next(iter(row.latency.items()))
        size, backend = row.bytes / 1e6, row.info['backend']
        axes.errorbar(
            total['median'],
            row.metrics[metric] if metric else size,
            xerr=np.abs([[total[end] - total['median']] for end in _ENDS]),
            fmt=_MARKERS.get(row.info['precision'], '^'),
            color=_COLORS.get(backend, 'C7'),
            markersize=max(25 * (row.bytes / largest) ** 0.5, 5),
            alpha=0.55,
            label=f'{row.name}, {size:.1f} MB; {label}',
        )
    axes.set(xlabel='ms for an image (median, quartiles)', ylabel=metric or 'size, MB')
    axes.set(xlim=(0, None), title=title)
    axes.margins(y=1)  # so that noise stays small
    place = dict(loc='center left', bbox_to_anchor=(1.01, 0.5), markerscale=0.4)
    axes.legend(**place, fontsize=8, title='area: size')
    save_figure(figure, path, dpi=130)
    return True
