"""Evaluate a checkpoint or an exported model; tools/test.py calls this.

The checkpoint must fit the config wholly. Otherwise this stops, before it
measures a network with random parts. The metrics go to <work dir>/metrics.json
too.
"""

import copy
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mmengine.config import Config, ConfigDict
from mmengine.dist import is_main_process
from mmengine.runner import Runner

from mnv2_mm.checkpoints.file import check_file
from mnv2_mm.checkpoints.hub import local_checkpoint
from mnv2_mm.engine.launch import build_runner, preflight, set_launcher, set_work_dir
from mnv2_mm.runtime.model import find as find_build
from mnv2_mm.utils.config import apply_options, get_config
from mnv2_mm.utils.config_errors import host_of, readable_config_errors
from mnv2_mm.utils.console import filter_warnings, print_rank0, print_warnings
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.malloc_tuning import keep_freed_memory
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


@dataclass(kw_only=True)
class TestOptions:
    """The flags of tools/test.py."""

    config: str
    #: A .pth file, ``mnv2_mm://NAME``, or the folder of an exported model.
    checkpoint: str
    work_dir: str | None = None
    out: str | None = None
    show: bool = False
    show_dir: str | None = None
    wait_time: float = 2
    tta: bool = False
    optimize: bool = False
    dtype: Literal['float32', 'bfloat16'] = 'float32'
    limit: int | None = None
    cfg_options: Sequence[str] | None = None
    launcher: str = 'none'
    local_rank: int = 0


def test(options: TestOptions) -> None:
    """Evaluate, print the metrics and write them to the work dir.

    Raises:
        InputError: the config, the data or the checkpoint cannot be used.
    """
    filter_warnings()
    cfg = get_config(options.config)
    print_warnings(apply_options(cfg, options.cfg_options))
    set_work_dir(cfg, options.work_dir)
    host = host_of(cfg)
    checkpoint = local_checkpoint(options.checkpoint)
    exported = find_build(checkpoint)
    if exported is None and '://' not in checkpoint:
        check_file(checkpoint)
    optimize = options.optimize or options.dtype != 'float32'
    flags = {
        '--tta': options.tta,
        '--optimize': options.optimize,
        '--dtype': options.dtype != 'float32',
    }
    for flag, is_set in flags.items():
        if exported and is_set:
            raise InputError(
                f'{flag} is for checkpoints, and this is an exported model'
            )
    if cfg.get('test_dataloader') is None:
        raise InputError(
            f'config {options.config} has no test_dataloader; nothing can be evaluated'
        )
    if exported:
        from mnv2_mm.deploy.evaluate import Evaluation

        evaluation = Evaluation(exported, cfg)
        cfg = evaluation.cfg
        if evaluation.note:
            print(evaluation.note)
    cfg.load_from = checkpoint
    cfg.resume = False
    # the guard also for configs of the hosts
    guard = dict(type='mnv2_mm.CheckpointGuardHook')
    cfg.setdefault('default_hooks', ConfigDict())['guard'] = guard
    if options.show or options.show_dir:
        _set_images(cfg, host, options)
    if optimize:
        keep_freed_memory()
        hook = dict(type='mnv2_mm.OptimizedInferenceHook', dtype=options.dtype)
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), hook]
    if options.tta:
        if host == 'mmpretrain' and (options.show or options.show_dir):
            raise InputError(
                "--tta and images together are beyond mmpretrain's drawing "
                'hook; leave out --tta for the images'
            )
        _set_tta(cfg, host)
    set_launcher(cfg, options.launcher, options.local_rank)
    preflight(cfg, splits=('test',))
    with readable_config_errors(cfg):
        if options.limit is not None:
            subset_dataset(cfg, options.limit)
        make = evaluation.runner if exported else build_runner
        runner = make(cfg)
        if options.limit is not None:
            limit_metrics(runner)
        if options.out:
            _add_dump(runner, host, options.out)
        metrics = runner.test()
    _report(cfg, options.checkpoint, metrics)
    if options.out:
        print_rank0(f'predictions are in {options.out}')
    if options.show_dir:
        print_rank0(f'images are in {options.show_dir}')


def _set_images(cfg: Config, host: str, options: TestOptions) -> None:
    """Turn on the drawing hook of the host; each of the three names it differently."""
    hooks = cfg.setdefault('default_hooks', ConfigDict())
    # absolute: mmdet would put a relative folder below work_dir/<time>, and
    # once more below itself with every batch
    folder = os.path.abspath(options.show_dir) if options.show_dir else None
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
    if options.show:
        hook['show'] = True
        if host != 'mmpretrain':
            hook['wait_time'] = options.wait_time
    hooks.visualization = hook


def _set_tta(cfg: Config, host: str) -> None:
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
        print_rank0('--tta: each image and its mirror image')
        *steps, pack = copy.deepcopy(dataset.pipeline)
        flips = [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)]
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
        cfg.tta_pipeline = [*steps, dict(type='TestTimeAug', transforms=views)]
    dataset.pipeline = cfg.tta_pipeline
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)


def _add_dump(runner: Runner, host: str, path: str) -> None:
    """Write the predictions to a pickle file in the host's form."""
    if host == 'mmdet':
        from mmdet.evaluation import DumpDetResults as Dump
    else:
        from mmengine.evaluator import DumpResults as Dump
    folder = os.path.dirname(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    runner.test_evaluator.metrics.append(Dump(out_file_path=path))


def _report(cfg: Config, checkpoint: str, metrics: dict) -> None:
    """Print the figures and write them to a file."""
    if not is_main_process():
        return
    path = os.path.join(cfg.work_dir, 'metrics.json')
    figures = {key: float(value) for key, value in metrics.items()}
    with open(path, 'w', encoding='utf-8') as file:
        json.dump(
            {'config': cfg.filename, 'checkpoint': checkpoint, 'metrics': figures},
            file,
            indent=2,
        )
    print(f'\nresult of {checkpoint}:')
    for key, value in figures.items():
        print(f'  {key}: {value:.4f}')
    print(f'written to {path}', flush=True)
