"""SSDLite on a GPU against mmdet's own: training and prediction.

Models are to be compared at the batch size that suits each best. Compiled parts
and a fused optimizer, which are not on by default, are cases of their own.
"""

from functools import partial

import torch

from mnv2_mm.benchmark.baselines import SIDE, WARMUP
from mnv2_mm.benchmark.core import Case, Options, case_group
from mnv2_mm.benchmark.infer import PHOTO_GROUP, mmdet_prediction, network, prediction
from mnv2_mm.benchmark.train import training_step
from mnv2_mm.utils.errors import InputError

#: Batch sizes; a case whose batch does not fit into memory is left out.
TRAINED, PREDICTED = (24, 64, 128, 256), (1, 32)
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
        ('training, images/s by batch size', training_step, STEPS, TRAINED, 1),
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
