"""Print or write the table of the model zoo: counts, accuracies, times, files."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mnv2_mm.utils.cli import tool_parser
from mnv2_mm.utils.errors import command
from mnv2_mm.utils.files import write_json

DOCS = Path(__file__).resolve().parents[1] / 'docs'
DOCUMENT, TIMES = DOCS / 'model_zoo.md', DOCS / 'latency.json'


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = tool_parser(
        'Table of the model zoo, from the metafiles',
        'python tools/model_zoo.py',
        'OMP_NUM_THREADS=1 python tools/model_zoo.py --time photo.jpg --write',
    )
    parser.add_argument(
        '--time',
        metavar='IMAGE',
        help='first time every network on this image, with one thread, and write '
        f'docs/{TIMES.name}',
    )
    parser.add_argument(
        '--write', action='store_true', help=f'put the table into docs/{DOCUMENT.name}'
    )
    parser.add_argument(
        '--check',
        action='store_true',
        help='end with status 1 if the table of the page is out of date',
    )
    return parser.parse_args()


@command
def main() -> int:
    """Count, time and print."""
    args = parse_args()

    from mnv2_mm.analysis import markdown, model_zoo
    from mnv2_mm.utils.console import filter_warnings

    filter_warnings()
    if args.time:
        import logging

        from mnv2_mm.benchmark.latency import measure
        from mnv2_mm.checkpoints.hub import listed_models
        from mnv2_mm.runtime.read_image import read_image

        logging.disable(logging.INFO)
        image = read_image(args.time)
        write_json(TIMES, measure(listed_models(), image))
    table = model_zoo.markdown(model_zoo.latencies(TIMES))
    if not (args.write or args.check):
        print(markdown.plain_text(table))
        return 0
    stale = markdown.update(DOCUMENT, table, section='model_zoo', write=args.write)
    state = 'rewritten' if args.write else 'out of date; --write rewrites it'
    print(f'{DOCUMENT.name} is {state if stale else "up to date"}')
    return int(stale and not args.write)


if __name__ == '__main__':
    main()
