"""Predict for images, folders and videos; draw, and write a JSON file.

The networks that Google published run by name, see configs/official/metafile.yml.
A file that cannot be read does not end the run: it is listed at the end and in
results.json, and the exit code is 1.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # see tools/train.py

from mnv2_mm.utils.cli import output_folder, score, tool_parser
from mnv2_mm.utils.errors import command


@command
def main() -> int:
    """Predict."""
    parser = tool_parser(
        'Predict for images, folders and videos',
        'python tools/demo.py deeplabv3_mnv2_voc photo.jpg',
        'python tools/demo.py work_dirs/mine/epoch_1.pth photo.jpg folder/ clip.mp4',
        "python tools/demo.py exported/ 'photos/*.png' https://example.org/cat.jpg",
    )
    parser.add_argument(
        'model',
        help='name of a published network, checkpoint beside its config, work dir of a '
        'training, folder of an exported model, or config with --weights',
    )
    parser.add_argument(
        'images',
        nargs='+',
        help='images, folders, patterns, videos, addresses, or the number of a camera',
    )
    parser.add_argument(
        '--weights',
        help='.pth file of a training, or a TFLite or TensorFlow file '
        '(default: the published one of this name)',
    )
    parser.add_argument(
        '--out-dir',
        type=output_folder,
        default='demo_results',
        help='default: demo_results',
    )
    parser.add_argument(
        '--score-thr',
        type=score,
        default=0.3,
        help='boxes below this score are left out (default: 0.3)',
    )
    parser.add_argument('--device', default='cpu', help='cpu, cuda:0, ...')
    args = parser.parse_args()

    from mnv2_mm.commands.demo import demo

    # a file's name may not be text; it must not end the run
    sys.stdout.reconfigure(errors='backslashreplace')
    return 1 if demo(args) else 0


if __name__ == '__main__':
    main()
