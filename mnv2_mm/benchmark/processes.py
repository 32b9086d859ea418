"""Contestants in processes of their own.

What a contestant tells the allocator, or the processes of one training,
cannot be had beside others in one process. A process waits for a word, does
its work, and says so; timing is done by the one that asks.
"""

import functools
import multiprocessing
import os
import pickle
import socket
import weakref
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import torch
from mmengine.logging import MMLogger
from torch.nn.parallel import DistributedDataParallel

from mnv2_mm.utils.console import filter_warnings, suppress_import_output
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.malloc_tuning import keep_freed_memory

#: Seconds until processes that do not answer are given up.
PATIENCE = 300
#: Calls until a fast model has made all its graphs.
WARMUP = 5
#: Our models for prediction, by what is added to their name.
FORMS = {'': {}, ', fast': {'fast': True}, ', half': {'half': True}}
Make = Callable[[], Callable[[], object]]


def apart(*makes: Make, threads: int = 1) -> Make:
    """What functions prepare, each in a process of its own.

    Args:
        makes: Functions of a module, or partial ones, that make what is to
            be run; all processes run at once.
        threads: Of every process.
    """

    def prepare() -> Callable[[], object]:
        started = [_started(make, threads) for make in makes]
        pipes = [pipe for pipe, _ in started]

        def run() -> None:
            try:
                for pipe in pipes:
                    pipe.send('run')
                for pipe in pipes:
                    if not pipe.poll(PATIENCE):
                        raise InputError("a contestant's process hangs")
                    pipe.recv()
            except (EOFError, OSError):
                raise InputError(
                    "a contestant's process ended; what it said is above"
                ) from None

        weakref.finalize(run, _end, started)
        return run

    return prepare


def _end(started: list[tuple[Connection, BaseProcess]]) -> None:
    """Let processes end, and wait: what comes next is timed too."""
    for pipe, _ in started:
        pipe.close()
    for _, process in started:
        process.join(PATIENCE)


def _started(make: Make, threads: int) -> tuple[Connection, BaseProcess]:
    context = multiprocessing.get_context('spawn')
    ours, theirs = context.Pipe()
    # unpickled by the process when its console is filter_warnings
    args = theirs, pickle.dumps(make), threads
    process = context.Process(target=_work, args=args, daemon=True)
    process.start()
    theirs.close()
    return ours, process


def _work(pipe: Connection, make: bytes, threads: int) -> None:
    """Run until the other end of the pipe is closed."""
    filter_warnings()
    torch.set_num_threads(threads)
    MMLogger.get_instance('benchmark', log_level='WARNING')  # random starts
    with suppress_import_output():
        run = pickle.loads(make)()
    while True:
        try:
            pipe.recv()
        except EOFError:
            break
        run()
        pipe.send('done')
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def ranks(count: int, batch: int, threads: int = 1) -> Make:
    """A training step of SSDLite 320 by ``count`` processes, ``batch`` each.

    As `tools/train.py --fast` does it, memory kept between steps and all.
    """

    def prepare() -> Callable[[], object]:
        return apart(*_ranks(count, batch, _free_port()), threads=threads)()

    return prepare


def _ranks(count: int, batch: int, port: int) -> Sequence[Make]:
    return [functools.partial(_rank, rank, count, port, batch) for rank in range(count)]


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        return found.getsockname()[1]


def _rank(rank: int, count: int, port: int, batch: int) -> Callable[[], object]:
    """The step of one of several processes joined by gloo."""
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    keep_freed_memory()
    torch.distributed.init_process_group('gloo', rank=rank, world_size=count)
    from mnv2_mm.benchmark.peers import OURS
    from mnv2_mm.benchmark.train import step_of
    from mnv2_mm.utils.config import get_config

    return step_of(
        get_config(OURS),
        batch,
        fast=True,
        wrap=DistributedDataParallel if count > 1 else None,
    )()
