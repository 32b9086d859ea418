"""Collect truth and prediction of every image while the host's loop evaluates.

mmengine's DumpResults keeps the scores of every pixel, gigabytes for a segmentation,
and of a detection no truth. Here masks are kept as PNG and classes as the best five.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from mmengine.evaluator import BaseMetric

from mnv2_mm.utils.errors import InputError

_TOP = 5  # classes of an image that are kept


@dataclass(frozen=True, eq=False)  # mmengine takes named tuples apart
class Sample:
    """One image of the test set.

    Attributes:
        path: File of the image.
        truth: ``boxes`` (n, 4) as x1, y1, x2, y2 in pixels of the image, ``labels``
            (n,) and ``ignored`` (n,); or ``png`` of the mask (H, W); or ``labels``
            (1,).
        found: ``boxes``, ``scores`` (n,) and ``labels``; or ``png``; or the best
            ``labels`` (5,) with ``scores``, and ``true_score`` (), of the true class.
    """

    path: str
    truth: dict[str, np.ndarray]
    found: dict[str, np.ndarray]


class Collector(BaseMetric):
    """A metric of mmengine without a figure: it keeps ``samples``.

    Args:
        dataset: The evaluated data set, which knows the true boxes.
    """

    def __init__(self, dataset: Any) -> None:
        super().__init__()
        self.dataset = dataset
        self.samples: list[Sample] = []

    def process(self, data_batch: object, data_samples: Sequence[Mapping]) -> None:
        """Keep what is needed of a batch."""
        self.results += map(_sample, data_samples)

    def compute_metrics(self, results: list) -> dict:
        """Add the true boxes, in pixels of the image file, by the image's id."""
        if results and 'boxes' in results[0].found:
            infos = map(self.dataset.get_data_info, range(len(self.dataset)))
            truth = {info['img_id']: _boxes(info['instances']) for info in infos}
            results = [replace(s, truth=truth[s.truth['img_id']]) for s in results]
        self.samples = results
        return {}


def _boxes(instances: Sequence[Mapping]) -> dict[str, np.ndarray]:
    """True boxes of an image, as mmdet's data sets give them."""
    boxes = [instance['bbox'] for instance in instances]
    ignored = [bool(instance.get('ignore_flag')) for instance in instances]
    return {
        'boxes': np.array(boxes, float).reshape(-1, 4),
        'labels': np.array([i['bbox_label'] for i in instances], int),
        'ignored': np.array(ignored, bool),
    }


def _sample(data: Mapping) -> Sample:
    """Reduce the sample of a host."""
    path = str(data.get('img_path') or '')
    if 'pred_instances' in data:
        found = {k: v.cpu().numpy() for k, v in data['pred_instances'].items()}
        boxes = dict(boxes=found['bboxes'], scores=found['scores'])
        truth = {'img_id': data['img_id']}  # replaced at the end
        return Sample(path, truth, boxes | {'labels': found['labels']})
    if 'pred_sem_seg' in data:
        if 'gt_sem_seg' not in data:
            raise InputError(
                'the test pipeline loads no masks to compare with; add '
                "dict(type='LoadAnnotations') to it"
            )
        masks = (data[key]['data'][0] for key in ('gt_sem_seg', 'pred_sem_seg'))
        return Sample(path, *({'png': _png(mask.cpu().numpy())} for mask in masks))
    label = data.get('gt_label')
    if 'pred_score' not in data or label is None or label.numel() != 1:
        raise InputError(
            'a report needs boxes, masks of classes, or images with one class each'
        )
    scores = data['pred_score'].cpu().numpy()
    best = np.argsort(-scores, kind='stable')[:_TOP]
    found = {'labels': best, 'scores': scores[best], 'true_score': scores[int(label)]}
    return Sample(path, {'labels': label.cpu().numpy().reshape(1)}, found)


def _png(mask: np.ndarray) -> np.ndarray:
    return cv2.imencode('.png', mask.astype(np.uint16))[1]


def mask_of(part: Mapping[str, np.ndarray]) -> np.ndarray:
    """Mask (H, W) of the truth or of the prediction of a sample."""
    return cv2.imdecode(part['png'], cv2.IMREAD_UNCHANGED)
