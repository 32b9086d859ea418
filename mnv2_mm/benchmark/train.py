"""A training step of SSDLite against mmdet's own.

Both get the same pictures, boxes and number of classes, random weights, and
mmdet's settings as shipped on their side.
"""

import argparse
import functools
from collections.abc import Callable

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData

from mnv2_mm.benchmark.pairs import Contestant, Part
from mnv2_mm.benchmark.peers import CLASSES, OURS, SIDE, built, peer_config
from mnv2_mm.config_files import get_config


def parts(args: argparse.Namespace) -> list[Part]:
    """What `tools/benchmark.py train` measures."""
    title = f'training step of SSDLite, {SIDE} px, batch {args.batch_size}'
    return [Part(title, training_step(args.batch_size))]


def _batch(size: int) -> dict:
    """Pictures with three objects each, as a data loader gives them."""
    rng = np.random.default_rng(0)
    inputs, samples = [], []
    for _ in range(size):
        pixels = rng.integers(0, 256, (3, SIDE, SIDE), dtype=np.uint8)
        inputs.append(torch.from_numpy(pixels))
        corner = rng.uniform(0, SIDE / 2, (3, 2))
        extent = rng.uniform(30, SIDE / 2, (3, 2))
        boxes = np.concatenate([corner, corner + extent], axis=1)
        sample = DetDataSample(
            metainfo=dict(
                img_shape=(SIDE, SIDE),
                ori_shape=(SIDE, SIDE),
                scale_factor=(1.0, 1.0),
                pad_shape=(SIDE, SIDE),
            )
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor(boxes, dtype=torch.float32),
            labels=torch.tensor(rng.integers(0, CLASSES, 3)),
        )
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def _training(
    config: Callable[[], Config],
    batch_size: int,
    *,
    channels_last: bool = False,
    half: bool = False,
) -> Callable[[], Callable[[], object]]:
    """One step: preprocessing, forward, backward, update."""

    def prepare() -> Callable[[], object]:
        model = built(config()).train()
        if channels_last:
            model.to(memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(model.parameters(), 1e-4, momentum=0.9)
        batch = _batch(batch_size)

        def step() -> None:
            data = model.data_preprocessor(batch, True)
            with torch.autocast('cpu', torch.bfloat16, enabled=half):
                losses = model(**data, mode='loss')
            loss, _ = model.parse_losses(losses)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

        return step

    return prepare


def training_step(batch_size: int = 8) -> list[Contestant]:
    """Forward, backward and update of a batch at 320."""
    names = {
        'channels last': dict(channels_last=True),
        'channels last, bfloat16': dict(channels_last=True, half=True),
    }
    ours = functools.partial(get_config, OURS)
    return [
        Contestant('mmdet, as shipped', _training(peer_config, batch_size)),
        Contestant('mnv2_mm', _training(ours, batch_size)),
        *(
            Contestant(f'mnv2_mm, {name}', _training(ours, batch_size, **how))
            for name, how in names.items()
        ),
    ]
