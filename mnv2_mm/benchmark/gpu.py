"""SSDLite on a GPU against mmdet's own: training and prediction.

Everybody trains at several batch sizes, as the best one differs; the last
line compares the best rates. What is not on by default anywhere, compiled
parts and a fused optimizer, is a contestant of its own.
"""

import argparse
import functools
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from mnv2_mm.benchmark.infer import predicting, their_prediction
from mnv2_mm.benchmark.pairs import Contestant, Part, Result
from mnv2_mm.benchmark.peers import OURS, SIDE, built, peer_config
from mnv2_mm.benchmark.processes import WARMUP
from mnv2_mm.benchmark.train import step_of
from mnv2_mm.engine.fast_inference import make_fast
from mnv2_mm.utils.config import get_config
from mnv2_mm.utils.errors import InputError

#: Of a training step; one that does not fit into the memory is left out.
BATCHES = (24, 64, 128, 256)
#: Of a prediction.
PREDICTED = (1, 32)
_TRAINING = 'training, batch '
#: Lines of a profile.
_ROWS = 15


def parts(args: argparse.Namespace) -> list[Part]:
    """What `tools/benchmark.py gpu` measures."""
    device = checked(args.device)
    wait = functools.partial(wait_for, device)
    common = dict(warmup=WARMUP, wait=wait)
    return [
        *(
            Part(f'{_TRAINING}{n}', training(n, device), images=n, **common)
            for n in BATCHES
        ),
        *(
            Part(
                f'network, batch {n}',
                networks(n, device),
                repeats=10,
                images=n,
                **common,
            )
            for n in PREDICTED
        ),
        Part(
            'one photo of 640x480, array in, boxes out',
            one_photo(device),
            repeats=5,
            **common,
        ),
    ]


def checked(name: str) -> torch.device:
    """A device that can be used.

    Raises:
        InputError: there is none of this name.
    """
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f'--device {name} cannot be used: {str(error).partition(chr(10))[0]}'
        ) from error
    return device


def wait_for(device: torch.device) -> None:
    """Wait until a device has done what it was told."""
    if device.type != 'cpu':
        torch.cuda.synchronize(device)


def training(batch: int, device: torch.device) -> list[Contestant]:
    """A step from images in bytes on the host to new weights."""
    ours, theirs = get_config(OURS), peer_config()
    on = dict(device=device)
    return [
        Contestant('mmdet, as shipped', step_of(theirs, batch, **on)),
        Contestant('mnv2_mm', step_of(ours, batch, **on)),
        Contestant('mnv2_mm, --fast', step_of(ours, batch, fast=True, **on)),
        Contestant(
            'mnv2_mm, --fast, compiled, fused',
            step_of(ours, batch, fast=True, compiled=True, **on),
        ),
    ]


def networks(batch: int, device: torch.device) -> list[Contestant]:
    """Backbone, neck and head, without decoding."""

    def of(make: Callable[[], nn.Module]) -> Callable[[], Callable]:
        def prepare() -> Callable[[], object]:
            model = make()
            x = torch.rand(batch, 3, SIDE, SIDE, device=device)

            def run() -> None:
                with torch.no_grad():
                    model.bbox_head(model.extract_feat(x))

            return run

        return prepare

    def ours(**how: bool) -> nn.Module:
        model = built(get_config(OURS)).eval().to(device)
        return make_fast(model, **how)

    def compiled() -> nn.Module:
        model = ours(half=True)
        for part in (model.backbone, model.neck, model.bbox_head):
            part.compile()
        return model

    return [
        Contestant(
            'mmdet, as shipped',
            of(lambda: built(peer_config()).eval().to(device)),
        ),
        Contestant('mnv2_mm, fast', of(ours)),
        Contestant('mnv2_mm, half', of(lambda: ours(half=True))),
        Contestant('mnv2_mm, half, compiled', of(compiled)),
    ]


def one_photo(device: torch.device) -> list[Contestant]:
    """Array in, boxes out, through each side's public function."""

    def ours(**how: bool) -> Callable:
        return functools.partial(predicting, device=str(device), **how)

    return [
        Contestant(
            "mmdet's inference_detector",
            functools.partial(their_prediction, device),
        ),
        Contestant('mnv2_mm.api.predict', ours()),
        Contestant('mnv2_mm.api.predict, half', ours(half=True)),
    ]


def conclude(results: Mapping[str, Sequence[Result]]) -> str:
    """Compare everybody's images a second at the batch that suits him."""
    best: dict[str, tuple[float, int]] = {}
    for title, found in results.items():
        if not title.startswith(_TRAINING):
            continue
        batch = int(title.removeprefix(_TRAINING))
        for result in found:
            rate = 1000 * batch / result.median, batch
            best[result.name] = max(best.get(result.name, rate), rate)
    if not best:
        return 'no batch of a training fits into the memory'
    peer = next(iter(best.values()))[0]
    return '\n'.join(
        f'{name}: at best {rate:.0f} images/s, with a batch of {batch}; '
        f'{rate / peer:.2f} times the first'
        for name, (rate, batch) in best.items()
    )


def account(device: torch.device, batch: int) -> str:
    """Where the time of our fast step goes, kernel by kernel.

    Below the table stand the bytes a second of the copy of a large tensor,
    the most that a kernel which only moves memory can reach.
    """
    run = step_of(get_config(OURS), batch, fast=True, compiled=True, device=device)()
    for _ in range(WARMUP):
        run()
    wait_for(device)
    activities = [ProfilerActivity.CPU]
    if device.type != 'cpu':
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as found:
        run()
        wait_for(device)
    order = f'self_{device.type}_time_total'
    table = found.key_averages().table(sort_by=order, row_limit=_ROWS)
    return f'{table}\n{_copy_rate(device) / 1e9:.0f} GB/s in a copy'


def _copy_rate(device: torch.device, size: int = 2**28) -> float:
    """Bytes read and written a second."""
    from torch.utils.benchmark import Timer

    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    timer = Timer('target.copy_(source)', globals=locals())
    return 2 * size / timer.blocked_autorange(min_run_time=0.5).median
