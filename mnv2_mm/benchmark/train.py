"""A training step of SSDLite against mmdet's own, as shipped.

Both get the same images, boxes and number of classes, and random weights.
"""

import os
from functools import partial

import torch
from mmdet.testing import demo_mm_inputs
from torch.nn.parallel import DistributedDataParallel

from mnv2_mm.benchmark.baselines import CLASSES, SIDE, detector
from mnv2_mm.benchmark.core import Case, Options, Step, case_group
from mnv2_mm.engine.fast_training import keep_freed_memory


def cases(options: Options) -> list[Case]:
    """Cases of `tools/benchmark.py train`."""
    step = partial(training_step, options.batch_size, SIDE)
    return case_group(
        f'training step of SSDLite, {SIDE} px, batch {options.batch_size}',
        {
            'mmdet, as shipped': partial(step, ours=False),
            'mnv2_mm': step,
            'mnv2_mm, channels last': partial(step, channels_last=True),
            'mnv2_mm, --fast': partial(step, fast=True),
        },
        images=options.batch_size,
    )


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
        batch_size: Images in a step, with three objects each.
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
    shapes, objects = [(3, side, side)] * batch_size, [3] * batch_size
    batch = demo_mm_inputs(batch_size, shapes, objects, CLASSES)
    forward = model
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
