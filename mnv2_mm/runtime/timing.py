"""Time an exported model on this machine: preprocessing, network, postprocessing.

Parts of the postprocessing may be in the network's graph, see
:func:`inside_network`.
"""

import contextlib
import datetime
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from mnv2_mm.runtime.description import read_info
from mnv2_mm.runtime.machine import cores, describe
from mnv2_mm.runtime.model import ExportedModel
from mnv2_mm.utils.files import write_json
from mnv2_mm.version import __version__

#: File with the times, in the folder of the exported model.
BENCHMARK = 'benchmark.json'
#: What is timed; the last is the sum of the others.
STAGES = ('preprocessing', 'network', 'postprocessing', 'total')
LEAST_RUNS = 30
_QUARTILES = ('quarter', 'median', 'three_quarters')
_WIDTH = 24  # of a column on the console


def benchmark(
    place: str | Path,
    image: np.ndarray,
    *,
    threads: Sequence[int] = (),
    runs: int = LEAST_RUNS,
    warmup: int = 5,
) -> dict:
    """Time an exported model on an image.

    Args:
        place: Folder of the exported model, or a file in it.
        image: (H, W, 3) uint8, BGR as OpenCV reads it.
        threads: Numbers of threads to time with; one and all cores if empty.
            A backend that does not run on the CPU is timed once.
        runs: Timed runs.
        warmup: Runs before them.

    Returns:
        Content of benchmark.json, with times in milliseconds.
    """
    _, info = read_info(place)
    found, version = [], ''
    for count in threads or sorted({1, cores()}):
        model = ExportedModel(place, threads=count)
        version, on_cpu = model.network.version, model.network.on_cpu
        with _opencv_threads(count):
            stages = _stages(model, image, runs, warmup)
        found.append({'threads': count if on_cpu else None, **stages})
        if not on_cpu:
            break
    return {
        'mnv2_mm': __version__,
        'backend': info['backend'],
        'backend_version': version,
        'precision': info['precision'],
        'machine': describe(),
        'date': str(datetime.date.today()),
        'image': list(image.shape[1::-1]),
        'input': info['input']['shape'],
        'in_network': inside_network(info),
        'bytes': size_of(info),
        'files': info['files'],
        'runs': runs,
        'warmup': warmup,
        'times': found,
    }


def size_of(info: Mapping) -> int:
    """Bytes of the model's files, without the description."""
    return sum(file['bytes'] for file in info['files'])


def _stages(model: ExportedModel, image: np.ndarray, runs: int, warmup: int) -> dict:
    """Median and quartiles of each stage, in milliseconds."""
    clock, spent = time.perf_counter, []
    for number in range(warmup + runs):
        started = clock()
        inputs, inside = model.prepare(image)
        prepared = clock()
        outputs = model.network(inputs)
        finished = clock()
        model.finish(outputs, image.shape[:2], inside)
        marks = [started, prepared, finished, clock()]
        if number >= warmup:
            spent.append([*np.diff(marks), marks[-1] - marks[0]])
    return dict(zip(STAGES, quartiles(np.array(spent)), strict=True))


def quartiles(seconds: np.ndarray) -> list[dict[str, float]]:
    """Quartiles in milliseconds of each column of (runs, columns)."""
    found = 1000 * np.percentile(seconds, (25, 50, 75), axis=0).T
    rows = found.round(3).tolist()
    return [dict(zip(_QUARTILES, row, strict=True)) for row in rows]


@contextlib.contextmanager
def _opencv_threads(count: int) -> Iterator[None]:
    """Give OpenCV, which resizes, as many threads as the backend."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(count)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def inside_network(info: Mapping) -> list[str]:
    """Parts of the postprocessing that the network's graph holds."""
    if info['task'] == 'det':
        return ['decoding', 'NMS']
    if info['task'] == 'cls':
        return ['softmax']
    return [name for name in ('resize', 'argmax') if info['ending'][name]]


def write(folder: Path, found: Mapping) -> Path:
    """Write benchmark.json into the folder of an exported model."""
    path = folder / BENCHMARK
    write_json(path, found)
    return path


def read(folder: str | Path, info: Mapping) -> dict:
    """Content of benchmark.json; empty if it is missing, damaged or of other files.

    ``info`` is the content of model.json.
    """
    try:
        found = json.loads((Path(folder) / BENCHMARK).read_text(encoding='utf-8'))
        rows = found['times']
        numbers = [row[s][q] for row in rows for s in STAGES for q in _QUARTILES]
        whole = isinstance(found['machine'], str) and all(
            isinstance(row['threads'], int | None) for row in rows
        )
        whole = whole and all(isinstance(n, int | float) for n in numbers)
        # earlier versions did not write the files
        whole = whole and found.get('files') in (None, info['files'])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return {}
    return found if whole else {}


def in_words(found: Mapping) -> str:
    """The times as a table for the console."""
    held = ', '.join(found['in_network'])
    lines = [
        '{machine}, {date}'.format(**found),
        '{backend} {backend_version}, {precision}, '.format(**found)
        + f'{found["bytes"] / 1e6:.2f} MB; median (quartiles) of {found["runs"]} '
        'runs in ms' + (f'; network includes {held}' if held else ''),
        f'{"threads":>7}' + ''.join(f'{stage:>{_WIDTH}}' for stage in STAGES),
    ]
    for row in found['times']:
        cells = [
            '{median:.2f} ({quarter:.2f}-{three_quarters:.2f})'.format(**one)
            for one in (row[stage] for stage in STAGES)
        ]
        count = row['threads'] or '-'
        lines.append(f'{count:>7}' + ''.join(f'{c:>{_WIDTH}}' for c in cells))
    return '\n'.join(lines)
