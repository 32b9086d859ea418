"""Evaluate a checkpoint or an exported model; tools/test.py calls this.

The metrics go to <work dir>/metrics.json too.
"""

import copy
import os
from argparse import Namespace
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
from mmengine.config import Config, ConfigDict
from mmengine.dist import is_main_process
from mmengine.registry import DATASETS, init_default_scope
from mmengine.runner import Runner

from mnv2_mm.checkpoints.file import check_file
from mnv2_mm.checkpoints.hub import local_checkpoint
from mnv2_mm.checkpoints.loading import safe_loading
from mnv2_mm.engine.fast_training import keep_freed_memory
from mnv2_mm.engine.launch import build_runner, preflight, set_launcher, set_work_dir
from mnv2_mm.engine.progress import scalars
from mnv2_mm.runtime.description import find as find_build
from mnv2_mm.utils.config import apply_options, evaluation_dataset, get_config
from mnv2_mm.utils.config_checks import check_values
from mnv2_mm.utils.config_errors import host_of, readable_config_errors
from mnv2_mm.utils.console import filter_warnings, print_rank0, print_warnings
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.files import whole_file, write_json

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


@safe_loading()
def test(args: Namespace) -> None:
    """Evaluate by the flags of tools/test.py."""
    filter_warnings()
    cfg = get_config(args.config)
    print_warnings(apply_options(cfg, args.cfg_options))
    set_work_dir(cfg, args.work_dir)
    host = host_of(cfg)
    checkpoint = local_checkpoint(args.checkpoint)
    exported = find_build(checkpoint)
    if exported is None and '://' not in checkpoint:
        check_file(checkpoint)
    optimize = args.optimize or args.dtype != 'float32'
    for flag, default in (('tta', False), ('optimize', False), ('dtype', 'float32')):
        if exported and getattr(args, flag) != default:
            raise InputError(f'--{flag} is for checkpoints, not for exported models')
    if cfg.get('test_dataloader') is None:
        raise InputError(f'config {args.config} has no test_dataloader to evaluate')
    make = build_runner
    if exported:
        from mnv2_mm.deploy.evaluate import Evaluation

        evaluation = Evaluation(exported, cfg)
        cfg, make = evaluation.cfg, evaluation.runner
        if evaluation.note:
            print(evaluation.note)
    if args.show or args.show_dir:
        _set_images(cfg, host, args)
    if optimize:
        keep_freed_memory()
        hook = dict(type='mnv2_mm.OptimizedInferenceHook', dtype=args.dtype)
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), hook]
    if args.tta:
        if host == 'mmpretrain' and (args.show or args.show_dir):
            raise InputError(
                "mmpretrain's drawing hook cannot work with --tta; leave one out"
            )
        _set_tta(cfg, host)
    set_launcher(cfg, args.launcher, args.local_rank)
    with readable_config_errors(cfg):
        runner = evaluation_runner(cfg, checkpoint, limit=args.limit, make=make)
        writes = args.out and is_main_process()
        with whole_file(args.out) if writes else nullcontext(args.out) as path:
            if args.out:
                _add_dump(runner, host, str(path))
            metrics = runner.test()
    _report(cfg, args.checkpoint, metrics)
    if args.out:
        print_rank0(f'predictions are in {args.out}')
    if args.show_dir:
        print_rank0(f'images are in {args.show_dir}')


def evaluation_runner(
    cfg: Config,
    checkpoint: str,
    *,
    limit: int | None = None,
    make: Callable[[Config], Runner] = build_runner,
) -> Runner:
    """Check a config and its data, and build the runner that evaluates a checkpoint.

    Call it inside of ``readable_config_errors``.

    Args:
        cfg: Changed in place.
        checkpoint: Path, or address.
        limit: Number of images, spread evenly; all by default.
        make: Builds the runner.
    """
    cfg.load_from = checkpoint
    cfg.resume = False
    # the guard also for configs of the hosts
    guard = dict(type='mnv2_mm.CheckpointGuardHook')
    cfg.setdefault('default_hooks', ConfigDict())['guard'] = guard
    check_values(cfg, splits=('test',))
    preflight(cfg, splits=('test',))
    if limit is not None:
        subset_dataset(cfg, limit)
    runner = make(cfg)
    if limit is not None:
        limit_metrics(runner)
    return runner


def subset_dataset(cfg: Config, count: int) -> None:
    """Reduce the test data set to ``count`` images, spread evenly over its classes."""
    if count < 1:
        raise InputError(f'--limit is {count}; give the number of images')
    init_default_scope(cfg.default_scope)
    dataset = evaluation_dataset(cfg)
    total = len(DATASETS.build(dataset))
    if count < total:
        places = np.linspace(0, total - 1, count).round().astype(int)
        dataset['indices'] = places.tolist()


def limit_metrics(runner: Runner) -> None:
    """Tell COCO's metric which images there are; the others would count as empty."""
    dataset = runner.test_loop.dataloader.dataset
    for metric in runner.test_evaluator.metrics:
        if getattr(metric, '_coco_api', None) is not None:
            infos = map(dataset.get_data_info, range(len(dataset)))
            metric.img_ids = [info['img_id'] for info in infos]


def _set_images(cfg: Config, host: str, args: Namespace) -> None:
    """Turn on the drawing hook of the host, with one visualizer for all hosts."""
    settings = cfg.get('visualizer') or {}
    cfg.visualizer = dict(
        type='mnv2_mm.ResultVisualizer',
        out_dir=args.show_dir,
        name=settings.get('name', 'visualizer'),
        vis_backends=settings.get('vis_backends'),
    )
    hook = {
        'mmdet': dict(type='DetVisualizationHook', draw=True),
        'mmseg': dict(type='SegVisualizationHook', draw=True),
        'mmpretrain': dict(type='VisualizationHook', enable=True),
    }[host]
    if args.show and host != 'mmpretrain':
        hook['wait_time'] = args.wait_time
    hooks = cfg.setdefault('default_hooks', ConfigDict())
    hooks.visualization = dict(hook, interval=1, show=args.show)


def _set_tta(cfg: Config, host: str) -> None:
    """Wrap the model and replace the test pipeline, where the config does not."""
    dataset = evaluation_dataset(cfg)
    if cfg.get('tta_model') is None:
        cfg.tta_model = copy.deepcopy(_TTA_MODELS[host])
    if cfg.get('tta_pipeline') is None:
        print_rank0('--tta: each image and its mirror image')
        *steps, pack = copy.deepcopy(dataset.pipeline)
        flips = [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)]
        if host == 'mmdet':
            pack.pop('meta_keys', None)  # by default with flip and flip_direction
        loads = [s for s in steps if s['type'].endswith('LoadAnnotations')]
        steps = [s for s in steps if s not in loads]
        views = [flips, [pack]]
        if loads:  # the reference is not augmented
            views.insert(1, loads)
        cfg.tta_pipeline = [*steps, dict(type='TestTimeAug', transforms=views)]
    dataset.pipeline = cfg.tta_pipeline
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)


def _add_dump(runner: Runner, host: str, path: str) -> None:
    """Write the predictions to a pickle file in the host's form."""
    if host == 'mmdet':
        from mmdet.evaluation import DumpDetResults as Dump
    else:
        from mmengine.evaluator import DumpResults as Dump
    runner.test_evaluator.metrics.append(Dump(out_file_path=path))


def _report(cfg: Config, checkpoint: str, metrics: dict) -> None:
    """Print the figures and write them to a file."""
    if not is_main_process():
        return
    path = os.path.join(cfg.work_dir, 'metrics.json')
    figures = {k: v for k, v in scalars(metrics).items() if np.isfinite(v)}
    content = dict(config=cfg.filename, checkpoint=checkpoint, metrics=figures)
    write_json(path, content)
    print(f'\nresult of {checkpoint}:')
    for key, value in figures.items():
        if not key.endswith('_precision'):  # of each class: the table above
            print(f'  {key}: {value:.4f}')
    print(f'written to {path}', flush=True)
