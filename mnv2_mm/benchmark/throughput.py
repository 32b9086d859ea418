"""SSDLite against mmdet's as shipped: a training step, its scaling, on a GPU.

One pass of scaling takes about ten minutes on two cores, and about 12 GB of memory for
the batch of 64. On a GPU, models are to be compared at the batch size that suits each
best; compiled parts and a fused optimizer, which are off by default, are own cases.
"""

from functools import partial

import torch

from mnv2_mm.benchmark.core import Case, Options, case_group
from mnv2_mm.benchmark.detectors import (
    PHOTO_GROUP,
    PREDICTIONS,
    SIDE,
    VARIANTS,
    WARMUP,
    network,
    prediction,
    training_step,
)
from mnv2_mm.utils.errors import InputError

BATCHES = (1, 2, 4, 8, 16, 32, 64)
SIDES = (160, 224, 320, 448, 512, 640)
#: Batch sizes on a GPU; a case whose batch does not fit into memory is left out.
TRAINED, PREDICTED = (24, 64, 128, 256), (1, 32)
#: Arguments of training_step and network by name of the case.
_SHIPPED = {'mmdet, as shipped': dict(ours=False)}
_TOOL = dict(channels_last=True, keep_memory=True)  # as tools/train.py on a CPU
_PLAIN = {**_SHIPPED, 'mnv2_mm': _TOOL}
_FAST = {'mnv2_mm, --fast': dict(fast=True)}
_NETWORKS = {**_SHIPPED, 'mnv2_mm': dict(optimize=True)}
#: What is timed on a GPU.
_GPU_TRAINING = {
    **_SHIPPED,
    'mnv2_mm': {},
    **_FAST,
    'mnv2_mm, --fast, compiled, fused': dict(fast=True, compiled=True),
}
_GPU_NETWORK = {
    **_SHIPPED,
    **{k: how for k, how in VARIANTS.items() if 'backend' not in how},
    'mnv2_mm, bfloat16, compiled': dict(dtype='bfloat16', compiled=True),
}


def train_cases(options: Options) -> list[Case]:
    """Cases of `tools/benchmark.py train`."""
    title = f'training step of SSDLite, {SIDE} px, batch {options.batch_size}'
    table = {**_SHIPPED, "mnv2_mm, by mmdet's tools": {}, **_PLAIN, **_FAST}
    make = partial(training_step, options.batch_size, SIDE)
    return case_group(title, make, table, images=options.batch_size)


def scaling_cases(options: Options) -> list[Case]:
    """Cases of `tools/benchmark.py scaling`."""
    batch, found = options.batch_size, []
    for work, make, table, warmup in (
        ('training', training_step, {**_PLAIN, **_FAST}, 2),
        ('network', network, _NETWORKS, WARMUP),
    ):
        points = {f'{work}: images/s, {SIDE} px, by batch size': BATCHES}
        points[f'{work}: images/s, batch {batch}, by side in px'] = SIDES
        for title, values in points.items():
            for point in values:
                size, side = (point, SIDE) if values is BATCHES else (batch, point)
                about = dict(point=point, images=size, warmup=warmup)
                found += case_group(title, partial(make, size, side), table, **about)
    # mmdet's training fails on a map of one value of a single image
    del found[0]
    return found


def processes_cases(options: Options) -> list[Case]:
    """Cases of `tools/benchmark.py processes`: one process, and two joined by gloo."""
    batch, found = options.batch_size, []
    for name, threads, processes in (
        ('one process, one thread', 1, 1),
        ('one process, two threads', 2, 1),
        ('two processes, one thread each', 1, 2),
    ):
        about = dict(threads=threads, processes=processes, images=processes * batch)
        make = partial(training_step, batch, SIDE)
        title = f'training, {SIDE} px, batch {batch} of each process'
        found += case_group(title, make, {name: _TOOL}, wall=True, **about)
    return found


def gpu_cases(options: Options) -> list[Case]:
    """Cases of `tools/benchmark.py gpu`.

    Raises:
        InputError: the device cannot be used.
    """
    device = options.device
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition('\n')[0]
        raise InputError(f'--device {device} cannot be used: {reason}') from error
    about = dict(warmup=WARMUP, processes=0)
    found = []
    for work, make, table, sizes, repeats in (
        ('training', training_step, _GPU_TRAINING, TRAINED, 1),
        ('network', network, _GPU_NETWORK, PREDICTED, 10),
    ):
        title = f'{work}, images/s by batch size'
        for size in sizes:
            own = dict(about, point=size, images=size, repeats=repeats)
            made = partial(make, size, SIDE, device=device)
            found += case_group(title, made, table, **own)
    make = partial(prediction, device=device)
    return found + case_group(PHOTO_GROUP, make, PREDICTIONS, **about, repeats=5)
