"""One table, and a photo, of all builds of one model.

    python tools/deploy.py DEPLOY_CONFIG CONFIG CHECKPOINT photo.jpg \
        --work-dir work_dirs/builds/onnxruntime_fp32    # and so on
    python tools/benchmark_builds.py work_dirs/builds --config CONFIG \
        --checkpoint CHECKPOINT

Each folder of WORK_DIR that holds a build is a line: size, latency and, with
--config, accuracy on the config's test set. Times that a build brings
(benchmark.json, from tools/deploy.py or from the device itself) are taken as
they are; others are measured here. With --checkpoint PyTorch is the first
line. A build that cannot run here keeps its line, and the reason is said.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmengine.config import Config

from mnv2_mm.benchmark.builds import Row, evaluate, find_builds, time_build
from mnv2_mm.benchmark.builds_report import plot, table
from mnv2_mm.checkpoints.file import check_file
from mnv2_mm.engine import launch
from mnv2_mm.utils.config import get_config
from mnv2_mm.utils.errors import InputError, command

#: Accuracies in the order of preference, where the config names none.
_METRICS = ('coco/bbox_mAP', 'mIoU', 'accuracy/top1')


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Compare all builds of one model')
    parser.add_argument('work_dir', help='folder with a folder for each build')
    parser.add_argument('--config', help='model config; with it accuracy is measured')
    parser.add_argument('--checkpoint', help='.pth file: PyTorch as the first line')
    parser.add_argument(
        '--image',
        help='photo to time with (default: the first of the test set)',
    )
    parser.add_argument(
        '--limit',
        type=int,
        metavar='N',
        help='measure accuracy on N photos, spread over the test set',
    )
    parser.add_argument(
        '--no-accuracy', action='store_true', help='sizes and latencies only'
    )
    parser.add_argument(
        '--again',
        action='store_true',
        help='time again what has been timed before',
    )
    parser.add_argument(
        '--out',
        help='write OUT.md and OUT.png (default: WORK_DIR/builds)',
    )
    return parser.parse_args()


def check(args: argparse.Namespace) -> Config | None:
    """The model config; what is asked for must be there.

    Raises:
        InputError: options that do not go together, or files that are not.
    """
    if args.limit is not None and args.limit < 1:
        raise InputError(f'--limit is {args.limit}; give 1 or more')
    if args.image and not Path(args.image).is_file():
        raise InputError(f'there is no photo {args.image}')
    if not args.config:
        if args.checkpoint or args.limit:
            raise InputError(
                '--checkpoint and --limit need --config, the config of the model'
            )
        return None
    cfg = get_config(args.config)
    launch.host_of(cfg)
    if cfg.get('test_dataloader') is None:
        raise InputError(
            f'config {args.config} has no test_dataloader; nothing can be '
            'evaluated: leave out --config'
        )
    if args.checkpoint:
        check_file(args.checkpoint)
    return cfg


def photo(args: argparse.Namespace, cfg: Config | None) -> str | None:
    """The photo to time with, if there is one."""
    if args.image or cfg is None:
        return args.image
    from mmengine.registry import DATASETS, init_default_scope

    from mnv2_mm.utils.config import evaluation_dataset

    launch.preflight(cfg, splits=('test',))
    init_default_scope(cfg.default_scope)
    with launch.readable_config_errors(cfg):
        first = DATASETS.build(evaluation_dataset(cfg)).get_data_info(0)
    return first['img_path']


def main_metric(cfg: Config, rows: list[Row]) -> str:
    """The figure by which the config keeps its best checkpoint."""
    found = [key for row in rows for key in row.metrics]
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    wanted = (hook.get('save_best'), *_METRICS)
    return next((key for key in wanted if key in found), (found or [''])[0])


@command
def main() -> int:
    """Time, evaluate, print, draw."""
    args = parse_args()
    launch.filter_warnings()
    cfg = check(args)
    builds = find_builds(args.work_dir)
    image = photo(args, cfg)
    rows = [row for _, row in builds]
    places = {row.name: folder for folder, row in builds}
    if args.checkpoint:
        from mnv2_mm.benchmark.builds_pytorch import pytorch_row

        launch.print_rank0('timing PyTorch')
        rows.insert(0, pytorch_row(cfg, args.checkpoint, image))
        places['PyTorch'] = Path(args.checkpoint)
    for folder, row in builds:
        if row.bytes is None or (row.times and not args.again):
            continue  # cannot be read, or has been timed
        if image is None:
            row.problems.append('not timed: give --image or --config')
            continue
        launch.print_rank0(f'timing {row.name}')
        time_build(folder, row, image)
    metric = ''
    if cfg is not None and not args.no_accuracy:
        for row in rows:
            if row.bytes is None:
                continue
            launch.print_rank0(f'evaluating {row.name}')
            evaluate(places[row.name], row, args.config, limit=args.limit or 0)
        metric = main_metric(cfg, rows)
    stem = args.out or str(Path(args.work_dir) / 'builds')
    text = table(rows, metric)
    if args.limit and metric:
        text += f'\n{metric} on {args.limit} photos of the test set.\n'
    print(f'\n{text}')
    try:
        Path(stem).parent.mkdir(parents=True, exist_ok=True)
        Path(f'{stem}.md').write_text(text, encoding='utf-8')
        title = Path(args.work_dir).resolve().name
        drawn = plot(rows, f'{stem}.png', metric=metric, title=title)
    except OSError as error:
        raise InputError(
            f'{stem}.md cannot be written ({error.strerror}); give --out'
        ) from error
    print(f'written: {stem}.md' + (f' and {stem}.png' if drawn else ''))
    return 0


if __name__ == '__main__':
    main()
