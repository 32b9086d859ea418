"""How the cost grows: with the batch, the resolution, and the processes.

One pass takes about ten minutes on two cores, and about 12 GB of memory for
the batch of 64.
"""

from functools import partial

from mnv2_mm.benchmark.baselines import SIDE, WARMUP
from mnv2_mm.benchmark.core import Case, Options, case_group
from mnv2_mm.benchmark.infer import network
from mnv2_mm.benchmark.train import training_step

BATCHES = (1, 2, 4, 8, 16, 32, 64)
SIDES = (160, 224, 320, 448, 512, 640)
_COMMON = {'mmdet, as shipped': dict(ours=False), 'mnv2_mm': {}}
TRAINING = {**_COMMON, 'mnv2_mm, --fast': dict(fast=True)}
NETWORK = {**_COMMON, 'mnv2_mm, optimized': dict(optimize=True)}


def cases(options: Options) -> list[Case]:
    """Cases of `tools/benchmark.py scaling`."""
    batch, found = options.batch_size, []
    for work, make, variants, warmup in (
        ('training', training_step, TRAINING, 2),
        ('network', network, NETWORK, WARMUP),
    ):
        by_batch = f'{work}: images/s, {SIDE} px, by batch size'
        by_side = f'{work}: images/s, batch {batch}, by side in px'
        for group, point, size, side in (
            *((by_batch, size, size, SIDE) for size in BATCHES),
            *((by_side, side, batch, side) for side in SIDES),
        ):
            makes = {
                name: partial(make, size, side, **kwargs)
                for name, kwargs in variants.items()
            }
            if make is training_step and size == 1:
                # mmdet's fails on a map of one value of a single image
                del makes['mmdet, as shipped']
            found += case_group(group, makes, point=point, images=size, warmup=warmup)
    batch = max(batch // 2, 1)
    both = partial(training_step, 2 * batch, fast=True)
    one = partial(training_step, batch, fast=True)
    case = partial(
        Case,
        group=f'training --fast, {SIDE} px, batch {2 * batch} of all processes',
        images=2 * batch,
    )
    return [
        *found,
        case(name='one process, one thread', make=both, threads=1),
        case(name='one process, two threads', make=both, threads=2),
        case(name='two processes, one thread each', make=one, threads=1, processes=2),
    ]
