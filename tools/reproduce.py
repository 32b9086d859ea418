"""Evaluate the paper's rows with Google's published weights, by their protocol.

Takes the validation set of ImageNet, COCO or VOC, fetches and converts the weights of
each row, and prints the accuracy of the paper, of the publisher and as measured. Or
compares converted TFLite files with their interpreter on images without labels.
"""

import os
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # see tools/train.py

from mnv2_mm.utils.cli import output_file, output_folder, output_json, tool_parser
from mnv2_mm.utils.errors import InputError, command

TABLES = ('table4', 'figure5', 'table6', 'table7')


@command
def main() -> None:
    """Evaluate or compare."""
    parser = tool_parser(
        __doc__.partition('\n')[0],
        'python tools/reproduce.py table6 --data data/coco',
        'python tools/reproduce.py figure5 --data data/imagenet --rows "*_r224"',
        'python tools/reproduce.py table7 --data VOCdevkit --weights '
        'deeplabv3_mnv2_voc=FILE.tflite --rows mobilenet_v2_os16 --interpreter',
        'python tools/reproduce.py agreement --data photos --weights FILE.tflite',
    )
    parser.add_argument(
        'table',
        choices=[*TABLES, 'agreement'],
        help='what to evaluate; agreement: compare files with their interpreter',
    )
    parser.add_argument(
        '--data', required=True, help='folder of the validation set, or images'
    )
    parser.add_argument(
        '--rows', nargs='+', default=[], metavar='ID', help='rows, e.g. "*_r224"'
    )
    parser.add_argument(
        '--weights',
        nargs='+',
        default=[],
        metavar='NAME=FILE',
        help='files in place of downloads: NAME=FILE, a folder, or one FILE',
    )
    parser.add_argument(
        '--limit', type=int, metavar='N', help='evaluate N images, spread evenly'
    )
    parser.add_argument(
        '--partial',
        action='store_true',
        help='leave out listed images that are missing',
    )
    parser.add_argument(
        '--ids', type=Path, metavar='FILE', help="COCO image ids, e.g. minival's"
    )
    parser.add_argument(
        '--classes',
        nargs='+',
        metavar='NAME',
        help="classes of a detector that has not COCO's; any: all boxes are one class",
    )
    parser.add_argument(
        '--interpreter',
        action='store_true',
        help='evaluate each TFLite file itself too (pip install ai-edge-litert)',
    )
    parser.add_argument(
        '--host',
        action='store_true',
        help="evaluate the same weights in the host's own MobileNetV2 too",
    )
    parser.add_argument(
        '--peers',
        nargs='+',
        default=[],
        metavar='FILE',
        help='evaluate weights of torchvision, timm or mmpretrain too (table4)',
    )
    parser.add_argument(
        '--opencv-resize',
        action='store_true',
        help='resize by OpenCV, not as TensorFlow 1, to see the difference',
    )
    parser.add_argument(
        '--work-dir',
        type=output_folder,
        help='finished rows are kept here (default: work_dirs/reproduce_TABLE)',
    )
    parser.add_argument('--batch-size', type=int, metavar='N', help='images at once')
    parser.add_argument(
        '--workers', type=int, default=2, metavar='N', help='loading processes'
    )
    parser.add_argument('--json', type=output_json, metavar='FILE', help='write JSON')
    parser.add_argument(
        '--markdown',
        type=partial(output_file, endings=('.md',)),
        metavar='FILE.md',
        help='write the table',
    )
    args = parser.parse_args()
    for name in ('limit', 'batch_size'):
        if (getattr(args, name) or 1) < 1:
            raise InputError(f'--{name.replace("_", "-")} must be 1 or more')
    if args.workers < 0:
        raise InputError('--workers must be 0 or more')

    if args.table == 'agreement':
        from mnv2_mm.commands.agreement import compare as run
    else:
        from mnv2_mm.commands.reproduce import reproduce as run
    run(args)


if __name__ == '__main__':
    main()
