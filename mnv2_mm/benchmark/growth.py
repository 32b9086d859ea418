"""How the cost grows: with the batch, the resolution, and the processes.

One pass takes about ten minutes on two cores, and some 12 GB of memory for
the batch of 64.
"""

import argparse
import functools
from collections.abc import Callable

import torch
from mmengine.config import Config

from mnv2_mm.benchmark.pairs import Contestant, Part
from mnv2_mm.benchmark.peers import OURS, SIDE, built, peer_config
from mnv2_mm.benchmark.processes import WARMUP, Make, apart, ranks
from mnv2_mm.benchmark.train import step_of
from mnv2_mm.engine.fast_inference import make_fast
from mnv2_mm.utils.config import get_config

BATCHES = (1, 2, 4, 8, 16, 32, 64)
SIDES = (160, 224, 320, 448, 512, 640)


def parts(args: argparse.Namespace) -> list[Part]:
    """What `tools/benchmark.py growth` measures."""
    found = []
    network = functools.partial(_network, threads=args.threads)
    batch = args.batch_size
    cases = [(n, SIDE) for n in BATCHES] + [(batch, side) for side in SIDES]
    for work, contestants, warmup in (
        ('training', _training, 2),
        ('network', network, WARMUP),
    ):
        found += [
            Part(
                f'{work}, {side} px, batch {n}',
                contestants(n, side),
                images=n,
                warmup=warmup,
            )
            for n, side in cases
        ]
    half = max(batch // 2, 1)
    return [
        *found,
        Part(
            f'training, {SIDE} px, batch {2 * half} of all processes',
            [
                Contestant('one process, one thread', ranks(1, 2 * half)),
                Contestant('one process, two threads', ranks(1, 2 * half, 2)),
                Contestant('two processes, one thread each', ranks(2, half)),
            ],
            images=2 * half,
        ),
    ]


def _sized(side: int) -> tuple[Config, Config]:
    """mmdet's config and ours for another input."""
    theirs, ours = peer_config(), get_config(OURS)
    theirs.model.bbox_head.anchor_generator.input_size = side
    ours.model.bbox_head.anchor_generator.input_size = side
    return theirs, ours


def _training(batch: int, side: int = SIDE) -> list[Contestant]:
    theirs, ours = _sized(side)
    peer = Contestant('mmdet, as shipped', step_of(theirs, batch, side=side))
    return [
        # mmdet's fails on a map of one value with a single image
        *([peer] if batch > 1 else []),
        Contestant('mnv2_mm', step_of(ours, batch, side=side)),
        Contestant('mnv2_mm, --fast', step_of(ours, batch, side=side, fast=True)),
    ]


def _network(batch: int, side: int = SIDE, *, threads: int) -> list[Contestant]:
    """Backbone, neck and head in eval mode, without decoding."""

    def of(**how: bool) -> Make:
        return functools.partial(_forward, batch, side, **how)

    return [
        Contestant('mmdet, as shipped', of(ours=False)),
        Contestant('mnv2_mm', of()),
        Contestant('mnv2_mm, fast', apart(of(fast=True), threads=threads)),
    ]


def _forward(
    batch: int, side: int, *, ours: bool = True, fast: bool = False
) -> Callable[[], object]:
    model = built(_sized(side)[ours]).eval()
    if fast:
        make_fast(model)
    x = torch.rand(batch, 3, side, side)

    def run() -> None:
        with torch.no_grad():
            model.bbox_head(model.extract_feat(x))

    return run
