"""Make the generated sample data set (see mnv2_mm/datasets/sample/scenes.py).

python tools/make_sample_data.py [--out data/sample] [--seed 0]

It takes half a minute. A second run finds the set and does nothing.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mnv2_mm.datasets.sample.export import SampleSettings
from mnv2_mm.datasets.sample.writer import write_sample_set
from mnv2_mm.utils.errors import command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    defaults = SampleSettings()
    parser = argparse.ArgumentParser(
        description='Make the generated sample data set.',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument('--out', default='data/sample', help='folder to make')
    parser.add_argument('--seed', type=int, default=defaults.seed)
    parser.add_argument('--train', type=int, default=defaults.train, help='images')
    parser.add_argument('--val', type=int, default=defaults.val, help='images')
    parser.add_argument('--width', type=int, default=defaults.width, help='in pixels')
    parser.add_argument('--height', type=int, default=defaults.height, help='in pixels')
    parser.add_argument(
        '--force',
        action='store_true',
        help='replace what --out holds when it differs',
    )
    return parser.parse_args()


class Progress:
    """Prints images done and the time left.

    A terminal sees one line that changes, a log file one line each quarter.
    """

    def __init__(self) -> None:
        self.start = self.shown = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` images are made."""
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


def main() -> None:
    """Run the command."""
    args = parse_args()
    settings = SampleSettings(
        seed=args.seed,
        train=args.train,
        val=args.val,
        width=args.width,
        height=args.height,
    )
    print(f'Sample data set in {args.out}', flush=True)
    if write_sample_set(args.out, settings, force=args.force, progress=Progress()):
        print('Made.')
    else:
        print('It is there already, nothing to do.')


if __name__ == '__main__':
    command(main)()
