"""A training step in processes of their own, joined by gloo.

A process waits for a word, makes a step, and says so; timing is done by the
one that asks.
"""

import multiprocessing
import os
import socket
import weakref
from collections.abc import Callable
from multiprocessing.connection import Connection

import torch
from mmengine.logging import MMLogger
from torch.nn.parallel import DistributedDataParallel

from mnv2_mm.engine.freed_memory import keep_freed_memory

#: Seconds until processes that do not answer are given up.
PATIENCE = 300


def ranks(
    count: int, batch: int, threads: int = 1
) -> Callable[[], Callable[[], object]]:
    """A step of SSDLite 320 by ``count`` processes, ``batch`` each.

    As `tools/train.py --fast` does it, memory kept between steps and all.
    """

    def prepare() -> Callable[[], object]:
        port = _free_port()
        context = multiprocessing.get_context('spawn')
        pipes = []
        for rank in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_work,
                args=(theirs, rank, count, port, batch, threads),
                daemon=True,
            )
            process.start()
            theirs.close()
            pipes.append(ours)

        def step() -> None:
            for pipe in pipes:
                pipe.send('step')
            for pipe in pipes:
                if not pipe.poll(PATIENCE):
                    raise TimeoutError('a process made no step')
                pipe.recv()

        # a closed pipe ends a process
        weakref.finalize(step, lambda: [pipe.close() for pipe in pipes])
        return step

    return prepare


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        return found.getsockname()[1]


def _work(
    pipe: Connection,
    rank: int,
    count: int,
    port: int,
    batch: int,
    threads: int,
) -> None:
    """Make steps until the other end of the pipe is closed."""
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    torch.set_num_threads(threads)
    keep_freed_memory()
    MMLogger.get_instance('benchmark', log_level='WARNING')  # random starts
    torch.distributed.init_process_group('gloo', rank=rank, world_size=count)
    from mnv2_mm.benchmark.peers import OURS
    from mnv2_mm.benchmark.train import step_of
    from mnv2_mm.config_files import get_config

    step = step_of(
        get_config(OURS),
        batch,
        fast=True,
        wrap=DistributedDataParallel if count > 1 else None,
    )()
    while True:
        try:
            pipe.recv()
        except EOFError:
            break
        step()
        pipe.send('done')
    torch.distributed.destroy_process_group()
