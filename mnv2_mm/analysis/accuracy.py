"""Accuracies with their 95 % intervals over images, for tools/reproduce.py.

The hosts' evaluators give a rounded figure each. Here are the unrounded ones, their
intervals, and both ways of counting classes in mIoU. Top-1 has Wilson's interval; AP
and mIoU that of a normal distribution, with the standard deviation of figures whose
images are drawn again (bootstrap, seed 0).
"""

import contextlib
import io
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.runner import Runner

#: Of the normal distribution, for 95 %.
_Z = 1.96
#: Draws of the bootstrap; COCO's evaluation takes up to seconds for each.
_DRAWS = {'det': 30, 'seg': 300}


class Accuracy(NamedTuple):
    """A figure in percent, and what belongs to it."""

    value: float
    low: float
    high: float
    more: dict[str, float]  #: further figures, in percent, and counts


def wilson(share: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of ``count`` trials."""
    middle = share + _Z**2 / (2 * count)
    half = _Z * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    return tuple((middle + side * half) / (1 + _Z**2 / count) for side in (-1, 1))


def bootstrap(
    figure: Callable[[np.ndarray], float], count: int, *, draws: int
) -> tuple[float, float]:
    """95 % interval of ``figure``, which takes the indices of the images."""
    rng = np.random.default_rng(0)
    found = [figure(rng.integers(count, size=count)) for _ in range(draws)]
    value, half = figure(np.arange(count)), _Z * float(np.nanstd(found))
    return value - half, value + half


def mean_iou(areas: np.ndarray, *, with_truth: bool = False) -> tuple[float, int]:
    """Mean IoU in percent, and over how many classes.

    Args:
        areas: (images, 4, classes): pixels of the intersection, the union, the
            prediction and the truth, as of mmseg's ``intersect_and_union``.
        with_truth: Count only classes that the truth has. Otherwise a class that is
            predicted counts too, with 0 where the truth lacks it, as in TensorFlow and
            mmseg. A class in neither is absent.
    """
    intersection, union, _, truth = areas.sum(0)
    counted = (truth if with_truth else union) > 0
    if not counted.any():
        return math.nan, 0
    iou = intersection[counted] / union[counted]
    return 100 * float(iou.mean()), int(counted.sum())


class Areas(BaseMetric):
    """Keep the areas of each image, see :func:`mean_iou`."""

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count the pixels of each image."""
        from mmseg.evaluation import IoUMetric

        classes = len(self.dataset_meta['classes'])
        for sample in data_samples:
            found = sample['pred_sem_seg']['data'].squeeze()
            truth = sample['gt_sem_seg']['data'].squeeze().to(found)
            areas = IoUMetric.intersect_and_union(found, truth, classes, 255)
            self.results.append(np.stack([area.numpy() for area in areas]))

    def compute_metrics(self, results: list) -> dict:
        """Leave the figures to :func:`measure`."""
        self.areas = np.stack(results).astype(np.float64)
        return {}


def measure(runner: Runner, task: str) -> Accuracy:
    """Evaluate with the host's evaluator and add what it does not say.

    Args:
        runner: Ready for ``test``. A detector's CocoMetric has an ``outfile_prefix``.
        task: 'cls', 'det' or 'seg'.
    """
    metrics = runner.test_evaluator.metrics
    count = len(runner.test_dataloader.dataset)
    if task == 'cls':
        found = runner.test()
        top1, top5 = (found[f'accuracy/top{k}'] for k in (1, 5))
        low, high = wilson(top1 / 100, count)
        return Accuracy(top1, 100 * low, 100 * high, {'top-5': top5})
    if task == 'det':
        runner.test()
        return _average_precision(metrics[0])
    recorder = Areas()
    recorder.dataset_meta = runner.test_dataloader.dataset.metainfo
    metrics.append(recorder)
    runner.test()
    areas = recorder.areas
    value, classes = mean_iou(areas)
    only_truth, with_truth = mean_iou(areas, with_truth=True)
    low, high = bootstrap(
        lambda picks: mean_iou(areas[picks])[0], count, draws=_DRAWS['seg']
    )
    more = {'classes': classes}
    if with_truth != classes:
        more |= {'classes with truth': with_truth, 'mIoU over them': only_truth}
    return Accuracy(value, max(low, 0.0), min(high, 100.0), more)


def _average_precision(metric: BaseMetric) -> Accuracy:
    """COCO's AP from the file of boxes that mmdet's CocoMetric wrote."""
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # it prints
        truth = metric._coco_api
        try:
            boxes = truth.loadRes(f'{metric.outfile_prefix}.bbox.json')
        except IndexError:  # no box at all
            return Accuracy(0.0, 0.0, 0.0, {'AP50': 0.0, 'AP75': 0.0})
        evaluation = COCOeval(truth, boxes, 'bbox')
        settings = evaluation.params
        settings.imgIds, settings.catIds = metric.img_ids, metric.cat_ids
        settings.maxDets = [100]
        # boxes of all sizes
        settings.areaRng, settings.areaRngLbl = settings.areaRng[:1], ['all']
        evaluation.evaluate()
        count = len(settings.imgIds)
        by_image = np.empty(len(evaluation.evalImgs), object)
        by_image[:] = evaluation.evalImgs
        by_image = by_image.reshape(-1, count)

        def precision(picks: np.ndarray) -> np.ndarray:
            evaluation.evalImgs = by_image[:, picks].ravel().tolist()
            evaluation.accumulate()
            found = evaluation.eval['precision'][..., 0, 0]  # IoU, recall, class
            present = (found > -1).all((0, 1))
            # drawn images may have no object
            nothing = np.full(len(found), np.nan)
            return 100 * found[:, :, present].mean((1, 2)) if present.any() else nothing

        by_iou = precision(np.arange(count))
        low, high = bootstrap(
            lambda picks: float(precision(picks).mean()), count, draws=_DRAWS['det']
        )
    more = {'AP50': float(by_iou[0]), 'AP75': float(by_iou[5])}
    return Accuracy(float(by_iou.mean()), max(low, 0.0), min(high, 100.0), more)
