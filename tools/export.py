"""Export a model for ONNX Runtime, ncnn, TensorRT, TFLite or OpenVINO; compare both.

--work-dir then holds the files of the backend, model.json (all that a program needs
to run them), README.txt (the same for people), deploy_config.py, comparison.jpg (both
predictions), with --benchmark benchmark.json, with --target web index.html, and with
--dump-info the files of mmdeploy's SDK. Nothing is written if the export fails; files
of an earlier export in the folder are removed at the end.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
# OMP_WAIT_POLICY stays unset, unlike in the other tools: with waiting threads
# that are passive, ncnn takes twice as long

from mnv2_mm.utils.cli import output_folder, score, tool_parser
from mnv2_mm.utils.errors import InputError, command
from mnv2_mm.utils.files import write_image

if TYPE_CHECKING:
    import numpy as np


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = tool_parser(
        'Export a model, and compare it with PyTorch',
        'python tools/export.py det_onnxruntime_static ssdlite_mnv2_coco '
        'epoch_1.pth photo.jpg --work-dir work_dirs/exported',
        'python tools/export.py seg_ncnn_fp16_static_513 deeplabv3_mnv2_voc '
        'w.pth photo.jpg --work-dir work_dirs/ncnn --benchmark',
        'python tools/export.py cls_onnxruntime_static mnv2_in1k w.pth photo.jpg '
        '--work-dir page --target web',
    )
    parser.add_argument(
        'deploy_config', help='a file of configs/deploy, or the name of one'
    )
    parser.add_argument('config', help='model config, or the name of one')
    parser.add_argument('checkpoint', help='.pth file of a training, or mnv2_mm://NAME')
    parser.add_argument('image', help='an image to compare the predictions on')
    parser.add_argument(
        '--work-dir',
        type=output_folder,
        required=True,
        help='folder of the exported model',
    )
    parser.add_argument(
        '--score-thr',
        type=score,
        default=0.3,
        help='boxes with a lower score are not drawn (default: 0.3)',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        metavar='KEY=VALUE',
        help='override keys of the deploy config, as ir_config.input_shape="[257,257]"',
    )
    parser.add_argument(
        '--model-options',
        nargs='+',
        metavar='KEY=VALUE',
        help='override keys of the model config',
    )
    parser.add_argument(
        '--benchmark',
        action='store_true',
        help='time the exported model on the image, stage by stage, with one '
        'thread and with all, and write benchmark.json into the folder',
    )
    parser.add_argument(
        '--dump-info',
        action='store_true',
        help="also write the files with which mmdeploy's SDK runs the model "
        '(detection and classification, deploy configs of onnxruntime)',
    )
    parser.add_argument(
        '--target',
        choices=['web'],
        help="add a page to the folder that runs the model in a phone's browser "
        '(deploy configs of onnxruntime; npm fetches onnxruntime-web)',
    )
    parser.add_argument(
        '--onnxruntime-web', metavar='FILE', help="onnxruntime-web's archive of npm"
    )
    return parser.parse_args()


def benchmark(folder: Path, image: 'np.ndarray') -> str:
    """Time an exported model as on a device; the result in words.

    A model that cannot run on this machine, as one for a GPU, is kept.
    """
    from mnv2_mm.runtime import timing

    try:
        times = timing.benchmark(folder, image)
    except InputError as error:
        return f'not timed here: {error}'
    timing.write(folder, times)
    return timing.in_words(times)


@command
def main() -> None:
    """Export, compare, draw."""
    args = parse_args()

    from mnv2_mm.checkpoints.file import check_file
    from mnv2_mm.checkpoints.hub import local_checkpoint
    from mnv2_mm.deploy import require
    from mnv2_mm.runtime.description import read_info
    from mnv2_mm.runtime.drawing import beside, draw
    from mnv2_mm.runtime.read_image import read_image
    from mnv2_mm.runtime.web.page import (
        add_page,
        check_backend,
        in_words,
        runtime_files,
    )
    from mnv2_mm.utils.config import apply_options, get_config
    from mnv2_mm.utils.config_errors import readable_config_errors
    from mnv2_mm.utils.console import filter_warnings, print_warnings
    from mnv2_mm.utils.files import staging

    filter_warnings()
    require()
    checkpoint = local_checkpoint(args.checkpoint)
    check_file(checkpoint)
    image = read_image(args.image)
    deploy_cfg = get_config(args.deploy_config)
    print_warnings(apply_options(deploy_cfg, args.cfg_options))
    if args.target:  # before the export, which takes longer
        check_backend(deploy_cfg.backend_config.type)
        runtime = runtime_files(args.onnxruntime_web)
    model_cfg = get_config(args.config)
    flag = '--model-options'
    print_warnings(apply_options(model_cfg, args.model_options, flag=flag))

    from mnv2_mm.deploy import sdk
    from mnv2_mm.deploy.compare import compare
    from mnv2_mm.deploy.export import (
        Exporter,
        backend_model,
        backend_note,
        earlier_files,
    )

    if args.dump_info:
        sdk.check(deploy_cfg, model_cfg)

    old = earlier_files(Path(args.work_dir))
    with staging(args.work_dir, earlier=old) as folder:
        with readable_config_errors(model_cfg):
            exporter = Exporter(deploy_cfg, model_cfg, checkpoint, args.image)
        files = exporter.export(folder)
        size = sum(Path(file).stat().st_size for file in files)
        exported = backend_model(exporter.processor, files)
        found = compare(exporter.model, exported, *exporter.network_input())
        _, info = read_info(folder)
        if args.dump_info:
            sdk.dump_info(exporter, folder, info)
        if args.target:
            page = add_page(folder, info, runtime)
        titles = 'PyTorch', f'{info["backend"]} {info["precision"]}'
        images = (
            draw(image, result, info, score_thr=args.score_thr)
            for result in (found.reference, found.found)
        )
        drawn = beside(dict(zip(titles, images, strict=True)))
        write_image(folder / 'comparison.jpg', drawn)
        note = backend_note(info['backend'], folder)
        times = benchmark(folder, image) if args.benchmark else ''
    print(
        f'{info["backend"]} {info["precision"]}, {size / 1e6:.2f} MB, largest '
        f'difference {found.difference}, PyTorch {found.reference_ms:.1f} ms, '
        f'exported {found.found_ms:.1f} ms: {args.work_dir}'
    )
    for text in filter(None, (note, times)):
        print(text)
    if args.target:
        print(in_words(args.work_dir, page))


if __name__ == '__main__':
    main()
