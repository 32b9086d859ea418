"""Write report.html of a training; tools/report.py calls this.

Images are predicted once, by the loop of tools/test.py. The hosts' analysis tools each
read another file and draw one figure; none writes a page.
"""

import contextlib
import datetime
import itertools
import os
import shlex
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config

from mnv2_mm.analysis.complexity import count_config
from mnv2_mm.analysis.report.collect import Collector, Sample
from mnv2_mm.analysis.report.dense import analyze_classes, analyze_masks
from mnv2_mm.analysis.report.detection import analyze_boxes
from mnv2_mm.analysis.report.figures import Drawing, draw_training
from mnv2_mm.analysis.report.matching import library
from mnv2_mm.analysis.report.page import draw_images, render
from mnv2_mm.api import load
from mnv2_mm.checkpoints.file import check_file
from mnv2_mm.checkpoints.hub import config_of, local_checkpoint, result_of
from mnv2_mm.checkpoints.loading import safe_loading
from mnv2_mm.commands.test import evaluation_runner
from mnv2_mm.engine.network_graph import EAGER_CALLS
from mnv2_mm.engine.progress import scalars
from mnv2_mm.runtime.machine import describe
from mnv2_mm.runtime.read_image import read_image
from mnv2_mm.runtime.timing import quartiles
from mnv2_mm.utils.config import (
    apply_options,
    config_name,
    evaluation_dataset,
    get_config,
)
from mnv2_mm.utils.config_errors import host_of, readable_config_errors
from mnv2_mm.utils.console import filter_warnings, print_warnings
from mnv2_mm.utils.curves import read_curves
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.files import check_output, user_path, write_text

_ANALYSES = {
    'mmdet': analyze_boxes,
    'mmseg': analyze_masks,
    'mmpretrain': analyze_classes,
}
#: Deploy configs of the next step; the dynamic one takes images of any size.
_EXPORTS = {
    'mmdet': 'det_onnxruntime_static',
    'mmseg': 'seg_onnxruntime_dynamic',
    'mmpretrain': 'cls_onnxruntime_static',
}
_RUNS, _WARMUP = 20, EAGER_CALLS + 3
_TIME = '{median:.1f} ms ({quarter:.1f} to {three_quarters:.1f})'
_TILES = 'parameters', 'time for an image'  # beside the headline


@safe_loading()
def report(args: Namespace) -> None:
    """Write a report by the flags of tools/report.py."""
    filter_warnings()
    if args.images < 0:
        raise InputError(f'--images is {args.images}; give 0 or more')
    work_dir = user_path(args.work_dir)
    checkpoint = _checkpoint(work_dir, args.checkpoint)
    cfg = get_config(args.config or _config(checkpoint))
    print_warnings(apply_options(cfg, args.cfg_options))
    host = host_of(cfg)
    if host == 'mmdet':
        library()  # is asked for before the prediction
    out = Path(args.out or work_dir / 'report.html')
    check_output(out)
    classes, samples, metrics = _evaluate(cfg, checkpoint, args.limit)
    findings = _ANALYSES[host](samples, classes.get('classes') or ())
    ranked = findings.ranked
    count = min(args.images, (len(ranked) + 1) // 2)
    worst, best = (
        draw_images(chosen, classes, threshold=findings.threshold)
        for chosen in (ranked[:count], ranked[::-1][:count])
    )
    model = _model(cfg, checkpoint, samples)
    page = render(
        findings,
        title=f'Training report: {config_name(cfg)}',
        subtitle=f'{checkpoint}, evaluated on {_place(cfg)}, {datetime.date.today()}. '
        + _caution(cfg),
        facts={
            'test images': f'{len(samples):,}',
            **{k: model[k].split(' (')[0] for k in _TILES if k in model},
        },
        training=_training(work_dir),
        worst=worst,
        best=best,
        tables={
            'Size and speed': model,
            'All metrics': {k: f'{v:.4g}' for k, v in scalars(metrics).items()},
        },
        commands=_commands(work_dir, checkpoint, cfg, samples, findings.threshold),
    )
    write_text(out, page)
    print(f'\n{findings.metric} {findings.value}. {findings.sentence}')
    print(f'the report is in {out}')


def _checkpoint(work_dir: Path, given: str | None) -> str:
    """Path of the checkpoint to report on."""
    if not work_dir.is_dir():
        raise InputError(
            f'there is no folder {work_dir}; give --work-dir of a training'
        )
    found = local_checkpoint(given) if given else result_of(str(work_dir))[0]
    if found is None:
        raise InputError(
            f'{work_dir} holds no complete checkpoint (epoch_N.pth or iter_N.pth); '
            'give the work dir of a training, or --checkpoint'
        )
    check_file(found)
    return found


def _config(checkpoint: str) -> str:
    """Config that the training left beside its checkpoint."""
    try:
        return config_of(Path(checkpoint))
    except InputError as error:
        raise InputError(f'{error} (here: --config)') from error


def _evaluate(
    cfg: Config, checkpoint: str, limit: int | None
) -> tuple[Mapping, list[Sample], dict[str, float]]:
    """Predict the test set once: class names, what is seen, the host's metrics."""
    folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    with folder as cfg.work_dir, readable_config_errors(cfg):  # its log is of no use
        cfg.launcher = 'none'
        runner = evaluation_runner(cfg, checkpoint, limit=limit)
        dataset = runner.test_dataloader.dataset
        if not len(dataset):
            raise InputError(f'{_place(cfg)} has no images to evaluate')
        collector = Collector(dataset)
        runner.test_evaluator.metrics.append(collector)
        metrics = runner.test()
    return dataset.metainfo, collector.samples, metrics


def _model(cfg: Config, checkpoint: str, samples: list[Sample]) -> dict[str, str]:
    """Size of the network, and its time for an image on one thread."""
    rows = {'checkpoint': f'{Path(checkpoint).stat().st_size / 1e6:.1f} MB'}
    with contextlib.suppress(InputError):  # a network that cannot be counted
        counted = count_config(cfg)
        height, width = counted.sizes[0]
        rows['input'] = f'{width} x {height} pixels'
        rows['parameters'] = f'{counted.num_params() / 1e6:.2f} million'
        rows['multiply-adds'] = f'{counted.cost() / 1e6:,.0f} million'
    images = [read_image(s.path) for s in samples[:_RUNS] if Path(s.path).is_file()]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        if images:
            run = load(cfg, checkpoint).run
            frames = itertools.islice(itertools.cycle(images), _WARMUP + _RUNS)
            spent = np.array([_seconds(run, frame) for frame in frames])
            (found,) = quartiles(spent[_WARMUP:, None])
            rows['time for an image'] = _TIME.format(**found)
    finally:
        torch.set_num_threads(threads)
    return rows | {
        'machine': f'{describe()}; processor time of one thread, median '
        f'(quartiles) of {_RUNS} images, from the decoded image to the result'
    }


def _seconds(run: Callable[[list[np.ndarray]], object], image: np.ndarray) -> float:
    """Time of the processor, so that other programs do not count."""
    start = time.process_time()
    run([image])
    return time.process_time() - start


def _place(cfg: Config) -> str:
    """Where the evaluated images are, for people."""
    dataset = evaluation_dataset(cfg)
    prefix = dataset.get('data_prefix') or ''
    if isinstance(prefix, Mapping):
        prefix = next((p for p in prefix.values() if p), '')
    name = dataset.get('ann_file') or prefix
    return os.path.join(dataset.get('data_root') or '', name) or dataset['type']


def _caution(cfg: Config) -> str:
    """Whether the best checkpoint was chosen by the same images."""
    loaders = [cfg.get(f'{split}_dataloader') or {} for split in ('val', 'test')]
    if loaders[0].get('dataset') != loaders[1].get('dataset'):
        return ''
    return (
        'The config validates on the same images: a best checkpoint that is chosen by '
        'them fits them a little better than new images.'
    )


def _training(work_dir: Path) -> list[Drawing]:
    """Curves, where the training left its records."""
    try:
        return draw_training(read_curves(work_dir))
    except InputError:
        return []


def _commands(
    work_dir: Path,
    checkpoint: str,
    cfg: Config,
    samples: list[Sample],
    threshold: float | None,
) -> dict[str, str]:
    """What one does next, with the true names of files."""
    config, image = cfg.filename, samples[0].path or 'photo.jpg'
    score = [] if threshold is None else ['--score-thr', f'{threshold:.2f}']
    place = ['--work-dir', str(work_dir)]
    predict = ['predict', config, 'photos/', '--weights', checkpoint, *score]
    export = ['export', _EXPORTS[cfg.default_scope], config, checkpoint, image]
    export += ['--work-dir', str(work_dir / 'exported')]
    lines = {
        'Predict for your own images': predict,
        'Export for ONNX Runtime (ncnn and TensorRT: see the page Deployment)': export,
        'Evaluate again': ['test', config, checkpoint, *place],
        'Train on, if it was interrupted': ['train', config, *place, '--resume'],
    }
    return {text: shlex.join(['mnv2', *words]) for text, words in lines.items()}
