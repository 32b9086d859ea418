"""A training step of SSDLite against mmdet's own.

Both get the same images, boxes and number of classes, random weights, and
their own settings as shipped.
"""

import os
from functools import partial

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch.nn.parallel import DistributedDataParallel

from mnv2_mm.benchmark.baselines import CLASSES, SIDE, detector
from mnv2_mm.benchmark.core import Case, Options, Step
from mnv2_mm.engine.fast_training import keep_freed_memory


def cases(options: Options) -> list[Case]:
    """Cases of `tools/benchmark.py train`."""
    batch = options.batch_size
    variants = {
        'mmdet, as shipped': dict(ours=False),
        'mnv2_mm': {},
        'mnv2_mm, channels last': dict(channels_last=True),
        'mnv2_mm, --fast': dict(fast=True),
    }
    return [
        Case(
            name=name,
            group=f'training step of SSDLite, {SIDE} px, batch {batch}',
            make=partial(training_step, batch, SIDE, **kwargs),
            images=batch,
        )
        for name, kwargs in variants.items()
    ]


def _batch(size: int, side: int) -> dict[str, list]:
    """Images with three objects each, as a data loader gives them."""
    rng = np.random.default_rng(0)
    inputs, samples = [], []
    shape = side, side
    for _ in range(size):
        pixels = rng.integers(0, 256, (3, *shape), dtype=np.uint8)
        inputs.append(torch.from_numpy(pixels))
        corner = rng.uniform(0, side / 2, (3, 2))
        extent = rng.uniform(0.1 * side, side / 2, (3, 2))
        boxes = np.concatenate([corner, corner + extent], axis=1)
        meta = dict(img_shape=shape, ori_shape=shape, pad_shape=shape)
        sample = DetDataSample(metainfo={**meta, 'scale_factor': (1.0, 1.0)})
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor(boxes, dtype=torch.float32),
            labels=torch.tensor(rng.integers(0, CLASSES, 3)),
        )
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def training_step(
    batch_size: int,
    side: int = SIDE,
    *,
    ours: bool = True,
    channels_last: bool = False,
    fast: bool = False,
    compiled: bool = False,
    device: str = 'cpu',
) -> Step:
    """One step: preprocessing, forward, backward, update.

    Args:
        batch_size: Images in a step.
        side: Height and width of an image.
        ours: Our SSDLite, or mmdet's.
        channels_last: Layout of the tensors.
        fast: What `tools/train.py --fast` does; on a GPU it computes in
            float16 with a scaled loss.
        compiled: Compile backbone, neck and head, and fuse the optimizer.
        device: Where the network is; the images come from the host.
    """
    kind = torch.device(device).type
    if fast and kind == 'cpu':
        keep_freed_memory()
    model = detector(ours=ours, side=side).train().to(device)
    if channels_last or fast:
        model.to(memory_format=torch.channels_last)
    if compiled:
        for part in (model.backbone, model.neck, model.bbox_head):
            part.compile()
    dtype = torch.bfloat16 if kind == 'cpu' else torch.float16
    scaler = torch.amp.GradScaler(kind, enabled=fast and kind != 'cpu')
    optimizer = torch.optim.SGD(
        model.parameters(), 1e-4, momentum=0.9, fused=compiled or None
    )
    batch, forward = _batch(batch_size, side), model
    if int(os.environ.get('WORLD_SIZE', 1)) > 1:
        torch.distributed.init_process_group('gloo')
        forward = DistributedDataParallel(model)

    def step() -> None:
        data = model.data_preprocessor(batch, True)
        with torch.autocast(kind, dtype, enabled=fast):
            losses = forward(**data, mode='loss')
        loss, _ = model.parse_losses(losses)
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    return step
