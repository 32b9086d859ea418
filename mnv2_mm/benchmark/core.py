"""Time cases in turn, A B A B ..., and print and draw the results.

A time alone means little on a machine that does other work. What counts is the ratio
within a round, in which every case runs once, and with one thread the time is that of
the processor. A case has a process of its own, so that its settings of the memory
allocator do not change the others.
"""

import contextlib
import datetime
import multiprocessing
import os
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch

from mnv2_mm.analysis.markdown import aligned
from mnv2_mm.runtime.machine import describe, has_bfloat16, instruction_set
from mnv2_mm.utils.compat import version_of
from mnv2_mm.utils.console import suppress_import_output
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.files import save_figure

Step = Callable[[], object]
#: Runs the step of a case as often as it says; returns the mean in milliseconds.
Timer = Callable[[], float]

#: Seconds before each timing, after which no thread of another case spins.
PAUSE = 0.05
#: Load average from which other programs make times longer.
BUSY = 0.5


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a user chooses for the cases of a sub-command."""

    batch_size: int = 8
    threads: int = 1
    device: str = 'cuda:0'
    folder: Path = Path()  # for files of the cases


@dataclass(kw_only=True)
class Case:
    """Something to time; picklable, since other processes run it."""

    name: str
    group: str  # title of the cases that it is compared with
    make: Callable[[], Step]  # builds what is timed; not timed itself
    point: int | None = None  # place on the x axis, such as the batch size
    images: int = 0  # in a step, for the images per second; 0 for none
    repeats: int = 1  # steps in one timing; their mean counts
    warmup: int = 2  # steps before the first timing
    threads: int | None = None  # None for those that the user chose
    processes: int = 1  # joined as by torchrun; 0 runs it in this process
    wall: bool = False  # time of the clock with one thread too
    memory: float = 0  # the most that a process had in MB, beyond that at its start
    times: list[float] = field(default_factory=list)  # of every round, in ms

    @property
    def median(self) -> float:
        """Median in milliseconds."""
        return statistics.median(self.times)

    @property
    def rate(self) -> float:
        """Images per second."""
        return 1000 * self.images / self.median

    def record(self) -> dict[str, object]:
        """The case and its times for a JSON file."""
        return {key: value for key, value in vars(self).items() if key != 'make'}

    def ratios(self, reference: 'Case') -> list[float]:
        """How many times faster than the reference, round by round, for an image."""
        share = self.images / reference.images if reference.images else 1
        return [share * b / a for a, b in zip(self.times, reference.times, strict=True)]


def case_group(
    title: str,
    make: Callable[..., Step],
    table: Mapping[str, Mapping[str, object]],
    **options: int | None,
) -> list[Case]:
    """Cases to compare: the arguments of one function by the name of the case.

    The options are those of :class:`Case`.
    """
    return [
        Case(name=name, group=title, make=partial(make, **arguments), **options)
        for name, arguments in table.items()
    ]


def run_interleaved(
    cases: Sequence[Case], rounds: int, *, threads: int = 1
) -> list[Case]:
    """Time the cases of one group in turn, in processes with some threads each.

    Returns:
        The cases that can run here; the first is the reference. A line is
        printed about each of the others.

    Raises:
        InputError: a process has ended during the rounds.
    """
    timers: list[tuple[Case, Timer]] = []
    with contextlib.ExitStack() as stack:
        for case in cases:
            try:
                timers.append((case, stack.enter_context(prepared(case, threads))))
            except InputError as error:
                print(f'  {case.name}: not run ({error})', flush=True)
        for number in range(rounds):
            print(f'  round {number + 1} of {rounds}', flush=True)
            for case, timer in timers:
                time.sleep(PAUSE)
                case.times.append(timer())
    return [case for case, _ in timers]


@contextlib.contextmanager
def prepared(case: Case, threads: int) -> Iterator[Timer]:
    """Prepare a case in processes of its own, which end with the context.

    Raises:
        InputError: the case cannot be prepared, or a process has ended.
    """
    if not case.processes:
        yield _prepare(case)
        return
    # a forked process has everything imported; elsewhere forking is not safe
    linux = sys.platform.startswith('linux')
    context = multiprocessing.get_context('fork' if linux else 'spawn')
    with socket.create_server(('127.0.0.1', 0)) as free:
        port = free.getsockname()[1]
    with contextlib.ExitStack() as stack:
        workers = []
        for rank in range(case.processes):
            joined = dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=port, RANK=rank)
            joined['WORLD_SIZE'] = case.processes
            args = joined, case.threads or threads
            worker = ProcessPoolExecutor(1, context, _set_up, args)
            workers.append(stack.enter_context(worker))

        def ask(made: Case | None = None) -> float:
            try:
                answers = [worker.submit(_answer, made) for worker in workers]
                times, memory = zip(*[a.result() for a in answers], strict=True)
                case.memory = max(memory)
                return max(times)
            except BrokenProcessPool as error:
                text = f'the process of {case.name!r} ended; see its output above'
                raise InputError(text) from error

        ask(case)
        yield ask


def _prepare(case: Case) -> Timer:
    """Make a case's step and warm it up."""
    try:
        with suppress_import_output():
            step = case.make()
        for _ in range(case.warmup):
            step()
    except ModuleNotFoundError as error:
        name = error.name
        raise InputError(f'{name} is not installed: pip install {name}') from error
    except (InputError, torch.OutOfMemoryError) as error:
        raise InputError(str(error).partition('\n')[0]) from error
    alone = torch.get_num_threads() == 1 and not torch.cuda.is_initialized()
    clock = time.process_time if alone and not case.wall else time.perf_counter

    def timer() -> float:
        start = clock()
        for _ in range(case.repeats):
            step()
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        return 1000 * (clock() - start) / case.repeats

    return timer


_timers: list[Timer] = []  # of the only case of a process
_at_start = 0.0  # its peak memory before that


def _set_up(joined: Mapping[str, object], threads: int) -> None:
    global _at_start
    os.environ.update({key: str(value) for key, value in joined.items()})
    torch.set_num_threads(threads)
    _at_start = _peak_memory()


def _answer(case: Case | None) -> tuple[float, float]:
    """Prepare a case, or time the one that was; milliseconds and peak memory in MB."""
    if case is None:
        return _timers[0](), _peak_memory() - _at_start
    _timers.append(_prepare(case))
    return 0.0, 0.0


def _peak_memory() -> float:
    """The most that this process has had in memory, in MB; 0 on Windows."""
    try:
        import resource
    except ImportError:
        return 0.0
    unit = 1e6 if sys.platform == 'darwin' else 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def environment(
    threads: int, device: str = 'cpu', *, load: Sequence[float] = ()
) -> dict[str, object]:
    """On what and when something is measured; ``load`` is the average before."""
    result = dict(
        processor=describe(),
        instruction_set=instruction_set(),
        bfloat16=has_bfloat16(),
        threads=threads,
        load_average=[round(value, 2) for value in load or os.getloadavg()],
        torch=torch.__version__,
        onnxruntime=version_of('onnxruntime') or 'not installed',
        date=str(datetime.date.today()),
    )
    if torch.device(device).type == 'cuda':
        result['gpu'] = torch.cuda.get_device_name(device)
    return result


def table(cases: Sequence[Case]) -> str:
    """Medians, range, and the speed relative to the first case, as text."""
    first = cases[0]
    rates = ['images/s', 'MB'] if first.images else []
    rows = [['', 'median', 'min', 'max', *rates, 'times the first (min to max)']]
    for case in cases:
        times = case.median, min(case.times), max(case.times)
        low, middle, high = np.percentile(case.ratios(first), (0, 50, 100))
        ratio = '' if case is first else f'{middle:.2f} ({low:.2f} to {high:.2f})'
        rate = [f'{case.rate:.1f}', f'{case.memory:.0f}'] if first.images else []
        rows.append([case.name, *(f'{ms:.1f} ms' for ms in times), *rate, ratio])
    return '\n'.join(aligned(rows))


def plot(cases: Sequence[Case], path: str | os.PathLike, *, title: str) -> None:
    """Draw a panel for each group: its images per second by point, or its medians.

    Whiskers at a median span all rounds.
    """
    from matplotlib.figure import Figure

    groups = {case.group: [c for c in cases if c.group == case.group] for case in cases}
    columns = min(2, len(groups))
    rows = -(-len(groups) // columns)
    figure = Figure((6.4 * columns, 3.2 * rows + 0.5), layout='constrained')
    figure.suptitle(title, fontsize=9)
    for index, (group, found) in enumerate(groups.items(), 1):
        axes = figure.add_subplot(rows, columns, index, title=group)
        if found[0].point is None:
            for case in reversed(found):
                ends = np.abs([[f(case.times) - case.median] for f in (min, max)])
                bar = axes.barh(case.name, case.median, xerr=ends)
                axes.bar_label(bar, fmt='%.1f', padding=6)
            axes.set(xlim=(0, None), xlabel='ms')
            continue
        for name in sorted({case.name for case in found}):
            line = [(case.point, case.rate) for case in found if case.name == name]
            axes.semilogx(*zip(*line, strict=True), base=2, marker='o', label=name)
        ticks = sorted({case.point for case in found})
        axes.set_xticks(ticks, map(str, ticks))
        axes.minorticks_off()
        axes.set(ylim=(0, None), ylabel='images/s')
        axes.legend(fontsize=8)
    save_figure(figure, path, dpi=110)
