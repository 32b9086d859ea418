"""Evaluate a checkpoint or an exported model: detection, segmentation, classification.

The flags are those of mmdet's tools/test.py, for all three tasks.
"""

import os
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # see tools/train.py

from mnv2_mm.utils.cli import (
    add_cfg_options,
    add_launcher,
    output_file,
    output_folder,
    tool_parser,
)
from mnv2_mm.utils.errors import command


@command
def main() -> None:
    """Evaluate."""
    parser = tool_parser(
        'Evaluate a model',
        'python tools/test.py ssdlite_mnv2_coco work_dirs/x/epoch_1.pth',
        'python tools/test.py deeplabv3_mnv2_voc w.pth --tta --show-dir images',
    )
    parser.add_argument('config', help='config file, or the name of one')
    parser.add_argument(
        'checkpoint',
        help='.pth file of a training, mnv2_mm://NAME, or folder of an exported model',
    )
    parser.add_argument(
        '--work-dir',
        type=output_folder,
        help='where logs and metrics.json go (default: work_dirs/<config name>)',
    )
    parser.add_argument(
        '--out',
        type=partial(output_file, endings=('.pkl', '.pickle')),
        metavar='FILE.pkl',
        help='write the predictions to this file',
    )
    parser.add_argument(
        '--show', action='store_true', help='show each image in a window'
    )
    parser.add_argument(
        '--show-dir',
        type=output_folder,
        help='write each image with its prediction here',
    )
    parser.add_argument(
        '--wait-time', type=float, default=2, help='seconds per --show window'
    )
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')
    parser.add_argument(
        '--optimize',
        action='store_true',
        help='evaluate the network as load runs it: optimized, same results',
    )
    parser.add_argument(
        '--dtype',
        choices=['float32', 'bfloat16'],
        default='float32',
        help='evaluate the network as init_model(..., dtype=DTYPE) runs it',
    )
    parser.add_argument(
        '--limit',
        type=int,
        metavar='N',
        help='evaluate on N images, spread evenly over the data set',
    )
    add_cfg_options(parser)
    add_launcher(parser)
    args = parser.parse_args()

    from mnv2_mm.commands.test import test

    test(args)


if __name__ == '__main__':
    main()
