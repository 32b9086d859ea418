"""How the cost grows: with the batch, the resolution, and the processes.

One pass takes about ten minutes on two cores, and about 12 GB of memory for
the batch of 64.
"""

from collections.abc import Callable
from functools import partial

from mnv2_mm.benchmark.baselines import SIDE, WARMUP
from mnv2_mm.benchmark.core import Case, Options, Step
from mnv2_mm.benchmark.infer import network
from mnv2_mm.benchmark.train import training_step

BATCHES = (1, 2, 4, 8, 16, 32, 64)
SIDES = (160, 224, 320, 448, 512, 640)


def cases(options: Options) -> list[Case]:
    """Cases of `tools/benchmark.py scaling`."""
    batch = options.batch_size
    found = []
    for work, make, (added, how), warmup in (
        ('training', training_step, ('--fast', dict(fast=True)), 2),
        ('network', network, ('optimized', dict(optimize=True)), WARMUP),
    ):
        by_batch = f'{work}: images/s, {SIDE} px, by batch size'
        by_side = f'{work}: images/s, batch {batch}, by side in px'
        for group, point, size, side in (
            *((by_batch, n, n, SIDE) for n in BATCHES),
            *((by_side, side, batch, side) for side in SIDES),
        ):
            for name, kwargs in (
                ('mmdet, as shipped', dict(ours=False)),
                ('mnv2_mm', {}),
                (f'mnv2_mm, {added}', how),
            ):
                if make is training_step and 'mmdet' in name and size == 1:
                    continue  # fails on a map of one value with a single image
                found.append(
                    Case(
                        name=name,
                        group=group,
                        point=point,
                        make=partial(make, size, side, **kwargs),
                        images=size,
                        warmup=warmup,
                    )
                )
    return [*found, *_processes(max(batch // 2, 1))]


def _processes(half: int) -> list[Case]:
    """The same batch by one process and by two."""
    case = partial(
        Case,
        group=f'training --fast, {SIDE} px, batch {2 * half} of all processes',
        images=2 * half,
    )
    whole: Callable[[], Step] = partial(training_step, 2 * half, fast=True)
    shared: Callable[[], Step] = partial(training_step, half, fast=True)
    return [
        case(name='one process, one thread', make=whole, threads=1),
        case(name='one process, two threads', make=whole, threads=2),
        case(
            name='two processes, one thread each', make=shared, threads=1, processes=2
        ),
    ]
