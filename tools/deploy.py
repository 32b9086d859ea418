"""Make a build of a trained model for a backend, and check it.

The build is compared with PyTorch on the image, and both results are drawn
side by side. What --work-dir then holds: the files of the backend,
build.json (classes, input size, scaling of pixels), deploy_config.py,
comparison.jpg and, with --benchmark, benchmark.json. Nothing is left behind
where it fails.

    python tools/deploy.py configs/deploy/det_onnxruntime_static.py \
        ssdlite_mnv2_coco work_dirs/x/epoch_1.pth photo.jpg \
        --work-dir work_dirs/build
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
# no OMP_WAIT_POLICY as in the other tools: ncnn, which the same variable
# rules, takes twice as long with threads that wait passively

import cv2
import numpy as np
from mmengine.config import DictAction

from mnv2_mm.checkpoints.file import check_file
from mnv2_mm.checkpoints.hub import local_checkpoint
from mnv2_mm.deploy import require
from mnv2_mm.runtime import timing
from mnv2_mm.runtime.drawing import draw
from mnv2_mm.runtime.model import JSON, read_info
from mnv2_mm.runtime.timing import BENCHMARK
from mnv2_mm.utils.config import get_config
from mnv2_mm.utils.config_errors import readable_config_errors
from mnv2_mm.utils.console import filter_warnings
from mnv2_mm.utils.errors import InputError, command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Make a build of a trained model, and check it'
    )
    parser.add_argument('deploy_config', help='a file of configs/deploy')
    parser.add_argument('config', help='model config, or the name of one')
    parser.add_argument('checkpoint', help='.pth file of a training, or mnv2_mm://NAME')
    parser.add_argument('image', help='an image to check the build with')
    parser.add_argument('--work-dir', required=True, help='folder of the build')
    parser.add_argument(
        '--score-thr',
        type=float,
        default=0.3,
        help='boxes below this score are not drawn (default: 0.3)',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='override keys of the deploy config, as ir_config.input_shape="[257,257]"',
    )
    parser.add_argument(
        '--model-options',
        nargs='+',
        action=DictAction,
        help='override keys of the model config',
    )
    parser.add_argument(
        '--benchmark',
        action='store_true',
        help='time the build on the image, stage by stage, with one thread '
        f'and with all, and write {BENCHMARK} beside it',
    )
    return parser.parse_args()


def read_image(path: str) -> np.ndarray:
    """The image, (H, W, 3) uint8 BGR.

    Raises:
        InputError: it is no image, or not there.
    """
    if not Path(path).is_file():
        raise InputError(f'there is no image {path}')
    image = cv2.imread(path, cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f'{path} cannot be read as an image')
    return image


def side_by_side(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Both images with a white line between them."""
    line = np.full((left.shape[0], 8, 3), 255, np.uint8)
    return np.hstack([left, line, right])


def in_bytes(size: int) -> str:
    """A size in megabytes."""
    return f'{size / 1e6:.2f} MB'


def benchmark(folder: Path, image: np.ndarray) -> str:
    """Time a build by the runner that a device has; in words.

    What cannot be run on this machine, such as a build for a GPU, is no
    reason to throw the build away.
    """
    try:
        times = timing.benchmark(folder, image)
    except InputError as error:
        return f'not timed here: {error}'
    timing.write(folder, times)
    return timing.in_words(times)


@command
def main() -> int:
    """Make, check, draw."""
    args = parse_args()
    filter_warnings()
    require()
    checkpoint = local_checkpoint(args.checkpoint)
    check_file(checkpoint)
    image = read_image(args.image)
    deploy_cfg = get_config(args.deploy_config)
    deploy_cfg.merge_from_dict(args.cfg_options or {})
    model_cfg = get_config(args.config)
    model_cfg.merge_from_dict(args.model_options or {})

    from mnv2_mm.deploy.compare import compare
    from mnv2_mm.deploy.export import Making, network_input, remark, staging

    with staging(args.work_dir) as folder:
        with readable_config_errors(model_cfg):
            making = Making(deploy_cfg, model_cfg, checkpoint, args.image)
        files = making.write(folder)
        size = sum(Path(file).stat().st_size for file in files)
        backend_model = making.backend_model(files)
        found = compare(making.model, backend_model, *network_input(making))
        _, info = read_info(folder / JSON)
        drawn = [
            draw(image, result, info, args.score_thr)
            for result in (found.reference, found.found)
        ]
        cv2.imwrite(str(folder / 'comparison.jpg'), side_by_side(*drawn))
        said = remark(info['backend'], folder)
        times = benchmark(folder, image) if args.benchmark else None
    print(
        f'{info["backend"]} {info["precision"]}, {in_bytes(size)}, largest '
        f'difference {found.difference}, PyTorch {found.reference_ms:.1f} ms, '
        f'build {found.found_ms:.1f} ms: {args.work_dir}'
    )
    if said:
        print(said)
    if times:
        print(times)
    return 0


if __name__ == '__main__':
    main()
