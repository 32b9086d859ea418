"""Train the variants that Figure 6 of the paper compares, small, with seeds.

Four networks (the paper's own is in both panels) times the seeds, one process
of tools/train.py each. Interrupted or repeated, the command goes on with what
is there. Started twice at once with different --variants, the two share the
work; with OMP_NUM_THREADS=1 that uses two cores better than one training
with two threads does.
"""

import argparse
import datetime
import json
import shlex
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mnv2_mm.utils.cli import output_folder, tool_parser
from mnv2_mm.utils.errors import InputError, command
from mnv2_mm.utils.files import write_json

VARIANTS = ('paper', 'relu6', 'expansion', 'none')
ROOT = Path(__file__).resolve().parents[1]
#: Data set: its config, epochs, input size in pixels, epochs from one
#: evaluation to the next, and the options that set the input size.
DATA = {
    'sample': (
        'configs/sample/mnv2_sample.py',
        10,
        64,
        1,
        (
            'train_dataloader.dataset.pipeline.RandomResizedCrop.scale={0}',
            'val_dataloader.dataset.pipeline.Resize.scale=({0},{0})',
        ),
    ),
    'pets': (
        'configs/examples/mnv2_pets.py',
        60,
        64,
        4,
        (
            'train_dataloader.dataset.pipeline.RandomResizedCrop.scale={0}',
            'val_dataloader.dataset.pipeline.EfficientNetCenterCrop.crop_size={0}',
            'val_dataloader.dataset.pipeline.EfficientNetCenterCrop.crop_padding={1}',
        ),
    ),
}
MIN_SIZE = 32  # the network's output stride
SETTINGS = 'settings.json'


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = tool_parser(
        'Train the variants of Figure 6 with several seeds',
        'python tools/figure6_experiment.py --data sample --seeds 3',
        'python tools/figure6_experiment.py --data pets --out work_dirs/figure6_pets',
    )
    parser.add_argument('--data', choices=DATA, default='sample')
    parser.add_argument(
        '--seeds', type=int, default=3, help='number of seeds: 0, 1, ...'
    )
    parser.add_argument('--epochs', type=int, help='default: by --data')
    parser.add_argument('--input-size', type=int, help='pixels (default: by --data)')
    parser.add_argument(
        '--variants',
        nargs='+',
        choices=VARIANTS,
        default=list(VARIANTS),
        help='train only these (default: all)',
    )
    parser.add_argument(
        '--out', type=output_folder, help='folder (default: work_dirs/figure6_<data>)'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='more options of tools/train.py, for all trainings',
    )
    args = parser.parse_args()
    _, epochs, size, _, _ = DATA[args.data]
    args.epochs = epochs if args.epochs is None else args.epochs
    args.input_size = size if args.input_size is None else args.input_size
    args.out = Path(args.out or f'work_dirs/figure6_{args.data}')
    return args


def common_options(args: argparse.Namespace) -> list[str]:
    """The --cfg-options that all trainings share."""
    from mnv2_mm.utils.config import get_config

    config, _, _, interval, size_options = DATA[args.data]
    cfg = get_config(ROOT / config)
    (cosine,) = (
        index
        for index, scheduler in enumerate(cfg.param_scheduler)
        if scheduler.type == 'CosineAnnealingLR'
    )
    begin = cfg.param_scheduler[cosine].begin
    if args.epochs <= begin:
        raise InputError(
            f'--epochs is {args.epochs}; give {begin + 1} or more, since the warm-up '
            f'of {config} takes {begin}'
        )
    if args.input_size < MIN_SIZE:
        raise InputError(f'--input-size is {args.input_size}; give {MIN_SIZE} or more')
    if args.seeds < 1:
        raise InputError(f'--seeds is {args.seeds}; give 1 or more')
    interval = min(interval, args.epochs)
    size = args.input_size
    return [
        f'train_cfg.max_epochs={args.epochs}',
        f'train_cfg.val_interval={interval}',
        f'param_scheduler.{cosine}.end={args.epochs}',
        f'param_scheduler.{cosine}.T_max={args.epochs - begin}',
        f'default_hooks.checkpoint.interval={interval}',
        'default_hooks.checkpoint.max_keep_ckpts=2',
        *(option.format(size, size // 7) for option in size_options),
        *args.cfg_options,
    ]


def check_settings(args: argparse.Namespace, options: list[str]) -> dict:
    """Refuse a folder with trainings of other settings."""
    from mnv2_mm.analysis.trainings import holds_training

    config = DATA[args.data][0]
    settings = dict(
        title=f'{Path(config).stem}, {args.input_size} px, {args.epochs} epochs',
        config=config,
        options=options,
    )
    path = args.out / SETTINGS
    # those of a training that failed at its start do not count
    if not path.exists() or not holds_training(args.out):
        write_json(path, settings)
    elif (old := json.loads(path.read_text())) != settings:
        named = sorted({*old['options']} ^ {*options}) or [old['config']]
        raise InputError(
            f'{args.out} holds trainings with other settings '
            f'({", ".join(named)}); give another --out'
        )
    return settings


def train(work_dir: Path, settings: dict, variant: str, seed: int) -> dict[str, object]:
    """Train one variant with one seed; returns its record.

    Raises:
        InputError: the training ended with an error, which it has printed.
    """
    import mmcv
    import mmengine
    import numpy as np
    import torch

    import mnv2_mm
    from mnv2_mm.analysis import figure6
    from mnv2_mm.analysis.trainings import run_training

    options = [*settings['options'], *figure6.VARIANTS[variant].options]
    place = ['--work-dir', str(work_dir), '--seed', str(seed)]
    told = ['python', 'tools/train.py', settings['config'], *place, '--cfg-options']
    start = time.monotonic()
    # an absolute path: the tool can be started in any folder
    curves = run_training(ROOT / settings['config'], work_dir, seed, options)
    loss = np.asarray(curves.train['loss'])
    return dict(
        variant=variant,
        seed=seed,
        command=shlex.join([*told, *options]),
        date=datetime.date.today().isoformat(),
        seconds=round(time.monotonic() - start),
        resumed_at=curves.resumed,  # seconds are those since the last
        versions=dict(
            python=sys.version.split()[0],
            torch=torch.__version__,
            mmengine=mmengine.__version__,
            mmcv=mmcv.__version__,
            mnv2_mm=mnv2_mm.__version__,
        ),
        threads=torch.get_num_threads(),
        top1=curves.metrics[figure6.TOP1],
        # of the last tenth, beside which one record is noise
        final_loss=float(loss[-max(1, len(loss) // 10) :, 1].mean()),
    )


def collect(out: Path, settings: dict) -> dict:
    """Join what is finished in ``out`` to one file."""
    from mnv2_mm.analysis.figure6 import RECORDS
    from mnv2_mm.analysis.trainings import RESULT

    runs = [
        json.loads(path.read_text()) for path in sorted(out.glob(f'*_seed*/{RESULT}'))
    ]
    records = dict(settings, runs=runs)
    write_json(out / RECORDS, records)
    return records


@command
def main() -> int:
    """Train what is missing, and print the results."""
    args = parse_args()

    from mnv2_mm.analysis.figure6 import RECORDS, summary
    from mnv2_mm.analysis.trainings import RESULT

    settings = check_settings(args, common_options(args))
    settings['command'] = shlex.join(['python', *sys.argv])
    # seed by seed, so that an unfinished experiment compares something too
    todo = [(v, seed) for seed in range(args.seeds) for v in args.variants]
    for number, (variant, seed) in enumerate(todo, start=1):
        work_dir = args.out / f'{variant}_seed{seed}'
        if (work_dir / RESULT).is_file():
            continue
        print(f'\n== {number} of {len(todo)}: {work_dir}', flush=True)
        write_json(work_dir / RESULT, train(work_dir, settings, variant, seed))
        collect(args.out, settings)
    records = collect(args.out, settings)
    print(f'\n{settings["title"]}, top-1 in percent:\n{summary(records)}')
    print(f'records are in {args.out / RECORDS}')
    return 0


if __name__ == '__main__':
    main()
