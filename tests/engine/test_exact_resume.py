"""An interrupted and resumed training equals the uninterrupted one, bit for bit."""

import functools
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from toy_runner import Toy, toy_runner

from mnv2_mm.checkpoints.file import read
from mnv2_mm.engine.exact_resume import RECORD
from mnv2_mm.utils.errors import InputError


class Random:
    """Eight samples that draw from every generator."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict:
        noise = random.random() + np.random.rand() + torch.rand(2)
        return {'inputs': index / 8 + noise}


class Dropout(Toy):
    """The toy, which draws in its forward pass."""

    def forward(self, inputs: object, *args: object, **kwargs: object) -> object:
        inputs = [torch.nn.functional.dropout(x) for x in inputs]
        return super().forward(inputs, *args, **kwargs)


class Stop(Hook):
    """Stop as Ctrl-C does, after some iterations."""

    priority = 'LOWEST'

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def after_train_iter(self, runner: Runner, *args: object, **kwargs: object) -> None:
        if runner.iter + 1 == self.iteration:
            raise KeyboardInterrupt


def run(
    work_dir: Path,
    *,
    by_epoch: bool = True,
    workers: int = 0,
    persistent: bool = False,
    sampler: str = 'DefaultSampler',
    interval: int = 1,
    accumulate: int = 1,
    seed: int | None = 3,
    stop: int = 0,
    resume: str | None = None,
    **changes: object,
) -> Runner:
    """Train for 12 iterations: three epochs of four, or three rounds of the data."""
    length = dict(max_epochs=3) if by_epoch else dict(max_iters=12)
    torch.manual_seed(0)
    custom_hooks = [dict(type='EMAHook', momentum=0.2)]
    settings = dict(
        train_dataloader=dict(
            dataset=Random(),
            batch_size=2,
            num_workers=workers,
            persistent_workers=persistent,
            sampler=dict(type=sampler, shuffle=True),
        ),
        train_cfg=dict(by_epoch=by_epoch, **length),
        optim_wrapper=dict(
            optimizer=dict(type='SGD', lr=0.1, momentum=0.9),
            accumulative_counts=accumulate,
        ),
        param_scheduler=[dict(type='CosineAnnealingLR', by_epoch=False, T_max=12)],
        randomness=dict(seed=seed),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1),
            exact_resume=dict(type='mnv2_mm.ExactResumeHook'),
            checkpoint=dict(
                type='mnv2_mm.AtomicCheckpointHook',
                by_epoch=by_epoch and interval == 1,
                interval=interval,
            ),
        ),
        custom_hooks=custom_hooks + ([Stop(stop)] if stop else []),
        load_from=resume,
        resume=resume is not None,
    )
    settings |= changes
    keys = ('train_cfg', 'optim_wrapper', 'param_scheduler', 'randomness')
    cfg = Config({key: settings[key] for key in keys})
    runner = toy_runner(work_dir, Dropout(), cfg=cfg, **settings)
    if not stop:
        runner.train()
        return runner
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    return runner


def state(work_dir: Path, name: str) -> dict:
    """What must be equal: weights, average, optimizer, schedule, logged losses."""
    content = read(work_dir / name)
    scalars = content['message_hub']['log_scalars']
    losses = scalars['train/loss'].data[0]
    parts = ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers')
    return {part: content[part] for part in parts} | {'losses': torch.tensor(losses)}


def assert_equal(one: object, other: object) -> None:
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            assert_equal(*pair)
    else:
        assert one == other


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict]:
    """The end of a training by its settings, on one process."""

    @functools.cache
    def get(name: str, **settings: object) -> dict:
        work_dir = tmp_path_factory.mktemp('whole')
        run(work_dir, **settings)
        return state(work_dir, name)

    return get


SLOW = pytest.mark.slow  # other workers through the same code


@pytest.mark.parametrize(
    ('settings', 'stop', 'checkpoint'),
    [
        (dict(), 6, 'epoch_1.pth'),
        (dict(workers=2), 11, 'epoch_2.pth'),
        pytest.param(dict(workers=2, persistent=True), 10, 'epoch_2.pth', marks=SLOW),
        # in the middle of an epoch, and of an accumulation
        (dict(interval=3, accumulate=2), 10, 'iter_9.pth'),
        # by iteration, at the end of an epoch
        (dict(interval=4), 6, 'iter_4.pth'),
        # by iteration: over the ends of the data
        (dict(by_epoch=False, sampler='InfiniteSampler'), 6, 'iter_6.pth'),
        pytest.param(
            dict(by_epoch=False, sampler='InfiniteSampler', workers=2, persistent=True),
            7,
            'iter_7.pth',
            marks=SLOW,
        ),
        pytest.param(dict(by_epoch=False, workers=2), 5, 'iter_5.pth', marks=SLOW),
        # a drawn seed
        (dict(by_epoch=False, seed=None), 5, 'iter_5.pth'),
    ],
)
def test_resumed_equals_uninterrupted(
    tmp_path: Path,
    uninterrupted: Callable[..., dict],
    settings: dict,
    stop: int,
    checkpoint: str,
) -> None:
    by_iter = not settings.get('by_epoch', True) or settings.get('interval')
    last = 'iter_12.pth' if by_iter else 'epoch_3.pth'
    work_dir = tmp_path / 'cut'
    run(work_dir, stop=stop, **settings)
    path, drawn = work_dir / checkpoint, {}
    if settings.get('seed', 0) is None:
        drawn = dict(seed=read(path)['meta']['seed'])
    run(work_dir, resume=str(path), **settings)
    # workers make no difference
    others = {k: v for k, v in settings.items() if k not in ('workers', 'persistent')}
    assert_equal(state(work_dir, last), uninterrupted(last, **(others | drawn)))


def test_a_finished_training_by_epoch_has_nothing_left(tmp_path: Path) -> None:
    run(tmp_path, interval=4)
    runner = run(tmp_path, interval=4, resume=str(tmp_path / 'iter_12.pth'))
    assert runner.iter == 12 and not (tmp_path / 'iter_16.pth').exists()


def test_random_numbers_matter_here(uninterrupted: Callable[..., dict]) -> None:
    one, other = (uninterrupted('epoch_3.pth', **x) for x in ({}, dict(seed=4)))
    assert not torch.equal(one['losses'], other['losses'])


def test_another_training_is_not_resumed(tmp_path: Path) -> None:
    work_dir = tmp_path / 'run'
    run(work_dir, stop=6)
    path = str(work_dir / 'epoch_1.pth')
    other = dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.2, momentum=0.9)))
    with pytest.raises(InputError) as error:
        run(work_dir, resume=path, **other)
    assert 'optim_wrapper.optimizer.lr: 0.1 -> 0.2' in str(error.value)
    hooks = dict(exact_resume=dict(type='mnv2_mm.ExactResumeHook', strict=False))
    run(work_dir, resume=path, default_hooks=hooks, **other)


def test_a_longer_training_goes_on(tmp_path: Path) -> None:
    work_dir = tmp_path / 'run'
    run(work_dir, stop=6)
    longer = dict(by_epoch=True, max_epochs=4)
    path = str(work_dir / 'epoch_1.pth')
    runner = run(work_dir, resume=path, workers=2, train_cfg=longer)
    assert runner.iter == 16
    (log,) = Path(runner.log_dir).glob('*.log')
    assert 'train_cfg.max_epochs: 3 -> 4' in log.read_text()


def test_checkpoints_without_a_record_are_resumed(tmp_path: Path) -> None:
    work_dir = tmp_path / 'run'
    run(work_dir, stop=6)
    path = work_dir / 'epoch_1.pth'
    content = read(path)
    del content['meta'][RECORD]
    torch.save(content, tmp_path / 'old.pth')
    runner = run(work_dir, resume=str(tmp_path / 'old.pth'))
    assert runner.iter == 12
    (log,) = Path(runner.log_dir).glob('*.log')
    assert log.read_text().count('has no record of its training') == 1
