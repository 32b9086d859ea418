"""SSDLite on a GPU against mmdet's own: training and prediction.

Each model trains at several batch sizes, as the best one differs;
:func:`conclude` compares their best throughputs. What is not on by default,
compiled parts and a fused optimizer, is a case of its own.
"""

from collections.abc import Iterable
from functools import partial

import torch

from mnv2_mm.benchmark.baselines import SIDE, WARMUP
from mnv2_mm.benchmark.core import Case, Options, Result
from mnv2_mm.benchmark.infer import PHOTO_GROUP, mmdet_prediction, network, prediction
from mnv2_mm.benchmark.train import training_step
from mnv2_mm.utils.errors import InputError

#: Of a training step; a case whose batch does not fit into memory is left out.
BATCHES = (24, 64, 128, 256)
#: Of a prediction.
PREDICTED = (1, 32)
TRAINING = 'training, images/s by batch size'


def cases(options: Options) -> list[Case]:
    """Cases of `tools/benchmark.py gpu`.

    Raises:
        InputError: the device cannot be used.
    """
    device = options.device
    check_device(device)
    case = partial(Case, warmup=WARMUP, processes=0)
    steps = {
        'mmdet, as shipped': dict(ours=False),
        'mnv2_mm': {},
        'mnv2_mm, --fast': dict(fast=True),
        'mnv2_mm, --fast, compiled, fused': dict(fast=True, compiled=True),
    }
    bfloat16 = dict(optimize=True, dtype='bfloat16')
    networks = {
        'mmdet, as shipped': dict(ours=False),
        'mnv2_mm, optimized': dict(optimize=True),
        'mnv2_mm, bfloat16': bfloat16,
        'mnv2_mm, bfloat16, compiled': dict(bfloat16, compiled=True),
    }
    predictions = {
        "mmdet's inference_detector": mmdet_prediction,
        'mnv2_mm, api.predict': prediction,
        'mnv2_mm, bfloat16, api.predict': partial(prediction, dtype='bfloat16'),
    }
    return [
        *(
            case(
                name=name,
                group=TRAINING,
                point=size,
                images=size,
                make=partial(training_step, size, SIDE, device=device, **kwargs),
            )
            for size in BATCHES
            for name, kwargs in steps.items()
        ),
        *(
            case(
                name=name,
                group='network, images/s by batch size',
                point=size,
                images=size,
                repeats=10,
                make=partial(network, size, SIDE, device=device, **kwargs),
            )
            for size in PREDICTED
            for name, kwargs in networks.items()
        ),
        *(
            case(
                name=name,
                group=PHOTO_GROUP,
                repeats=5,
                make=partial(make, device=device),
            )
            for name, make in predictions.items()
        ),
    ]


def check_device(device: str) -> None:
    """Raise an InputError if a device cannot be used."""
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition('\n')[0]
        raise InputError(f'--device {device} cannot be used: {reason}') from error


def conclude(results: Iterable[Result]) -> str:
    """Compare each model's training throughput at its best batch size."""
    best: dict[str, tuple[float, int]] = {}
    for result in results:
        if result.case.group == TRAINING:
            size = result.case.point
            found = 1000 * size / result.median, size
            best[result.case.name] = max(best.get(result.case.name, found), found)
    if not best:
        return 'no training step fits into the memory'
    reference, (highest, _) = next(iter(best.items()))
    return '\n'.join(
        f'{name}: at best {rate:.0f} images/s, with a batch of {size}; '
        f'{rate / highest:.2f} times as fast as {reference}'
        for name, (rate, size) in best.items()
    )
