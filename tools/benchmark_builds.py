"""Compare all exported models of one config: size, latency and accuracy.

Each folder of WORK_DIR that holds an exported model is a line of the table.
Times that it brings (benchmark.json, from tools/export.py or from the device
itself) are kept; others are measured here. With --config the accuracy on the
config's test set is measured; with --checkpoint PyTorch is the first line. A
model that cannot run here keeps its line, and the reason is printed.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mnv2_mm.utils.cli import tool_parser
from mnv2_mm.utils.errors import InputError, command
from mnv2_mm.utils.files import check_output, write_text

if TYPE_CHECKING:
    from mmengine.config import Config

    from mnv2_mm.benchmark.exported_models import Row

#: Accuracies in the order of preference, where the config names none.
_METRICS = ('coco/bbox_mAP', 'mIoU', 'accuracy/top1')


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = tool_parser(
        'Compare all exported models of one config',
        'python tools/benchmark_builds.py exported --image photo.jpg',
        'python tools/benchmark_builds.py exported --config CONFIG --limit 100',
    )
    parser.add_argument('work_dir', help='folder with a folder for each model')
    parser.add_argument('--config', help='model config; measures the accuracy')
    parser.add_argument('--checkpoint', help='.pth file: PyTorch as the first line')
    parser.add_argument(
        '--image', help='image to time with (default: the first of the test set)'
    )
    parser.add_argument(
        '--limit',
        type=int,
        metavar='N',
        help='measure accuracy on N images, spread over the test set',
    )
    parser.add_argument(
        '--no-accuracy', action='store_true', help='sizes and latencies only'
    )
    parser.add_argument(
        '--again', action='store_true', help='time again what has times already'
    )
    parser.add_argument(
        '--out', help='write OUT.md and OUT.png (default: WORK_DIR/exported_models)'
    )
    return parser.parse_args()


def checked_config(args: argparse.Namespace) -> 'Config | None':
    """The model config, if one is given.

    Raises:
        InputError: options that do not go together, or files that are missing.
    """
    from mnv2_mm.checkpoints.file import check_file
    from mnv2_mm.utils.config import get_config
    from mnv2_mm.utils.config_errors import host_of

    if args.limit is not None and args.limit < 1:
        raise InputError(f'--limit is {args.limit}; give 1 or more')
    if args.image and not Path(args.image).is_file():
        raise InputError(f'there is no image {args.image}')
    if not args.config:
        if args.checkpoint or args.limit:
            raise InputError(
                '--checkpoint and --limit need --config, the config of the model'
            )
        return None
    cfg = get_config(args.config)
    host_of(cfg)
    if cfg.get('test_dataloader') is None:
        raise InputError(
            f'config {args.config} has no test_dataloader; nothing can be '
            'evaluated: leave out --config'
        )
    if args.checkpoint:
        check_file(args.checkpoint)
    return cfg


def first_image(cfg: 'Config') -> str:
    """Path of the first image of the test set."""
    from mmengine.registry import DATASETS, init_default_scope

    from mnv2_mm.engine.launch import preflight
    from mnv2_mm.utils.config import evaluation_dataset
    from mnv2_mm.utils.config_errors import readable_config_errors

    preflight(cfg, splits=('test',))
    init_default_scope(cfg.default_scope)
    with readable_config_errors(cfg):
        return DATASETS.build(evaluation_dataset(cfg)).get_data_info(0)['img_path']


def main_metric(cfg: 'Config', rows: 'list[Row]') -> str:
    """The metric by which the config keeps its best checkpoint."""
    found = [key for row in rows for key in row.metrics]
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    wanted = (hook.get('save_best'), *_METRICS)
    return next((key for key in wanted if key in found), (found or [''])[0])


@command
def main() -> int:
    """Time, evaluate, print, draw."""
    args = parse_args()

    from mnv2_mm.benchmark import exported_models
    from mnv2_mm.utils.console import filter_warnings, print_rank0

    filter_warnings()
    cfg = checked_config(args)
    rows = exported_models.find_exported_models(args.work_dir)
    stem = args.out or str(Path(args.work_dir) / 'exported_models')
    check_output(f'{stem}.md')
    image = args.image or (cfg and first_image(cfg))
    for row in rows:
        if row.bytes is None or (row.times and not args.again):
            continue  # cannot be read, or has been timed
        if image is None:
            row.problems.append('not timed: give --image or --config')
            continue
        print_rank0(f'timing {row.name}')
        exported_models.measure_latency(row, image)
    if args.checkpoint:
        print_rank0('timing PyTorch')
        rows.insert(0, exported_models.pytorch_row(cfg, args.checkpoint, image))
    metric = ''
    if cfg is not None and not args.no_accuracy:
        for row in rows:
            if row.bytes is not None:
                print_rank0(f'evaluating {row.name}')
                exported_models.measure_accuracy(row, args.config, args.limit)
        metric = main_metric(cfg, rows)
    text = exported_models.table(rows, metric)
    if args.limit and metric:
        text += f'\n{metric} on {args.limit} images of the test set.\n'
    print(f'\n{text}')
    write_text(f'{stem}.md', text)
    title = Path(args.work_dir).resolve().name
    drawn = exported_models.plot(rows, f'{stem}.png', metric=metric, title=title)
    print(f'written to {stem}.md' + (f' and {stem}.png' if drawn else ''))
    return 0


if __name__ == '__main__':
    main()
