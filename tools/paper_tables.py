"""Print the paper's tables next to the counts of their configs.

Every row is built from its config and counted; nothing is trained and no
data is needed. Accuracies are quoted, and marked so.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mnv2_mm.utils.cli import output_file, output_folder, output_json, tool_parser
from mnv2_mm.utils.errors import InputError, command
from mnv2_mm.utils.files import write_json, write_text

DOCUMENT = Path(__file__).resolve().parents[1] / 'docs/paper_tables.md'
NAMES = ('3', '4', '5', '6', '7', 'figure5')


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = tool_parser(
        "The paper's tables: parameters and multiply-adds",
        'python tools/paper_tables.py --table 6 --json table6.json',
        'python tools/paper_tables.py --write',
    )
    parser.add_argument(
        '--table',
        nargs='+',
        metavar='NAME',
        default=list(NAMES),
        help=f'of {", ".join(NAMES)} (default: all)',
    )
    parser.add_argument(
        '--markdown',
        type=partial(output_file, endings=('.md',)),
        metavar='FILE.md',
        help='write Markdown',
    )
    parser.add_argument(
        '--json',
        type=output_json,
        metavar='FILE',
        help='write a list of one object a row',
    )
    parser.add_argument(
        '--png',
        type=output_folder,
        metavar='DIR',
        help='draw Figure 5 into this folder',
    )
    document = dict(metavar='FILE', nargs='?', const=DOCUMENT)
    parser.add_argument(
        '--write',
        type=output_file,
        **document,
        help='put all tables between the markers of a Markdown file (default: '
        'docs/paper_tables.md)',
    )
    parser.add_argument(
        '--check',
        **document,
        help='end with status 1 if the tables of the file are out of date',
    )
    return parser.parse_args()


@command
def main() -> int:
    """Count and print."""
    args = parse_args()

    from rich.console import Console

    from mnv2_mm.analysis.markdown import markdown, plain_text, update
    from mnv2_mm.analysis.tables import checked_tables, count_tables
    from mnv2_mm.utils.console import filter_warnings

    filter_warnings()
    names = checked_tables(args.table)
    if args.png and 'figure5' not in names:
        raise InputError(
            '--png draws Figure 5, which is not among the tables; add '
            'figure5 to --table, or leave --table out'
        )
    document = args.write or args.check
    if document and names != list(NAMES):
        raise InputError('--write and --check take all tables; leave --table out')
    with Console(stderr=True).status('counting') as line:
        results = count_tables(
            names, progress=lambda row: line.update(f'counting {row}')
        )
    stale = False
    if document:
        stale = update(document, markdown(results), write=bool(args.write))
        state = 'rewritten' if args.write else 'out of date; --write rewrites it'
        print(f'{document} is {state if stale else "up to date"}')
    else:
        print(plain_text(markdown(results)))
    if args.markdown:
        write_text(args.markdown, markdown(results))
        print(f'written to {args.markdown}')
    if args.json:
        write_json(args.json, results)
        print(f'written to {args.json}')
    if args.png:
        from mnv2_mm.analysis.figure5 import plot_figure5

        path = Path(args.png) / 'figure5.png'
        plot_figure5(results, path)
        print(f'Figure 5 is in {path}')
    return int(stale and not args.write)


if __name__ == '__main__':
    main()
