"""A small model with a backbone and a head, and a runner that trains it."""

import time
from pathlib import Path

import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from mnv2_mm.checkpoints import CheckpointGuardHook


class Toy(BaseModel):
    """A backbone of three tensors that matter, and a head."""

    def __init__(self, classes: int = 3, width: int = 4) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width))
        self.head = nn.Linear(width, classes)

    def forward(
        self, inputs: object, data_samples: object = None, mode: str = 'loss'
    ) -> object:
        out = self.head(self.backbone(torch.stack(list(inputs))))
        return {'loss': out.square().mean()} if mode == 'loss' else out


def toy_runner(
    work_dir: Path, model: Toy, *, kind: type[Runner] = Runner, **changes: object
) -> Runner:
    data = [{'inputs': torch.rand(2)} for _ in range(8)]
    settings = dict(
        model=model,
        work_dir=str(work_dir),
        train_dataloader=dict(
            dataset=data,
            batch_size=2,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1), guard=CheckpointGuardHook()
        ),
        experiment_name=f'{work_dir.name}_{time.monotonic_ns()}',
    )
    return kind(**(settings | changes))


def truncate(path: Path) -> None:
    """Cut a file off, as a copy that was stopped."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])
