"""A training step of SSDLite against mmdet's own.

Both get the same images, boxes and number of classes, random weights, and
mmdet's settings as shipped on their side.
"""

import argparse
from collections.abc import Callable

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData
from torch import nn

from mnv2_mm.benchmark.pairs import Contestant, Part
from mnv2_mm.benchmark.peers import CLASSES, OURS, SIDE, built, peer_config
from mnv2_mm.benchmark.processes import ranks
from mnv2_mm.utils.config import get_config


def parts(args: argparse.Namespace) -> list[Part]:
    """What `tools/benchmark.py train` measures."""
    title = f'training step of SSDLite, {SIDE} px, batch {args.batch_size}'
    return [Part(title, training_step(args.batch_size, args.threads))]


def _batch(size: int, side: int) -> dict:
    """Images with three objects each, as a data loader gives them."""
    rng = np.random.default_rng(0)
    inputs, samples = [], []
    for _ in range(size):
        pixels = rng.integers(0, 256, (3, side, side), dtype=np.uint8)
        inputs.append(torch.from_numpy(pixels))
        corner = rng.uniform(0, side / 2, (3, 2))
        extent = rng.uniform(30, side / 2, (3, 2))
        boxes = np.concatenate([corner, corner + extent], axis=1)
        sample = DetDataSample(
            metainfo=dict(
                img_shape=(side, side),
                ori_shape=(side, side),
                scale_factor=(1.0, 1.0),
                pad_shape=(side, side),
            )
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor(boxes, dtype=torch.float32),
            labels=torch.tensor(rng.integers(0, CLASSES, 3)),
        )
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def step_of(
    cfg: Config,
    batch_size: int,
    *,
    side: int = SIDE,
    channels_last: bool = False,
    fast: bool = False,
    compiled: bool = False,
    device: torch.device | str = 'cpu',
    wrap: Callable[[nn.Module], nn.Module] | None = None,
) -> Callable[[], Callable[[], object]]:
    """One step: preprocessing, forward, backward, update.

    Args:
        cfg: Of a detector.
        batch_size: Images a step.
        side: Of an image.
        channels_last: Layout of the tensors.
        fast: What `tools/train.py --fast` does on a processor, but for the
            memory kept, which cannot be had for one contestant alone; on a
            GPU in float16, with the loss scaled.
        compiled: Compile backbone, neck and head, and fuse the optimizer.
        device: Where the network is; the images come from the host.
        wrap: Makes a model of several processes of it.
    """

    def prepare() -> Callable[[], object]:
        model = built(cfg).train().to(device)
        kind = torch.device(device).type
        half = torch.bfloat16 if kind == 'cpu' else torch.float16
        scaler = torch.amp.GradScaler(kind, enabled=fast and kind != 'cpu')
        if channels_last or fast:
            model.to(memory_format=torch.channels_last)
        if compiled:
            for part in (model.backbone, model.neck, model.bbox_head):
                part.compile()
        preprocess, parse = model.data_preprocessor, model.parse_losses
        optimizer = torch.optim.SGD(
            model.parameters(), 1e-4, momentum=0.9, fused=compiled or None
        )
        batch = _batch(batch_size, side)
        called = wrap(model) if wrap else model

        def step() -> None:
            data = preprocess(batch, True)
            with torch.autocast(kind, half, enabled=fast):
                losses = called(**data, mode='loss')
            loss, _ = parse(losses)
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()

        return step

    return prepare


def training_step(batch_size: int, threads: int) -> list[Contestant]:
    """Forward, backward and update of a batch at 320."""
    ours = get_config(OURS)
    return [
        Contestant('mmdet, as shipped', step_of(peer_config(), batch_size)),
        Contestant('mnv2_mm', step_of(ours, batch_size)),
        Contestant(
            'mnv2_mm, channels last',
            step_of(ours, batch_size, channels_last=True),
        ),
        Contestant(
            'mnv2_mm, channels last, bfloat16',
            step_of(ours, batch_size, fast=True),
        ),
        Contestant(  # in a process of its own, as it tells the allocator
            'mnv2_mm, --fast',
            ranks(1, batch_size, threads),
        ),
    ]
