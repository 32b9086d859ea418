"""How the cost grows: with the batch, the resolution, and the processes.

One pass takes about ten minutes on two cores, and some 12 GB of memory for
the batch of 64.
"""

import argparse
from collections.abc import Callable

import torch
from mmengine.config import Config
from torch import nn

from mnv2_mm.benchmark.pairs import Contestant, Part
from mnv2_mm.benchmark.peers import OURS, SIDE, built, peer_config
from mnv2_mm.benchmark.processes import ranks
from mnv2_mm.benchmark.train import step_of
from mnv2_mm.config_files import get_config
from mnv2_mm.engine.fast_inference import make_fast

BATCHES = (1, 2, 4, 8, 16, 32, 64)
SIDES = (160, 224, 320, 448, 512, 640)


def parts(args: argparse.Namespace) -> list[Part]:
    """What `tools/benchmark.py growth` measures."""
    found = []
    for work, contestants in (('training', _training), ('network', _network)):
        found += [
            Part(f'{work}, {SIDE} px, batch {n}', contestants(n), pictures=n)
            for n in BATCHES
        ]
        batch = args.batch_size
        found += [
            Part(
                f'{work}, {side} px, batch {batch}',
                contestants(batch, side),
                pictures=batch,
            )
            for side in SIDES
        ]
    half = max(args.batch_size // 2, 1)
    return [
        *found,
        Part(
            f'training, {SIDE} px, batch {2 * half} of all processes',
            [
                Contestant('one process, one thread', ranks(1, 2 * half)),
                Contestant('one process, two threads', ranks(1, 2 * half, 2)),
                Contestant('two processes, one thread each', ranks(2, half)),
            ],
            pictures=2 * half,
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
        # mmdet's fails on a map of one value with a single picture
        *([peer] if batch > 1 else []),
        Contestant('mnv2_mm', step_of(ours, batch, side=side)),
        Contestant(
            'mnv2_mm, --fast', step_of(ours, batch, side=side, fast=True)
        ),
    ]


def _network(batch: int, side: int = SIDE) -> list[Contestant]:
    """Backbone, neck and head in eval mode, without decoding."""
    theirs, ours = _sized(side)

    def of(
        cfg: Config, change: Callable[[nn.Module], nn.Module]
    ) -> Callable[[], Callable[[], object]]:
        def prepare() -> Callable[[], object]:
            model = change(built(cfg).eval())
            x = torch.rand(batch, 3, side, side)

            def run() -> None:
                with torch.inference_mode():
                    model.bbox_head(model.extract_feat(x))

            return run

        return prepare

    return [
        Contestant('mmdet, as shipped', of(theirs, nn.Module.eval)),
        Contestant('mnv2_mm', of(ours, nn.Module.eval)),
        Contestant('mnv2_mm, fast', of(ours, make_fast)),
    ]
