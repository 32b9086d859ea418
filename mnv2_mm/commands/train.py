"""Train a config from its name to the best checkpoint; tools/train.py calls this.

mmengine's runner trains. What differs from mmdet's tools/train.py: the data set
and the checkpoint are checked before anything starts, a resume takes the newest
checkpoint that is complete and equals an uninterrupted training, a work dir belongs to
one training at a time, and processes without a GPU are joined by gloo.
"""

import os
import shlex
from argparse import Namespace
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict

from mnv2_mm.checkpoints.content import check_entries
from mnv2_mm.checkpoints.file import read
from mnv2_mm.checkpoints.hub import result_of
from mnv2_mm.checkpoints.loading import safe_loading
from mnv2_mm.checkpoints.resume import checkpoints, last_validation, latest_checkpoint
from mnv2_mm.engine.fast_training import set_fast, set_memory_use, set_mixed_precision
from mnv2_mm.engine.launch import build_runner, preflight, set_launcher, set_work_dir
from mnv2_mm.engine.work_dir_lock import lock_work_dir
from mnv2_mm.runtime.machine import describe
from mnv2_mm.utils.cli import this_command
from mnv2_mm.utils.compat import installed
from mnv2_mm.utils.config import apply_options, config_name, get_config
from mnv2_mm.utils.config_checks import check_values
from mnv2_mm.utils.config_errors import host_of, readable_config_errors
from mnv2_mm.utils.console import filter_warnings, print_rank0, print_warnings
from mnv2_mm.utils.errors import InputError, is_interrupt
from mnv2_mm.utils.mmcv_ops import SENTENCES, ops_kind


@safe_loading()
def train(args: Namespace) -> None:
    """Train by the flags of tools/train.py, and print where the results are."""
    filter_warnings()
    notes = [f'machine: {describe()}', f'ops of mmcv: {SENTENCES[ops_kind()]}']
    cfg = _prepare(args, notes)
    set_launcher(cfg, args.launcher, args.local_rank)
    with lock_work_dir(cfg.work_dir):
        _train(cfg, args, notes)


def _train(cfg: Config, args: Namespace, notes: list[str]) -> None:
    """Train in a work dir that no other process uses."""
    path = _set_resume(cfg, args.resume)
    if path is not None and _is_finished(cfg, path):
        print_rank0('this training is complete already; nothing to do')
        _report(cfg)
        return
    preflight(cfg, splits=('train', 'val'))
    train_cfg = cfg.get('train_cfg') or {}
    ends = ((train_cfg.get(f'max_{unit}'), unit) for unit in ('epochs', 'iters'))
    length = ' '.join(f'{n} {unit[: -1 if n == 1 else None]}' for n, unit in ends if n)
    place = 'GPU' if torch.cuda.is_available() else 'CPU'
    print_rank0(
        f'training {config_name(cfg)} for {length} on the {place}\n'
        f'log and checkpoints are in {cfg.work_dir}'
    )
    before = _newest(cfg)
    try:
        with readable_config_errors(cfg):
            runner = build_runner(cfg, training=True)
            for note in notes:
                runner.logger.info(note)
            runner.train()
    except BaseException as error:
        if not is_interrupt(error):
            raise
        if path is not None or _newest(cfg) != before:
            command = this_command(*(['--resume'] if args.resume is None else []))
            print_rank0(f'\nstopped; continue with: {command}')
        else:  # --resume would take the checkpoint of another training
            command = this_command()
            print_rank0(f'\nstopped before its first checkpoint; start with: {command}')
        raise
    _report(cfg)


def _newest(cfg: Config) -> tuple[str, int] | None:
    """Newest complete checkpoint of the work dir and its time."""
    path, _ = latest_checkpoint(cfg.work_dir)
    return path and (path, os.stat(path).st_mtime_ns)


def _add_trackers(cfg: Config, args: Namespace) -> None:
    """Send losses and metrics to the services of the flags too."""
    name = config_name(cfg)
    trackers = {
        'tensorboard': dict(type='TensorboardVisBackend'),
        'wandb': dict(
            type='WandbVisBackend', init_kwargs=dict(project='mnv2_mm', name=name)
        ),
        'mlflow': dict(
            type='MLflowVisBackend',
            exp_name='mnv2_mm',
            run_name=name,
            **_mlflow_place(cfg),
        ),
    }
    chosen = [key for key in trackers if getattr(args, key)]
    for key in chosen:
        if not installed(key):
            raise InputError(f'--{key} needs a package: pip install {key}')
    visualizer = ConfigDict(cfg.get('visualizer') or dict(type='Visualizer'))
    backends = list(visualizer.get('vis_backends') or [dict(type='LocalVisBackend')])
    known = [entry['type'] for entry in backends]
    new = [trackers[k] for k in chosen if trackers[k]['type'] not in known]
    visualizer.vis_backends = [*backends, *new]
    cfg.visualizer = visualizer


def _mlflow_place(cfg: Config) -> dict[str, str]:
    """Server of the environment, else a database and files in the work dir.

    mmengine's default is a store of files, which MLflow no longer takes.
    """
    if server := os.environ.get('MLFLOW_TRACKING_URI'):
        return dict(tracking_uri=server)
    folder = Path(cfg.work_dir).resolve()
    return dict(
        tracking_uri=f'sqlite:///{folder}/mlflow.db',
        artifact_location=(folder / 'mlruns').as_uri(),
    )


def _prepare(args: Namespace, notes: list[str]) -> Config:
    """From the flags to a complete config; adds what was chosen to the notes."""
    cfg = get_config(args.config)
    print_warnings(apply_options(cfg, args.cfg_options))
    set_work_dir(cfg, args.work_dir)
    host_of(cfg)
    if not torch.cuda.is_available():
        notes.append(set_memory_use(cfg))
    if args.fast:
        notes.append(set_fast(cfg))
    elif args.amp:
        notes.append(f'--amp: {set_mixed_precision(cfg)}')
    if args.auto_scale_lr:
        if 'base_batch_size' not in (cfg.get('auto_scale_lr') or {}):
            raise InputError(
                f'--auto-scale-lr: config {config_name(cfg)} does not name the total '
                'batch of its learning rate; add '
                'auto_scale_lr=dict(base_batch_size=...) to it'
            )
        cfg.auto_scale_lr.enable = True
    _add_trackers(cfg, args)
    if args.seed is not None:
        cfg.randomness = dict(cfg.get('randomness') or {}, seed=args.seed)
    check_values(cfg, splits=('train', 'val'))
    return cfg


def _set_resume(cfg: Config, resume: str | None) -> str | None:
    """Choose the checkpoint to continue from; returns it, or None."""
    if resume is None:
        old = checkpoints(cfg.work_dir)
        if old and not cfg.get('resume'):
            print_rank0(
                f'warning: {cfg.work_dir} holds checkpoints of an earlier training '
                f'({os.path.basename(old[0])}), which will be overwritten; --resume '
                'continues it'
            )
        return None
    path: str | None = resume
    if resume == 'auto':
        path, broken = latest_checkpoint(cfg.work_dir)
        print_warnings([f'{name} is cut off; it is skipped' for name in broken])
        if path is None:
            where = f'no checkpoint in {cfg.work_dir} yet'
            print_rank0(f'--resume: {where}; starting from the beginning')
            return None
    cfg.resume = True
    cfg.load_from = path
    return path


def _is_finished(cfg: Config, path: str) -> bool:
    """Whether a checkpoint stands at the end of the config's training."""
    state = read(path)
    check_entries(state, path, resume=True)
    meta = state.get('meta') or {}
    if None in (meta.get('epoch'), meta.get('iter')):
        raise InputError(
            f'--resume: {path} holds weights but no state of a training; start a new '
            f'training from it by --cfg-options load_from={path}'
        )
    train_cfg = cfg.get('train_cfg') or {}
    for unit in ('epoch', 'iter'):
        end = train_cfg.get(f'max_{unit}s')
        if end is not None:
            print_rank0(f'continuing from {path}: {unit} {meta[unit]} of {end}')
            if meta[unit] >= end:
                # killed during its last validation, it has still to choose the best
                evaluated = last_validation(cfg.work_dir) == meta['iter']
                return evaluated or not cfg.get('val_dataloader')
    if 'optimizer' not in state:
        print_rank0(
            f'warning: {path} holds no state of the optimizer (the best_* files have '
            'none), so momentum and learning rate start from the beginning; --resume '
            'without a name continues from the last checkpoint'
        )
    return False


def _report(cfg: Config) -> None:
    """Say where the results are and what to do next."""
    weights, score = result_of(cfg.work_dir)
    note = '' if score is None else f'  # the best, with {score:.4g}'
    test = shlex.join(['mnv2', 'test', str(cfg.filename), str(weights)])
    if weights is None:
        test = 'no checkpoint was saved, as the config says'
    print_rank0(
        f'\ntraining is complete; everything is in {cfg.work_dir}\n'
        f'  evaluate: {test}{note}\n'
        f'  curves:   {shlex.join(["mnv2", "curves", cfg.work_dir])}\n'
        f'  report:   {shlex.join(["mnv2", "report", cfg.work_dir])}'
    )
