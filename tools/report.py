"""Write an HTML report of a training: accuracy, errors, confusion, images, speed."""

import os
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # see tools/train.py

from mnv2_mm.utils.cli import add_cfg_options, output_file, tool_parser
from mnv2_mm.utils.errors import command


@command
def main() -> None:
    """Write the report."""
    parser = tool_parser(
        'Write one HTML page about a training',
        'python tools/report.py work_dirs/ssdlite_sample',
        'python tools/report.py work_dirs/x --checkpoint work_dirs/x/epoch_3.pth',
    )
    parser.add_argument('work_dir', help='--work-dir of tools/train.py')
    parser.add_argument(
        '--checkpoint',
        help='.pth file, or mnv2_mm://NAME (default: the best one of the work dir)',
    )
    parser.add_argument(
        '--config', help='config file, or its name (default: that of the work dir)'
    )
    parser.add_argument(
        '--out',
        type=partial(output_file, endings=('.html', '.htm')),
        metavar='FILE.html',
        help='default: <work dir>/report.html',
    )
    parser.add_argument(
        '--limit',
        type=int,
        metavar='N',
        help='evaluate on N images, spread evenly over the test set',
    )
    parser.add_argument(
        '--images',
        type=int,
        default=6,
        metavar='N',
        help='number of worst images, and of best ones (default: 6)',
    )
    add_cfg_options(parser)
    args = parser.parse_args()

    from mnv2_mm.commands.report import report

    report(args)


if __name__ == '__main__':
    main()
