"""Run a build on images, with numpy, OpenCV and its backend alone.

Nothing is imported of torch or OpenMMLab. On a device: `pip install mnv2_mm`
(it requires nothing), numpy, opencv-python and the backend.

    python tools/run_build.py work_dirs/build photo.jpg --out drawn.jpg
    python tools/run_build.py work_dirs/build photo.jpg --benchmark
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np

from mnv2_mm.runtime import Build, draw, timing
from mnv2_mm.runtime.model import find, read_info
from mnv2_mm.runtime.timing import BENCHMARK, LEAST_RUNS
from mnv2_mm.utils.errors import InputError, command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Run a build on an image')
    parser.add_argument('build', help='folder of the build, or a file in it')
    parser.add_argument('image', help='the image')
    parser.add_argument(
        '--out', default='drawn.jpg', help='drawn image (default: drawn.jpg)'
    )
    parser.add_argument(
        '--score-thr',
        type=float,
        default=0.3,
        help='boxes below this score are left out (default: 0.3)',
    )
    parser.add_argument(
        '--threads',
        type=int,
        default=0,
        help='threads of the backend (default: as many as it likes)',
    )
    parser.add_argument(
        '--benchmark',
        action='store_true',
        help='time the stages instead, with one thread and with all (or '
        f'--threads), and write {BENCHMARK} beside the build',
    )
    parser.add_argument(
        '--runs',
        type=int,
        default=LEAST_RUNS,
        help=f'of --benchmark that count (default: {LEAST_RUNS})',
    )
    return parser.parse_args()


def in_words(found: dict, info: dict, score_thr: float) -> str:
    """What was found, in a line."""
    if 'mask' in found:
        labels = sorted(set(found['mask'].ravel().tolist()))
        return ', '.join(info['classes'][label] for label in labels)
    if 'boxes' in found:
        count = int((found['scores'] >= score_thr).sum())
        return f'{count} box' + ('' if count == 1 else 'es')
    best = int(found['probabilities'].argmax())
    return f'{info["classes"][best]} {found["probabilities"][best]:.2f}'


def benchmark(args: argparse.Namespace, image: np.ndarray) -> None:
    """Time the build, print the times and keep them with it."""
    if args.runs < LEAST_RUNS:
        raise InputError(
            f'--runs {args.runs} is too few for a median and its spread; '
            f'give at least {LEAST_RUNS}'
        )
    threads = [args.threads] if args.threads else []
    found = timing.benchmark(args.build, image, threads=threads, runs=args.runs)
    print(timing.in_words(found))
    try:
        path = timing.write(find(args.build), found)
    except OSError as error:
        print(f'{BENCHMARK} is not written: {error}', file=sys.stderr)
    else:
        print(f'written: {path}')


@command
def main() -> int:
    """Predict, draw, say what was found."""
    args = parse_args()
    if args.threads < 0:
        raise InputError(f'--threads is {args.threads}; give 1 or more')
    read_info(args.build)  # a wrong folder is said before a wrong image
    image = cv2.imread(args.image, cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f'{args.image} cannot be read as an image')
    if args.benchmark:
        benchmark(args, image)
        return 0
    build = Build(args.build, threads=args.threads)
    started = time.perf_counter()
    found = build(image)
    spent = 1000 * (time.perf_counter() - started)
    drawn = draw(image, found, build.info, args.score_thr)
    try:
        written = cv2.imwrite(args.out, drawn)
    except cv2.error:  # an ending that OpenCV does not know
        written = False
    if not written:
        raise InputError(
            f'{args.out} cannot be written; give --out the path of a .jpg or '
            '.png in a folder that is there'
        )
    words = in_words(found, build.info, args.score_thr)
    print(f'{words} ({spent:.1f} ms), drawn to {args.out}')
    return 0


if __name__ == '__main__':
    main()
