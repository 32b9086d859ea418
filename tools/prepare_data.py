"""Prepare your own data set: read any annotation format, split it, write a config.

Boxes: YOLO, VOC XML, COCO, LabelMe, CVAT, Open Images, CSV. Masks: PNG, COCO. Classes:
a folder of class folders. The format is recognized; one report lists every problem.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mnv2_mm.utils.cli import output_folder, tool_parser
from mnv2_mm.utils.errors import command


@command
def main() -> None:
    """Prepare."""
    parser = tool_parser(
        'Prepare your own data: read any annotation format, split it, write a config',
        'python tools/prepare_data.py my_folder --out data/mine',
        'python tools/prepare_data.py my_folder --out data/mine --task seg --seed 1',
    )
    parser.add_argument('source', help='folder, or one annotation file in it')
    parser.add_argument(
        '--out', type=output_folder, required=True, help='folder to write'
    )
    parser.add_argument(
        '--task', choices=['det', 'seg', 'cls'], help='default: by what the folder has'
    )
    parser.add_argument(
        '--format',
        choices=[
            'coco', 'yolo', 'voc', 'labelme', 'cvat', 'openimages', 'csv', 'masks',
            'folders',
        ],
        help='where a folder has several',
    )  # fmt: skip
    parser.add_argument(
        '--weights',
        help='file to start from: a detector or an ImageNet network of any code base '
        '(default: the best published one that can be downloaded)',
    )
    parser.add_argument(
        '--input-size',
        type=int,
        metavar='PIXELS',
        help='side of the input (default: by the images and objects); default boxes '
        'are chosen for it',
    )
    parser.add_argument(
        '--epochs',
        type=int,
        metavar='N',
        help='length of the training (default: by the number of images)',
    )
    parser.add_argument('--seed', type=int, default=0, help='of the split')
    parser.add_argument(
        '--force', action='store_true', help='replace an earlier prepared set in --out'
    )
    args = parser.parse_args()

    from mnv2_mm.commands.data import prepare

    prepare(args)


if __name__ == '__main__':
    main()
