"""Generate the sample data set (see mnv2_mm/datasets/sample/scenes.py)."""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mnv2_mm.utils.cli import output_folder, tool_parser
from mnv2_mm.utils.errors import command


def parse_args() -> argparse.Namespace:
    """Read the command line; settings that are not given are left out."""
    parser = tool_parser(
        'Generate the sample data set, in about 15 seconds. A second run finds the set '
        'and does nothing.',
        'python tools/make_sample_data.py',
        'python tools/make_sample_data.py --out data/large --train 5000 --seed 1',
    )
    parser.add_argument(
        '--out',
        type=output_folder,
        default='data/sample',
        help='folder (default: data/sample)',
    )
    # the defaults are those of SampleSettings, whose import is slow
    for name, text in (
        ('seed', 'of all random numbers (default: 0)'),
        ('train', 'training images (default: 1000)'),
        ('val', 'validation images (default: 200)'),
        ('width', 'of the images in pixels (default: 192)'),
        ('height', 'of the images in pixels (default: 144)'),
    ):
        parser.add_argument(f'--{name}', type=int, default=argparse.SUPPRESS, help=text)
    parser.add_argument(
        '--force',
        action='store_true',
        help='replace a sample set with other settings in --out',
    )
    return parser.parse_args()


class Progress:
    """Print the number of images done and the time left.

    A terminal gets one line that changes, a log file a line each quarter.
    """

    def __init__(self) -> None:
        self.start = self.shown = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` images are written."""
        now = time.monotonic()
        if sys.stdout.isatty():
            due = done == total or now - self.shown > 0.2
        else:
            due = done * 4 // total > (done - 1) * 4 // total
        if not due:
            return
        self.shown = now
        left = (now - self.start) / done * (total - done)
        line = f'  {done}/{total} images, {left:.0f} s left'
        if sys.stdout.isatty():
            print(f'\r{line}   ', end='' if done < total else '\n', flush=True)
        else:
            print(line, flush=True)


@command
def main() -> None:
    """Run the command."""
    settings = vars(parse_args())
    out, force = settings.pop('out'), settings.pop('force')
    from mnv2_mm.datasets.sample.writer import SampleSettings, write_sample_set

    settings = SampleSettings(**settings)
    print(f'Sample data set in {out}', flush=True)
    written = write_sample_set(out, settings, force=force, progress=Progress())
    print('Written.' if written else 'It exists already, nothing to do.')


if __name__ == '__main__':
    main()
