"""Generate the sample data set (see mnv2_mm/datasets/sample/scenes.py)."""

import argparse
import sys
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


@command
def main() -> None:
    """Run the command."""
    settings = vars(parse_args())
    out, force = settings.pop('out'), settings.pop('force')
    from rich.progress import Progress

    from mnv2_mm.datasets.sample.writer import SampleSettings, write_sample_set

    settings = SampleSettings(**settings)
    print(f'Sample data set in {out}', flush=True)
    # no thread: the processes that write images are forked from this one
    options = dict(transient=True, auto_refresh=False, disable=not sys.stdout.isatty())
    with Progress(**options) as bar:
        task = bar.add_task('images', total=settings.train + settings.val)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, refresh=done % 20 == 0)

        written = write_sample_set(out, settings, force=force, progress=show)
    print('Written.' if written else 'It exists already, nothing to do.')


if __name__ == '__main__':
    main()
