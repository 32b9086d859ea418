"""Run an exported model on an image, without torch and OpenMMLab.

A device needs `pip install mnv2_mm` (it requires pydantic only), numpy,
opencv-python and the backend.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mnv2_mm.utils.cli import output_image, score, tool_parser
from mnv2_mm.utils.errors import InputError, command
from mnv2_mm.utils.files import check_output

if TYPE_CHECKING:
    import numpy as np

_OUT = 'drawn.jpg'


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = tool_parser(
        'Run an exported model on an image.',
        'python tools/run_exported.py work_dirs/exported photo.jpg --out drawn.jpg',
        'python tools/run_exported.py work_dirs/exported photo.jpg --benchmark',
    )
    add = parser.add_argument
    add('model', help='folder of the exported model, or a file in it')
    add('image', help='the image')
    # not by default=, which argparse would try also with --benchmark
    add('--out', type=output_image, help=f'drawn image (default: {_OUT})')
    text = 'boxes with a lower score are not drawn (default: %(default)s)'
    add('--score-thr', type=score, default=0.3, help=text)
    text = "threads of the backend (default: the backend's own)"
    add('--threads', type=int, default=0, help=text)
    add(
        '--benchmark',
        action='store_true',
        help='time each stage instead, with one thread and with all (or with '
        '--threads), and write benchmark.json into the folder',
    )
    text = 'timed runs of --benchmark (default and minimum: %(default)s)'
    add('--runs', type=int, default=30, help=text)
    return parser.parse_args()


def benchmark(args: argparse.Namespace, image: 'np.ndarray', folder: Path) -> None:
    """Time the model, print the times and write them into its folder."""
    from mnv2_mm.runtime import timing

    if args.runs < timing.LEAST_RUNS:
        raise InputError(
            f'--runs {args.runs} is too few for a median and its spread; '
            f'give at least {timing.LEAST_RUNS}'
        )
    threads = [args.threads] if args.threads else []
    found = timing.benchmark(folder, image, threads=threads, runs=args.runs)
    print(timing.in_words(found))
    print(f'written: {timing.write(folder, found)}')


@command
def main() -> int:
    """Predict, draw, print what was found."""
    args = parse_args()
    # the name of a class may not be in the console's encoding
    sys.stdout.reconfigure(errors='backslashreplace')
    if args.threads < 0:
        raise InputError(f'--threads is {args.threads}; give 1 or more')

    from mnv2_mm.runtime.description import read_info
    from mnv2_mm.runtime.model import ExportedModel
    from mnv2_mm.runtime.read_image import read_image
    from mnv2_mm.runtime.sources import Frame

    folder, _ = read_info(args.model)  # before the image: the first argument
    image = read_image(args.image)
    if args.benchmark:
        benchmark(args, image, folder)
        return 0
    if not args.out:
        check_output(_OUT)
    model = ExportedModel(folder, threads=args.threads)
    photo = Frame(args.image, image)  # with its name, that no drawing replaces it
    started = time.perf_counter()
    (result,) = model.predict(photo, threshold=args.score_thr)
    spent = 1000 * (time.perf_counter() - started)
    print(f'{result} ({spent:.1f} ms), drawn to {result.save(args.out or _OUT)}')
    return 0


if __name__ == '__main__':
    main()
