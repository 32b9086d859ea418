"""Measure all backends of a network, as for the table in docs/deployment.md.

--work-dir then holds the exported models, and the table as deployment_table.md and
deployment_table.json. With --docs the table is that of this project's documentation.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
# OMP_WAIT_POLICY stays unset, see tools/export.py

from mnv2_mm.utils.cli import add_cfg_options, tool_parser
from mnv2_mm.utils.errors import InputError, command
from mnv2_mm.utils.files import write_json, write_text

DOCS = Path(__file__).resolve().parents[1] / 'docs'
DOCUMENT, TABLE = DOCS / 'deployment.md', DOCS / 'deployment_table.json'


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = tool_parser(
        'Table of all backends: size, accuracy, difference to PyTorch, times',
        'python tools/deployment_table.py ssdlite_bccd_finetune epoch_9.pth',
        'python tools/deployment_table.py ssdlite_bccd_finetune epoch_9.pth --time',
        'python tools/deployment_table.py --docs --check',
    )
    add = parser.add_argument
    add(
        'config',
        nargs='?',
        help='model config; without it only the table is written again',
    )
    add('checkpoint', nargs='?', help='.pth file of a training')
    text = 'folder of the exported models; those that are there are kept'
    default = Path('work_dirs/deployment_table')
    add('--work-dir', type=Path, default=default, help=f'{text} (default: {default})')
    text = 'time the rows of the table, with one thread and with two'
    add('--time', action='store_true', help=text)
    add_cfg_options(parser)
    text = 'write the table of docs/deployment.md, not one in --work-dir'
    add('--docs', action='store_true', help=text)
    text = 'with --docs: end with status 1 if the table of the page is out of date'
    add('--check', action='store_true', help=text)
    return parser.parse_args()


def read(file: Path) -> dict:
    """The rows that are measured."""
    try:
        return dict(json.loads(file.read_text('utf-8')))
    except (ValueError, TypeError) as error:
        raise InputError(
            f'{file} is no table of this tool ({error}); remove it, or give another '
            '--work-dir'
        ) from error


@command
def main() -> int:
    """Measure what is missing, write the table."""
    args = parse_args()
    if bool(args.config) != bool(args.checkpoint):
        raise InputError('give the config and the checkpoint, or none of them')
    if args.check and not args.docs:
        raise InputError('--check is for the table of the documentation; add --docs')
    file = TABLE if args.docs else args.work_dir / TABLE.name
    content = read(file) if file.is_file() else {}
    if not (args.config or content):
        raise InputError(f'there is no table {file} yet; give CONFIG and CHECKPOINT')

    from mnv2_mm.analysis import markdown
    from mnv2_mm.benchmark import deployment_table
    from mnv2_mm.utils.console import filter_warnings, print_rank0

    filter_warnings()
    if args.config:
        table = deployment_table.Table(
            content,
            args.config,
            args.checkpoint,
            work_dir=args.work_dir,
            options=args.cfg_options,
        )

        def save() -> None:
            write_json(file, content)

        (table.time if args.time else table.measure)(save, print_rank0)
    text = deployment_table.markdown(content)
    if not args.docs:
        write_text(file.with_suffix('.md'), text)
        print(f'the table is in {file.with_suffix(".md")}')
        return 0
    changed = markdown.update(
        DOCUMENT, text, section='deployment_table', write=not args.check
    )
    state = 'out of date' if args.check else 'rewritten'
    print(f'{DOCUMENT.name} is {state if changed else "up to date"}')
    return int(changed and args.check)


if __name__ == '__main__':
    main()
