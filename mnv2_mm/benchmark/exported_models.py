"""All exported models of a config: size, latency and accuracy of each.

Each model is timed and evaluated by the tool that a user calls for one, in a
process of its own: a backend that is missing, or that crashes, costs its row
and not the table.
"""

import json
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


@dataclass
class Row:
    """What is known of one exported model.

    Args:
        name: Of its folder.
        path: The folder; the checkpoint in the row of PyTorch.
        backend: As in the description of the exported model.
        precision: Likewise.
        bytes: Size of its files; None if it cannot be read.
        input: (B, 3, H, W) of the network, None for an open axis.
        times: Content of its benchmark.json; empty without one.
        metrics: Values of the evaluation by name; empty without one.
        problems: Why something is missing.
    """

    name: str
    path: Path
    backend: str = ''
    precision: str = ''
    bytes: int | None = None
    input: Sequence[int | None] = ()
    times: Mapping = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def latency(self, threads: int | None) -> Mapping:
        """Times of the stages with a number of threads; empty without."""
        found = (t for t in self.times.get('times', ()) if t['threads'] == threads)
        return next(found, {})

    def threads(self) -> list[int | None]:
        """Numbers of threads it was timed with; None is not on the CPU."""
        return [one['threads'] for one in self.times.get('times', ())]


def find_exported_models(work_dir: str | Path) -> list[Row]:
    """The exported models in the folders of a folder, or the one that it is.

    Raises:
        InputError: none can be read, or they are of several models.
    """
    work_dir = Path(work_dir)
    if not work_dir.is_dir():
        raise InputError(f'there is no folder {work_dir}')
    rows, first = [], None
    for folder in [work_dir, *sorted(p for p in work_dir.iterdir() if p.is_dir())]:
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
                f'({difference}); one table is of one model: give each its folder'
            )
    if first is None:
        reasons = '; '.join(row.problems[0] for row in rows) or (
            f'tools/deploy.py makes one by --work-dir {work_dir / "onnxruntime_fp32"}'
        )
        raise InputError(
            f'{work_dir} has no exported model that can be read in it or its '
            f'folders: {reasons}'
        )
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


def measure_accuracy(row: Row, config: str, limit: int = 0) -> None:
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
    before, times = torch.get_num_threads(), []
    for threads in sorted({1, cores()}):
        torch.set_num_threads(threads)
        marks = [time.perf_counter()]
        for _ in range(5 + timing.LEAST_RUNS):
            predict(model, pixels)
            marks.append(time.perf_counter())
        (total,) = timing.quartiles(np.diff(marks)[5:, None])
        times.append({'threads': threads, 'total': total})
    torch.set_num_threads(before)
    return Row(
        'PyTorch',
        Path(checkpoint),
        'PyTorch',
        'fp32',
        sum(value.nbytes for value in model.state_dict().values()),
        times={'machine': describe(), 'times': times},
    )
