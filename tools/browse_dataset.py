"""Draw the ground truth of a config's data set and count its labels.

The images are those that the network gets, after the pipeline with its random
transforms. Unusual labels are reported: masks of 0 and 255, labels without a
class, classes without a label.
"""

import argparse
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mnv2_mm.utils.cli import add_cfg_options, output_folder, tool_parser
from mnv2_mm.utils.errors import InputError, command, message_of
from mnv2_mm.utils.files import check_output, user_path, write_image

if TYPE_CHECKING:  # slow imports; --help does not need them
    from mmengine.config import Config
    from mmengine.dataset import BaseDataset

    from mnv2_mm.datasets.gt_visualizer import GtVisualizer


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = tool_parser(
        __doc__,
        'python tools/browse_dataset.py ssdlite_sample --split val --num 30',
        'python tools/browse_dataset.py configs/examples/deeplabv3_pets.py \\\n'
        '    --cfg-options train_dataloader.dataset.data_root=/data/pets_seg',
    )
    parser.add_argument('config', help='config file, or the name of one')
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='train')
    parser.add_argument(
        '--out-dir',
        type=output_folder,
        help='folder of the images (default: work_dirs/browse/<config>_<split>)',
    )
    parser.add_argument(
        '--num', type=int, default=12, help='images to draw, evenly picked'
    )
    parser.add_argument('--seed', type=int, default=0, help='of the random transforms')
    add_cfg_options(parser)
    args = parser.parse_args()
    if args.num < 0:
        parser.error(f'--num is {args.num}; give 0 or more')
    return args


def build(cfg: 'Config', split: str) -> tuple['BaseDataset', bool]:
    """Build the data set and print what is wrong with it.

    Returns:
        The data set, and whether it has a problem that does not prevent
        drawing it.

    Raises:
        InputError: It cannot be built.
    """
    from mmengine.registry import DATASETS, init_default_scope

    from mnv2_mm.datasets.checks.preflight import check

    problem = None
    try:
        for text in check(cfg, splits=[split]):
            print(f'warning: {text}')
    except InputError as error:
        problem = error
    try:
        init_default_scope(cfg.default_scope)
        dataset = DATASETS.build(cfg[f'{split}_dataloader'].dataset)
    except Exception as error:
        # the message of the check is clearer than the host's
        raise (problem or error) from error
    if problem:
        print(f'warning: {message_of(problem)}')
    return dataset, problem is not None


def draw(
    dataset: 'BaseDataset', visualizer: 'GtVisualizer', *, num: int, out: Path
) -> list[Path]:
    """Draw ``num`` images into ``out``; skip broken ones with a warning."""
    from mnv2_mm.datasets.checks.source import evenly

    check_output(out, folder=True)
    written = []
    for index in evenly(range(len(dataset)), num):
        info = dataset.get_data_info(index)
        stem = Path(info.get('img_path', 'image')).stem
        try:
            data = dataset[index]
        except InputError as error:
            print(f'warning: not drawn: {message_of(error)}')
            continue
        image = visualizer.draw(data['inputs'], data['data_samples'])
        path = out / f'{index:06d}_{stem}.jpg'
        write_image(path, image)
        written.append(path)
    return written


@command
def main() -> int:
    """Browse."""
    args = parse_args()
    import numpy as np
    import torch

    from mnv2_mm.datasets.gt_visualizer import GtVisualizer
    from mnv2_mm.datasets.label_histogram import count_labels
    from mnv2_mm.utils.config import apply_options, get_config
    from mnv2_mm.utils.config_errors import host_of
    from mnv2_mm.utils.console import filter_warnings, print_warnings

    filter_warnings()
    cfg = get_config(args.config)
    print_warnings(apply_options(cfg, args.cfg_options))
    if not cfg.get(f'{args.split}_dataloader'):
        raise InputError(f'{args.config} has no {args.split}_dataloader')
    host = host_of(cfg)
    dataset, failed = build(cfg, args.split)
    print(f'{args.split}: {len(dataset)} images; counting labels')
    histogram = count_labels(dataset, host)
    print(f'\n{histogram}\n')
    for text in histogram.warnings():
        print(f'warning: {text}')

    random.seed(args.seed)
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)
    name = f'{Path(args.config).stem}_{args.split}'
    out = user_path(args.out_dir or Path('work_dirs', 'browse', name))
    pipeline = cfg[f'{args.split}_dataloader'].dataset.get('pipeline') or ()
    visualizer = GtVisualizer(dataset.metainfo, pipeline)
    written = draw(dataset, visualizer, num=args.num, out=out)
    print(f'{len(written)} images in {out}')
    return 1 if failed else 0


if __name__ == '__main__':
    main()
