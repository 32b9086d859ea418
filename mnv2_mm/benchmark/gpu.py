"""SSDLite on a GPU against mmdet's own: training and prediction.

Each model trains at several batch sizes, as the best one differs;
:func:`conclude` compares their best throughputs. What is not on by default,
compiled parts and a fused optimizer, is a case of its own.
"""

from collections.abc import Iterable
from functools import partial

import torch

from mnv2_mm.benchmark.baselines import SIDE, WARMUP
from mnv2_mm.benchmark.core import Case, Options, case_group
from mnv2_mm.benchmark.infer import PHOTO_GROUP, mmdet_prediction, network, prediction
from mnv2_mm.benchmark.train import training_step
from mnv2_mm.utils.errors import InputError

#: Batch sizes; a case whose batch does not fit into memory is left out.
TRAINED, PREDICTED = (24, 64, 128, 256), (1, 32)
TRAINING = 'training, images/s by batch size'
STEPS = {
    'mmdet, as shipped': dict(ours=False),
    'mnv2_mm': {},
    'mnv2_mm, --fast': dict(fast=True),
    'mnv2_mm, --fast, compiled, fused': dict(fast=True, compiled=True),
}
_BFLOAT16 = dict(optimize=True, dtype='bfloat16')
NETWORKS = {
    'mmdet, as shipped': dict(ours=False),
    'mnv2_mm, optimized': dict(optimize=True),
    'mnv2_mm, bfloat16': _BFLOAT16,
    'mnv2_mm, bfloat16, compiled': dict(_BFLOAT16, compiled=True),
}


def cases(options: Options) -> list[Case]:
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
    found = []
    for group, make, variants, sizes, repeats in (
        (TRAINING, training_step, STEPS, TRAINED, 1),
        ('network, images/s by batch size', network, NETWORKS, PREDICTED, 10),
    ):
        for size in sizes:
            makes = {
                name: partial(make, size, SIDE, device=device, **kwargs)
                for name, kwargs in variants.items()
            }
            about = dict(point=size, images=size, repeats=repeats)
            found += case_group(group, makes, **about, warmup=WARMUP, processes=0)
    predictions = {
        "mmdet's inference_detector": partial(mmdet_prediction, device),
        'mnv2_mm, api.predict': partial(prediction, device=device),
        'mnv2_mm, bfloat16, api.predict': partial(
            prediction, device=device, dtype='bfloat16'
        ),
    }
    about = dict(repeats=5, warmup=WARMUP, processes=0)
    return found + case_group(PHOTO_GROUP, predictions, **about)


def conclude(cases: Iterable[Case]) -> str:
    """Compare each model's training throughput at its best batch size."""
    best: dict[str, tuple[float, int]] = {}
    for case in cases:
        if case.group == TRAINING:
            found = 1000 * case.images / case.median, case.images
            best[case.name] = max(best.get(case.name, found), found)
    if not best:
        return 'no training step fits into the memory'
    reference, (highest, _) = next(iter(best.items()))
    return '\n'.join(
        f'{name}: at best {rate:.0f} images/s, with a batch of {size}; '
        f'{rate / highest:.2f} times as fast as {reference}'
        for name, (rate, size) in best.items()
    )
