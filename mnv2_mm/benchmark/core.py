"""Measure cases in turn: A B A B ..., so that drift of the machine hits all.

A time alone means little on a machine that does other work. What counts is the
ratio within a round, in which every case runs once. A case has a process of
its own, so that its settings of the memory allocator do not change the others.
The processes are forked from a server that has imported everything.
"""

import contextlib
import multiprocessing
import os
import pickle
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from mmengine.logging import MMLogger

from mnv2_mm.utils.console import filter_warnings, suppress_import_output
from mnv2_mm.utils.errors import InputError

Step = Callable[[], object]
#: Runs a step a number of times; returns the mean of the seconds.
Timer = Callable[[int], float]

#: What the server of processes imports before it forks.
PRELOAD = ['mnv2_mm.benchmark.preload']
#: Seconds before each timing, after which no thread of another case spins.
PAUSE = 0.05
#: Seconds after which a process that does not answer is given up.
PATIENCE = 900


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a user chooses for the cases of a sub-command."""

    batch_size: int = 8
    threads: int = 1
    device: str = 'cuda:0'
    folder: Path = Path()  # for files of the cases


@dataclass(frozen=True, kw_only=True)
class Case:
    """Something to time.

    Args:
        name: As it is printed.
        group: Title of the cases that it is compared with.
        make: Builds what is timed; not timed itself. It runs in the process
            of the case, so it must be picklable.
        point: Place of the case on the x axis, such as the batch size. Cases
            of a group are compared at the same point.
        images: Images in a step, for the images per second; 0 for none.
        repeats: Steps in one timing; their mean counts.
        warmup: Steps before the first timing.
        threads: Of the process; None for those that the user chose.
        processes: Processes that run the step together, joined as by
            torchrun; 0 runs it in this process.
    """

    name: str
    group: str
    make: Callable[[], Step]
    point: int | None = None
    images: int = 0
    repeats: int = 1
    warmup: int = 2
    threads: int | None = None
    processes: int = 1


@dataclass(frozen=True)
class Result:
    """Seconds of a case in every round."""

    case: Case
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Median in milliseconds."""
        return 1000 * statistics.median(self.seconds)

    def ratios(self, reference: 'Result') -> list[float]:
        """How many times faster than the reference, round by round."""
        pairs = zip(self.seconds, reference.seconds, strict=True)
        return [theirs / ours for ours, theirs in pairs]


class CaseUnavailableError(InputError):
    """A case cannot run here: its backend, file or memory is missing."""


def run_interleaved(
    cases: Sequence[Case],
    rounds: int,
    *,
    threads: int = 1,
    progress: Callable[[str], object] = lambda text: None,
) -> list[Result]:
    """Time the cases of one group in turn.

    Args:
        cases: The first one that can run is the reference.
        rounds: The number of timings of each case.
        threads: Of each process.
        progress: Gets a line about what happens.

    Returns:
        Results of the cases that can run here; the others are left out with a
        line about the reason.

    Raises:
        InputError: a process has ended or hangs.
    """
    timers: list[tuple[Result, Timer]] = []
    with contextlib.ExitStack() as stack:
        for case in cases:
            progress(f'preparing {case.name}')
            try:
                if case.processes:
                    timer = stack.enter_context(in_subprocess(case, threads))
                else:
                    timer = _prepared(case)
            except CaseUnavailableError as error:
                progress(f'left out: {case.name}: {error}')
                continue
            timers.append((Result(case), timer))
        for number in range(rounds):
            progress(f'round {number + 1} of {rounds}')
            for result, timer in timers:
                time.sleep(PAUSE)
                result.seconds.append(timer(result.case.repeats))
    return [result for result, _ in timers]


def _prepared(case: Case) -> Timer:
    """Make a case's step and warm it up."""

    def timer(repeats: int) -> float:
        start = time.perf_counter()
        for _ in range(repeats):
            step()
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        return (time.perf_counter() - start) / max(repeats, 1)

    try:
        step = case.make()
        timer(case.warmup)
    except ModuleNotFoundError as error:
        raise CaseUnavailableError(f'{error.name} is not installed') from error
    except (InputError, torch.OutOfMemoryError) as error:
        raise CaseUnavailableError(str(error).partition('\n')[0]) from error
    return timer


@contextlib.contextmanager
def in_subprocess(case: Case, threads: int) -> Iterator[Timer]:
    """Time a case in processes of its own, which end with the context.

    Raises:
        CaseUnavailableError: the case cannot be prepared.
        InputError: a process has ended or hangs.
    """
    context = _context()
    pipes, processes = [], []
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    for rank in range(case.processes):
        ours, theirs = context.Pipe()
        joined = dict(RANK=rank, WORLD_SIZE=case.processes)
        joined |= dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
        # pickled here, so that its imports happen with a quiet console
        args = theirs, pickle.dumps(case), case.threads or threads, joined
        processes.append(context.Process(target=_serve, args=args, daemon=True))
        processes[-1].start()
        theirs.close()
        pipes.append(ours)

    def answers() -> list[float]:
        found = []
        for pipe in pipes:
            try:
                if not pipe.poll(PATIENCE):
                    raise InputError(f'the process of {case.name!r} hangs')
                found.append(pipe.recv())
            except (EOFError, OSError) as error:
                raise InputError(
                    f'the process of {case.name!r} ended; see its output above'
                ) from error
            if isinstance(found[-1], str):
                raise CaseUnavailableError(found[-1])
        return found

    def timer(repeats: int) -> float:
        for pipe in pipes:
            with contextlib.suppress(OSError):  # answers() raises
                pipe.send(repeats)
        return max(answers())

    try:
        answers()
        yield timer
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.join(PATIENCE)


def _serve(pipe: Connection, pickled: bytes, threads: int, joined: dict) -> None:
    """Prepare a case and time it until the other end of the pipe is closed."""
    filter_warnings()
    os.environ.update({key: str(value) for key, value in joined.items()})
    torch.set_num_threads(threads)
    MMLogger.get_instance('benchmark', log_level='WARNING')  # random starts
    try:
        with suppress_import_output():
            timer = _prepared(pickle.loads(pickled))
    except CaseUnavailableError as error:
        pipe.send(str(error))
        return
    pipe.send(0.0)
    with contextlib.suppress(EOFError):
        while True:
            pipe.send(timer(pipe.recv()))
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _context() -> multiprocessing.context.BaseContext:
    """Processes that are forked from a server, where the system can do that."""
    if not sys.platform.startswith('linux'):
        return multiprocessing.get_context('spawn')
    # the server imports this package too, and does not get our sys.path
    root = str(Path(__file__).resolve().parents[2])
    paths = os.environ.get('PYTHONPATH', '').split(os.pathsep)
    if root not in paths:
        os.environ['PYTHONPATH'] = os.pathsep.join([root, *filter(None, paths)])
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(PRELOAD)
    return context
