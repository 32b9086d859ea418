"""Evaluate a checkpoint or a build: detection, segmentation, classification.

The flags are those of mmdet's tools/test.py, for all three tasks. The
checkpoint must fit the config wholly, else this stops before it measures
a network with random parts; a build of tools/deploy.py is taken by its folder.
The figures go to <work dir>/metrics.json too.

    python tools/test.py configs/ssdlite_mnv2_coco.py work_dirs/x/epoch_1.pth
    python tools/test.py deeplabv3_mnv2_voc w.pth --tta --show-dir images
"""

import argparse
import copy
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
# Before torch is loaded: threads that wait for each other must not keep the
# cores busy. With more processes than cores (a data loader suffices) a step
# on the CPU takes up to a hundred times as long otherwise.
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

from mmengine.config import Config, ConfigDict, DictAction
from mmengine.dist import is_main_process
from mmengine.runner import Runner

from mnv2_mm.checkpoints.file import check_file
from mnv2_mm.checkpoints.hub import local_checkpoint
from mnv2_mm.engine import launch
from mnv2_mm.runtime.model import find as find_build
from mnv2_mm.utils.config import apply_options, get_config
from mnv2_mm.utils.errors import InputError, command
from mnv2_mm.utils.subset_dataset import limit_metrics, subset_dataset

#: Test-time augmentation where the config has none of its own: the mirrored
#: image, averaged (for boxes: all of both, then NMS).
_TTA_MODELS = {
    'mmdet': dict(
        type='DetTTAModel',
        tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100),
    ),
    'mmseg': dict(type='SegTTAModel'),
    'mmpretrain': dict(type='AverageClsScoreTTA'),
}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Evaluate a model')
    parser.add_argument('config', help='config file, or the name of one')
    parser.add_argument(
        'checkpoint',
        help='.pth file of a training, mnv2_mm://NAME, or folder of a build',
    )
    parser.add_argument(
        '--work-dir',
        help='where logs and metrics.json go (default: work_dirs/<config name>)',
    )
    parser.add_argument(
        '--out', metavar='FILE.pkl', help='write the predictions to this file'
    )
    parser.add_argument(
        '--show', action='store_true', help='show each image in a window'
    )
    parser.add_argument('--show-dir', help='write each image with its prediction here')
    parser.add_argument(
        '--wait-time', type=float, default=2, help='seconds per --show window'
    )
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')
    parser.add_argument(
        '--fast',
        action='store_true',
        help='evaluate the network as init_model(..., fast=True) runs it',
    )
    parser.add_argument(
        '--half',
        action='store_true',
        help='evaluate the network as init_model(..., half=True) runs it, in bfloat16',
    )
    parser.add_argument(
        '--limit',
        type=int,
        metavar='N',
        help='evaluate on N images, spread evenly over the data set',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='override config keys: key=value, lists as key="[a,b]"',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how the processes are started',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    args = parser.parse_args()
    if args.out and not args.out.endswith(('.pkl', '.pickle')):
        parser.error(f'--out {args.out}: the name must end in .pkl or .pickle')
    return args


def set_images(cfg: Config, host: str, args: argparse.Namespace) -> None:
    """Turn on the host's drawing hook; each of the three has other words."""
    hooks = cfg.setdefault('default_hooks', ConfigDict())
    # absolute: mmdet would put a relative folder below work_dir/<time>, and
    # once more below itself with every batch
    folder = os.path.abspath(args.show_dir) if args.show_dir else None
    if host == 'mmpretrain':
        hook = dict(type='VisualizationHook', enable=True, interval=1, out_dir=folder)
    elif host == 'mmseg':
        hook = dict(type='SegVisualizationHook', draw=True, interval=1)
        if folder:
            cfg.visualizer.save_dir = folder
            if not cfg.visualizer.get('vis_backends'):
                cfg.visualizer.vis_backends = [dict(type='LocalVisBackend')]
    else:
        hook = dict(type='DetVisualizationHook', draw=True, interval=1)
        if folder:
            hook['test_out_dir'] = folder
    if args.show:
        hook['show'] = True
        if host != 'mmpretrain':
            hook['wait_time'] = args.wait_time
    hooks.visualization = hook


def set_tta(cfg: Config, host: str) -> None:
    """Wrap the model and replace the test pipeline.

    A config that brings ``tta_model`` and ``tta_pipeline`` decides itself,
    e.g. the six scales of DeepLab.
    """
    dataset = cfg.test_dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    if cfg.get('tta_model') is None:
        cfg.tta_model = copy.deepcopy(_TTA_MODELS[host])
    if cfg.get('tta_pipeline') is None:
        launch.print_rank0('--tta: each image and its mirror image')
        *steps, pack = copy.deepcopy(dataset.pipeline)
        flips = [
            dict(type='RandomFlip', prob=1.0),
            dict(type='RandomFlip', prob=0.0),
        ]
        if host == 'mmdet':
            pack.meta_keys = (
                'img_id',
                'img_path',
                'ori_shape',
                'img_shape',
                'scale_factor',
                'flip',
                'flip_direction',
            )
        if host == 'mmpretrain':
            for flip in flips:
                flip['direction'] = 'horizontal'
        loads = [s for s in steps if s['type'].endswith('LoadAnnotations')]
        steps = [s for s in steps if s not in loads]
        views = [flips, [pack]]
        if loads:  # the reference is not augmented
            views.insert(1, loads)
        cfg.tta_pipeline = [
            *steps,
            dict(type='TestTimeAug', transforms=views),
        ]
    dataset.pipeline = cfg.tta_pipeline
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)


def add_dump(runner: Runner, host: str, path: str) -> None:
    """Write the predictions to a pickle file in the host's form."""
    if host == 'mmdet':
        from mmdet.evaluation import DumpDetResults as Dump
    else:
        from mmengine.evaluator import DumpResults as Dump
    folder = os.path.dirname(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    runner.test_evaluator.metrics.append(Dump(out_file_path=path))


def report(cfg: Config, checkpoint: str, metrics: dict) -> None:
    """Print the figures and write them to a file."""
    if not is_main_process():
        return
    path = os.path.join(cfg.work_dir, 'metrics.json')
    figures = {key: float(value) for key, value in metrics.items()}
    with open(path, 'w', encoding='utf-8') as file:
        json.dump(
            {
                'config': cfg.filename,
                'checkpoint': checkpoint,
                'metrics': figures,
            },
            file,
            indent=2,
        )
    print(f'\nresult of {checkpoint}:')
    for key, value in figures.items():
        print(f'  {key}: {value:.4f}')
    print(f'written to {path}', flush=True)


@command
def main() -> int:
    """Evaluate."""
    args = parse_args()
    launch.filter_warnings()
    cfg = get_config(args.config)
    launch.print_warnings(apply_options(cfg, args.cfg_options))
    launch.set_work_dir(cfg, args.work_dir)
    host = launch.host_of(cfg)
    checkpoint = local_checkpoint(args.checkpoint)
    build = find_build(checkpoint)
    if build is None and '://' not in checkpoint:
        check_file(checkpoint)
    for flag in ('tta', 'fast', 'half'):
        if build and getattr(args, flag):
            raise InputError(f'--{flag} is for checkpoints, and this is a build')
    if cfg.get('test_dataloader') is None:
        raise InputError(
            f'config {args.config} has no test_dataloader; nothing can be evaluated'
        )
    if build:
        from mnv2_mm.deploy.evaluate import Evaluation

        evaluation = Evaluation(build, cfg)
        cfg = evaluation.cfg
        if evaluation.remark:
            print(evaluation.remark)
    cfg.load_from = checkpoint
    cfg.resume = False
    # the guard also for configs of the hosts
    guard = dict(type='mnv2_mm.CheckpointGuardHook')
    cfg.setdefault('default_hooks', ConfigDict())['guard'] = guard
    if args.show or args.show_dir:
        set_images(cfg, host, args)
    if args.fast or args.half:
        fast = dict(type='mnv2_mm.FastInferenceHook', half=args.half)
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), fast]
    if args.tta:
        if host == 'mmpretrain' and (args.show or args.show_dir):
            raise InputError(
                "--tta and images together are beyond mmpretrain's drawing "
                'hook; leave out --tta for the images'
            )
        set_tta(cfg, host)
    launch.set_launcher(cfg, args.launcher, args.local_rank)
    launch.preflight(cfg, splits=('test',))
    with launch.readable_config_errors(cfg):
        if args.limit is not None:
            subset_dataset(cfg, args.limit)
        make = evaluation.runner if build else launch.build_runner
        runner = make(cfg)
        if args.limit is not None:
            limit_metrics(runner)
        if args.out:
            add_dump(runner, host, args.out)
        metrics = runner.test()
    report(cfg, args.checkpoint, metrics)
    if args.out:
        launch.print_rank0(f'predictions are in {args.out}')
    if args.show_dir:
        launch.print_rank0(f'images are in {args.show_dir}')
    return 0


if __name__ == '__main__':
    main()
