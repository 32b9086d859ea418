"""Time cases in turn, A B A B ..., and print and draw the results.

A time alone means little on a machine that does other work. What counts is the
ratio within a round, in which every case runs once. A case has a process of
its own, so that its settings of the memory allocator do not change the others.
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
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mnv2_mm.analysis.markdown import aligned
from mnv2_mm.runtime.machine import describe
from mnv2_mm.utils.console import suppress_import_output
from mnv2_mm.utils.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Step = Callable[[], object]
#: Runs the step of a case as often as it says; returns the mean of the seconds.
Timer = Callable[[], float]

#: Seconds before each timing, after which no thread of another case spins.
PAUSE = 0.05
#: Flags of processors in /proc/cpuinfo that decide about speed.
INSTRUCTION_SETS = (
    *('avx2', 'avx512f', 'avx512_vnni', 'avx_vnni', 'avx512_bf16', 'amx_bf16'),
    *('asimd', 'neon', 'bf16'),
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a user chooses for the cases of a sub-command."""

    batch_size: int = 8
    threads: int = 1
    device: str = 'cuda:0'
    folder: Path = Path()  # for files of the cases


@dataclass(kw_only=True)
class Case:
    """Something to time; picklable where processes are not forked."""

    name: str
    group: str  # title of the cases that it is compared with
    make: Callable[[], Step]  # builds what is timed; not timed itself
    point: int | None = None  # place on the x axis, such as the batch size
    images: int = 0  # in a step, for the images per second; 0 for none
    repeats: int = 1  # steps in one timing; their mean counts
    warmup: int = 2  # steps before the first timing
    threads: int | None = None  # None for those that the user chose
    processes: int = 1  # joined as by torchrun; 0 runs it in this process
    seconds: list[float] = field(default_factory=list)  # of every round

    @property
    def median(self) -> float:
        """Median in milliseconds."""
        return 1000 * statistics.median(self.seconds)

    def ratios(self, reference: 'Case') -> list[float]:
        """How many times faster than the reference, round by round."""
        pairs = zip(self.seconds, reference.seconds, strict=True)
        return [theirs / ours for ours, theirs in pairs]


def case_group(
    title: str, makes: Mapping[str, Callable[[], Step]], **options: int | None
) -> list[Case]:
    """Cases to compare, by name; the options are those of :class:`Case`."""
    items = makes.items()
    return [Case(name=name, group=title, make=make, **options) for name, make in items]


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
                if case.processes:
                    timer = stack.enter_context(in_subprocess(case, threads))
                else:
                    timer = _prepared(case)
                timers.append((case, timer))
            except InputError as error:
                print(f'  {case.name}: not run ({error})', flush=True)
        for number in range(rounds):
            print(f'  round {number + 1} of {rounds}', flush=True)
            for case, timer in timers:
                time.sleep(PAUSE)
                case.seconds.append(timer())
    return [case for case, _ in timers]


def _prepared(case: Case) -> Timer:
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

    def timer() -> float:
        start = time.perf_counter()
        for _ in range(case.repeats):
            step()
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        return (time.perf_counter() - start) / case.repeats

    return timer


@contextlib.contextmanager
def in_subprocess(case: Case, threads: int) -> Iterator[Timer]:
    """Time a case in processes of its own, which end with the context.

    Raises:
        InputError: the case cannot be prepared, or a process has ended.
    """
    # a forked process has everything imported; elsewhere forking is not safe
    linux = sys.platform.startswith('linux')
    context = multiprocessing.get_context('fork' if linux else 'spawn')
    with socket.create_server(('127.0.0.1', 0)) as free:
        port = free.getsockname()[1]
    pipes, processes = [], []
    for rank in range(case.processes):
        joined = dict(RANK=rank, WORLD_SIZE=case.processes)
        joined |= dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
        ours, theirs = context.Pipe()
        args = ours, theirs, case, case.threads or threads, joined
        processes.append(context.Process(target=_serve, args=args, daemon=True))
        processes[-1].start()
        theirs.close()
        pipes.append(ours)

    def timer() -> float:
        try:
            for pipe in pipes:
                pipe.send(None)
            answers = [pipe.recv() for pipe in pipes]
        except (EOFError, OSError) as error:
            raise InputError(
                f'the process of {case.name!r} ended; see its output above'
            ) from error
        for answer in answers:
            if isinstance(answer, InputError):
                raise answer
        return max(answers)

    try:
        timer()  # the first answer is about the preparation
        yield timer
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _serve(
    ours: Connection, theirs: Connection, case: Case, threads: int, joined: Mapping
) -> None:
    """Prepare a case, then time it whenever the other end of the pipe asks."""
    ours.close()  # else the end of the parent is not seen
    os.environ.update({key: str(value) for key, value in joined.items()})
    torch.set_num_threads(threads)
    timer = None
    with contextlib.suppress(EOFError):
        while True:
            theirs.recv()
            try:
                timer, answer = (timer, timer()) if timer else (_prepared(case), 0.0)
            except InputError as error:
                answer = error
            theirs.send(answer)


def environment(threads: int, device: str = 'cpu') -> dict[str, object]:
    """On what and when something is measured."""
    path = Path('/proc/cpuinfo')
    flags = set(path.read_text(encoding='utf-8').split() if path.is_file() else ())
    found = [name for name in INSTRUCTION_SETS if name in flags]
    result = dict(
        processor=describe(),
        instruction_set=' '.join(found) or 'unknown',
        threads=threads,
        load_average=[round(value, 2) for value in os.getloadavg()],
        torch=torch.__version__,
        date=str(datetime.date.today()),
    )
    if torch.device(device).type == 'cuda':
        result['gpu'] = torch.cuda.get_device_name(device)
    return result


def table(cases: Sequence[Case]) -> str:
    """Medians, range, and the speed relative to the first case, as text."""
    first = cases[0]
    rows = [['', 'median', 'min', 'max', *(['images/s'] if first.images else [])]]
    rows[0].append('times the first (min to max)')
    for case in cases:
        times = case.median, *(1000 * f(case.seconds) for f in (min, max))
        cells = [case.name, *(f'{time:.1f} ms' for time in times)]
        cells += [f'{1000 * case.images / case.median:.1f}'] if first.images else []
        ratio = case.ratios(first)
        median = statistics.median(ratio)
        compared = f'{median:.2f} ({min(ratio):.2f} to {max(ratio):.2f})'
        rows.append([*cells, '' if case is first else compared])
    return '\n'.join(aligned(rows))


def records(cases: Sequence[Case]) -> list[dict[str, object]]:
    """The results of one comparison for a JSON file."""
    keys = ('group', 'point', 'name', 'images', 'median')
    return [
        dict(
            {key: getattr(case, key) for key in keys},
            milliseconds=[1000 * value for value in case.seconds],
            reference=cases[0].name,
            ratio=statistics.median(case.ratios(cases[0])),
        )
        for case in cases
    ]


def plot(cases: Sequence[Case], path: str | os.PathLike, *, title: str) -> None:
    """Draw a panel for each group: curves over its points, or bars."""
    from matplotlib.figure import Figure

    groups = {case.group: [c for c in cases if c.group == case.group] for case in cases}
    columns = min(2, len(groups))
    rows = -(-len(groups) // columns)
    figure = Figure((6.4 * columns, 3.2 * rows + 0.5), layout='constrained')
    for index, (name, found) in enumerate(groups.items(), 1):
        axes = figure.add_subplot(rows, columns, index)
        axes.set_title(name, fontsize=10)
        (_bars if found[0].point is None else _curves)(axes, found)
    figure.suptitle(title, fontsize=9)
    figure.savefig(path, dpi=110)


def _curves(axes: 'Axes', cases: Sequence[Case]) -> None:
    """Images per second over the points, a line for each name."""
    for name in sorted({case.name for case in cases}):
        line = [(c.point, 1000 * c.images / c.median) for c in cases if c.name == name]
        axes.plot(*zip(*line, strict=True), marker='o', label=name)
    ticks = sorted({case.point for case in cases})
    axes.set_xscale('log', base=2)
    axes.set_xticks(ticks, map(str, ticks))
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_ylabel('images/s')
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def _bars(axes: 'Axes', cases: Sequence[Case]) -> None:
    """Medians, with the range of all rounds as whiskers."""
    medians = [case.median for case in cases]
    low = [case.median - 1000 * min(case.seconds) for case in cases]
    high = [1000 * max(case.seconds) - case.median for case in cases]
    colors = ['C0', *['C1'] * (len(cases) - 1)]
    names = [case.name for case in cases]
    bars = axes.barh(names, medians, xerr=[low, high], color=colors, capsize=3)
    axes.bar_label(bars, fmt='%.1f', padding=6, fontsize=8)
    axes.tick_params(axis='y', labelsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlim(left=0)
    axes.set_xlabel('ms')
