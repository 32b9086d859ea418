"""Print the paper's tables next to what their configs count.

Every row is built from its config and counted; nothing is trained and no
data is needed. Accuracies are quoted, and marked so.

    python tools/paper_tables.py
    python tools/paper_tables.py --table 6 --json table6.json
    python tools/paper_tables.py --readme README.md --png images
"""

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mnv2_mm.analysis import report
from mnv2_mm.analysis.eager import plain
from mnv2_mm.analysis.markdown import BEGIN, END, markdown, rewrite
from mnv2_mm.engine import launch
from mnv2_mm.utils.errors import InputError, command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="The paper's tables: parameters and multiply-adds"
    )
    parser.add_argument(
        '--table',
        nargs='+',
        metavar='NAME',
        default=list(report.NAMES),
        help=f'of {", ".join(report.NAMES)} (default: all)',
    )
    parser.add_argument('--markdown', metavar='FILE', help='write Markdown')
    parser.add_argument(
        '--json', metavar='FILE', help='write a list of one object a row'
    )
    parser.add_argument('--png', metavar='DIR', help='draw Figure 5 into this folder')
    parser.add_argument(
        '--readme',
        metavar='FILE',
        help=f'put the tables between {BEGIN} and {END} of it',
    )
    return parser.parse_args()


class Progress:
    """Tells what is counted: on a terminal one line that changes."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.on_terminal = sys.stderr.isatty()

    def __call__(self, what: str) -> None:
        """Show the row that is counted now."""
        seconds = time.monotonic() - self.start
        line = f'  {seconds:4.0f} s  counting {what}'
        if self.on_terminal:
            line = f'\r{line:<70}'
        end = '' if self.on_terminal else '\n'
        print(line, end=end, file=sys.stderr, flush=True)

    def done(self) -> None:
        """Take the line away."""
        if self.on_terminal:
            print(f'\r{"":<70}\r', end='', file=sys.stderr, flush=True)


def write(path: str, text: str) -> None:
    """Write a file, and its folder."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding='utf-8')
    print(f'written to {path}')


@command
def main() -> int:
    """Count and print."""
    args = parse_args()
    launch.filter_warnings()
    names = report.checked_tables(args.table)
    if args.png and 'figure5' not in names:
        raise InputError(
            '--png draws Figure 5, which is not among the tables; add '
            'figure5 to --table, or leave --table out'
        )
    if args.readme and names != list(report.NAMES):
        raise InputError('--readme rewrites all tables of the file; leave --table out')
    progress = Progress()
    results = report.count_tables(names, progress=progress)
    progress.done()
    if args.readme:
        changed = rewrite(args.readme, results)
        print(f'{args.readme} is {"rewritten" if changed else "up to date"}')
    else:
        print(plain(markdown(results)))
    if args.markdown:
        write(args.markdown, markdown(results))
    if args.json:
        write(args.json, json.dumps(results, indent=1) + '\n')
    if args.png:
        from mnv2_mm.analysis.figure5 import plot_figure5

        path = Path(args.png) / 'figure5.png'
        plot_figure5(results, path)
        print(f'Figure 5 is in {path}')
    return 0


if __name__ == '__main__':
    main()
