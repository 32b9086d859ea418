"""Train any config: detection, segmentation or classification.

The flags are those of mmdet's tools/train.py. What differs: the data set and
the checkpoint are looked at before anything starts, --resume takes the
newest checkpoint that is complete, and processes without a GPU talk by gloo.

    python tools/train.py configs/ssdlite_mnv2_coco.py
    python tools/train.py ssdlite_sample --work-dir work_dirs/x --resume
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
# Before torch is loaded: threads that wait for each other must not keep the
# cores busy. With more processes than cores (a data loader suffices) a step
# on the CPU takes up to a hundred times as long otherwise.
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

import torch
from mmengine.config import Config, DictAction

from mnv2_mm.checkpoints.file import read
from mnv2_mm.checkpoints.resume import checkpoints, latest_checkpoint
from mnv2_mm.engine import launch
from mnv2_mm.engine.bfloat16_optim import set_half_precision
from mnv2_mm.engine.memory_format import use_channels_last
from mnv2_mm.utils.config import apply_options, config_name, get_config
from mnv2_mm.utils.errors import InputError, command
from mnv2_mm.utils.malloc_tuning import keep_freed_memory


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Train a model')
    parser.add_argument('config', help='config file, or the name of one')
    parser.add_argument(
        '--work-dir',
        help='where logs and checkpoints go (default: work_dirs/<config name>)',
    )
    parser.add_argument(
        '--amp',
        action='store_true',
        help='mixed precision: float16 on a GPU, bfloat16 on a processor',
    )
    parser.add_argument(
        '--fast',
        action='store_true',
        help='--amp, tensors laid out channels last, and memory kept between '
        'steps: about twice the speed, and rounding as of --amp',
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate to the real total batch',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='continue from this checkpoint; without a name from the newest '
        'complete one of the work dir, or from the start if there is none',
    )
    parser.add_argument('--seed', type=int, help='seed (default: config)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='override config keys: key=value, lists as key="[a,b]"',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how the processes of one training are started',
    )
    # torch.distributed.launch passes it with a dash or an underscore
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    return parser.parse_args()


def set_auto_scale(cfg: Config) -> None:
    """Scale the learning rate by real batch / batch of the recipe."""
    scale = cfg.get('auto_scale_lr') or {}
    if 'base_batch_size' not in scale:
        raise InputError(
            f'--auto-scale-lr: config {config_name(cfg)} does not say which '
            'total batch its learning rate is meant for; add '
            'auto_scale_lr=dict(base_batch_size=...) to it'
        )
    cfg.auto_scale_lr.enable = True


def set_resume(cfg: Config, resume: str | None) -> str | None:
    """Choose the checkpoint to continue from; returns it, or None."""
    if resume is None:
        old = checkpoints(cfg.work_dir)
        if old and not cfg.get('resume'):
            launch.print_warnings(
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
        launch.print_warnings([f'{name} is cut off and skipped' for name in broken])
        if path is None:
            launch.print_rank0(
                f'--resume: no checkpoint in {cfg.work_dir} yet; starting '
                'from the beginning'
            )
            return None
    cfg.resume = True
    cfg.load_from = path
    return path


def is_finished(cfg: Config, path: str) -> bool:
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
            launch.print_rank0(f'continuing from {path}: {unit} {meta[unit]} of {end}')
            if meta[unit] >= end:
                return True
    if 'optimizer' not in state:
        launch.print_warnings(
            [
                f'{path} holds no state of the optimizer (the best_* files '
                'have none): momentum and learning rate start anew. '
                '--resume without a name continues from the last checkpoint.'
            ]
        )
    return False


def prepare(args: argparse.Namespace) -> Config:
    """From the command line to a complete config."""
    cfg = get_config(args.config)
    launch.print_warnings(apply_options(cfg, args.cfg_options))
    launch.set_work_dir(cfg, args.work_dir)
    launch.host_of(cfg)
    if args.amp or args.fast:
        launch.print_warnings(set_half_precision(cfg))
    if args.fast:
        use_channels_last(cfg)
        keep_freed_memory()
    if args.auto_scale_lr:
        set_auto_scale(cfg)
    if args.seed is not None:
        cfg.setdefault('randomness', {})['seed'] = args.seed
    return cfg


def announce(cfg: Config) -> None:
    """Say what starts; the whole config is in the log file."""
    train_cfg = cfg.get('train_cfg') or {}
    length = [
        f'{train_cfg[f"max_{unit}"]} {unit}'
        for unit in ('epochs', 'iters')
        if train_cfg.get(f'max_{unit}') is not None
    ]
    place = 'GPU' if torch.cuda.is_available() else 'CPU'
    launch.print_rank0(
        f'training {config_name(cfg)} for {" ".join(length)} on the {place}; '
        f'log and checkpoints in {cfg.work_dir}'
    )


def report(cfg: Config) -> None:
    """Say where the results lie and what to do next."""
    best = sorted(name for name in os.listdir(cfg.work_dir) if name.startswith('best_'))
    last, _ = latest_checkpoint(cfg.work_dir)
    weights = os.path.join(cfg.work_dir, best[-1]) if best else last
    launch.print_rank0(
        f'\ntraining is complete; everything is in {cfg.work_dir}\n'
        f'  evaluate: python tools/test.py {cfg.filename} {weights}\n'
        f'  curves:   python tools/plot_curves.py {cfg.work_dir}'
    )


@command
def main() -> int:
    """Train."""
    args = parse_args()
    launch.filter_warnings()
    cfg = prepare(args)
    launch.set_launcher(cfg, args.launcher, args.local_rank)
    path = set_resume(cfg, args.resume)
    if path is not None and is_finished(cfg, path):
        launch.print_rank0('this training is complete already; nothing to do')
        report(cfg)
        return 0
    launch.preflight(cfg, splits=('train', 'val'))
    announce(cfg)
    try:
        with launch.readable_config_errors(cfg):
            launch.build_runner(cfg).train()
    except KeyboardInterrupt:
        launch.print_rank0(
            f'\nstopped; continue with: python tools/train.py {args.config} '
            f'--work-dir {cfg.work_dir} --resume'
        )
        raise
    report(cfg)
    return 0


if __name__ == '__main__':
    main()
