"""Train a config from its name to the best checkpoint; tools/train.py calls this.

mmengine's runner trains. What differs from mmdet's tools/train.py: the data set
and the checkpoint are checked before anything starts, a resume takes the newest
checkpoint that is complete, and processes without a GPU are joined by gloo.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from mmengine.config import Config

from mnv2_mm.checkpoints.file import read
from mnv2_mm.checkpoints.resume import checkpoints, latest_checkpoint
from mnv2_mm.engine.bfloat16_optim import set_mixed_precision
from mnv2_mm.engine.launch import build_runner, preflight, set_launcher, set_work_dir
from mnv2_mm.engine.memory_format import use_channels_last
from mnv2_mm.utils.config import apply_options, config_name, get_config
from mnv2_mm.utils.config_errors import host_of, readable_config_errors
from mnv2_mm.utils.console import filter_warnings, print_rank0, print_warnings
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.malloc_tuning import keep_freed_memory


@dataclass(kw_only=True)
class TrainOptions:
    """The flags of tools/train.py."""

    config: str
    work_dir: str | None = None
    amp: bool = False
    fast: bool = False
    auto_scale_lr: bool = False
    #: A checkpoint, or 'auto' for the newest complete one of the work dir.
    resume: str | None = None
    seed: int | None = None
    cfg_options: Sequence[str] | None = None
    launcher: str = 'none'
    local_rank: int = 0


def train(options: TrainOptions) -> None:
    """Train, and print where the results are.

    Raises:
        InputError: the config, the data or the checkpoint cannot be used.
    """
    filter_warnings()
    cfg = _prepare(options)
    set_launcher(cfg, options.launcher, options.local_rank)
    path = _set_resume(cfg, options.resume)
    if path is not None and _is_finished(cfg, path):
        print_rank0('this training is complete already; nothing to do')
        _report(cfg)
        return
    preflight(cfg, splits=('train', 'val'))
    _announce(cfg)
    try:
        with readable_config_errors(cfg):
            build_runner(cfg).train()
    except KeyboardInterrupt:
        print_rank0(
            f'\nstopped; continue with: python tools/train.py {options.config} '
            f'--work-dir {cfg.work_dir} --resume'
        )
        raise
    _report(cfg)


def _prepare(options: TrainOptions) -> Config:
    """From the flags to a complete config."""
    cfg = get_config(options.config)
    print_warnings(apply_options(cfg, options.cfg_options))
    set_work_dir(cfg, options.work_dir)
    host_of(cfg)
    if options.amp or options.fast:
        print_warnings(set_mixed_precision(cfg))
    if options.fast:
        use_channels_last(cfg)
        keep_freed_memory()
    if options.auto_scale_lr:
        _set_auto_scale(cfg)
    if options.seed is not None:
        cfg.setdefault('randomness', {})['seed'] = options.seed
    return cfg


def _set_auto_scale(cfg: Config) -> None:
    """Scale the learning rate by real batch / batch of the recipe."""
    scale = cfg.get('auto_scale_lr') or {}
    if 'base_batch_size' not in scale:
        raise InputError(
            f'--auto-scale-lr: config {config_name(cfg)} does not say which '
            'total batch its learning rate is meant for; add '
            'auto_scale_lr=dict(base_batch_size=...) to it'
        )
    cfg.auto_scale_lr.enable = True


def _set_resume(cfg: Config, resume: str | None) -> str | None:
    """Choose the checkpoint to continue from; returns it, or None."""
    if resume is None:
        old = checkpoints(cfg.work_dir)
        if old and not cfg.get('resume'):
            print_warnings(
                [
                    f'{cfg.work_dir} holds checkpoints of an earlier '
                    f'training ({os.path.basename(old[0])}); they are '
                    'overwritten as this one goes on. --resume would '
                    'continue it.'
                ]
            )
        return None
    path: str | None = resume
    if resume == 'auto':
        path, broken = latest_checkpoint(cfg.work_dir)
        print_warnings([f'{name} is cut off; it is skipped' for name in broken])
        if path is None:
            print_rank0(
                f'--resume: no checkpoint in {cfg.work_dir} yet; starting '
                'from the beginning'
            )
            return None
    cfg.resume = True
    cfg.load_from = path
    return path


def _is_finished(cfg: Config, path: str) -> bool:
    """Whether a checkpoint stands at the end of the config's training.

    Raises:
        InputError: the checkpoint has no state of a training.
    """
    state = read(path)
    meta = state.get('meta') or {}
    if 'iter' not in meta:
        raise InputError(
            f'--resume: {path} holds weights but no state of a training; '
            'start a new training from it by --cfg-options '
            f'load_from={path}'
        )
    train_cfg = cfg.get('train_cfg') or {}
    for unit in ('epoch', 'iter'):
        end = train_cfg.get(f'max_{unit}s')
        if end is not None:
            print_rank0(f'continuing from {path}: {unit} {meta[unit]} of {end}')
            if meta[unit] >= end:
                return True
    if 'optimizer' not in state:
        print_warnings(
            [
                f'{path} holds no state of the optimizer (the best_* files '
                'have none): momentum and learning rate start from the beginning. '
                '--resume without a name continues from the last checkpoint.'
            ]
        )
    return False


def _announce(cfg: Config) -> None:
    """Say what starts; the whole config is in the log file."""
    train_cfg = cfg.get('train_cfg') or {}
    length = [
        f'{train_cfg[f"max_{unit}"]} {unit}'
        for unit in ('epochs', 'iters')
        if train_cfg.get(f'max_{unit}') is not None
    ]
    place = 'GPU' if torch.cuda.is_available() else 'CPU'
    print_rank0(
        f'training {config_name(cfg)} for {" ".join(length)} on the {place}; '
        f'log and checkpoints in {cfg.work_dir}'
    )


def _report(cfg: Config) -> None:
    """Say where the results are and what to do next."""
    best = sorted(name for name in os.listdir(cfg.work_dir) if name.startswith('best_'))
    last, _ = latest_checkpoint(cfg.work_dir)
    weights = os.path.join(cfg.work_dir, best[-1]) if best else last
    print_rank0(
        f'\ntraining is complete; everything is in {cfg.work_dir}\n'
        f'  evaluate: python tools/test.py {cfg.filename} {weights}\n'
        f'  curves:   python tools/plot_curves.py {cfg.work_dir}'
    )
