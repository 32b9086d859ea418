"""How well the default boxes of SSDLite fit the boxes of a data set; better scales.

mmdet's tools/analysis_tools/optimize_anchors.py is for YOLO: it returns widths and
heights, which :class:`SSDLiteAnchorGenerator` has no place for, and it ignores where
the centers of the cells lie.
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy.cluster.vq import kmeans2

from mnv2_mm.datasets.own.recipe import object_sizes
from mnv2_mm.datasets.own.records import Record
from mnv2_mm.models.ssdlite.anchors import SCALES, SSDLiteAnchorGenerator

MAX_BOXES = 2000  # that are compared, of each class
#: Default boxes of an object beyond which more are not better.
ENOUGH = 4
LARGEST = 0.95  # scale of the highest level


class Fit(NamedTuple):
    """Scales of default boxes and how many boxes they reach."""

    scales: tuple[float, ...]
    reduce_lowest: bool
    recall: dict[str, float]  #: share of each class's boxes with an IoU of 0.5 or more
    matches: float  #: default boxes with that IoU to a box, at most ENOUGH; class mean

    @property
    def mean(self) -> float:
        """Mean recall over the classes."""
        return float(np.mean(list(self.recall.values())))

    @property
    def lowest(self) -> float:
        """Recall of the hardest class."""
        return min(self.recall.values())


def fit_anchors(records: list[Record], side: int, *, seed: int = 0) -> tuple[Fit, Fit]:
    """The official default boxes, and the best of k-means over the sizes of the boxes.

    The best have the most matches of those that reach as many objects as the official
    ones, on average and of the hardest class. Matches alone may cost a class its boxes,
    recall alone prefers default boxes for the smallest objects and leaves one match to
    the others. An object that none reaches trains the nearest.

    Args:
        records: Images with boxes.
        side: The input size in pixels, square.
        seed: Of k-means and of the choice among many boxes.
    """
    rng = np.random.default_rng(seed)
    boxes = _by_class(records, rng)
    official = _fit(boxes, side, SCALES, reduce_lowest=True)
    # as many of each class: a frequent one would take all centers
    sizes = [rng.choice(s, 500) for s in object_sizes(records).values()]
    logs = np.log(np.clip(np.concatenate(sizes), 0.02, LARGEST))
    fits = [official]
    for count in range(1, min(6, len(np.unique(logs))) + 1):
        centers, _ = kmeans2(logs, count, minit='++', seed=seed)
        low = [round(float(c), 3) for c in np.sort(np.exp(centers))]
        high = np.linspace(low[-1], LARGEST, 7 - count)[1:]
        scales = (*low, *(round(float(h), 3) for h in high), 1.0)
        fits.append(_fit(boxes, side, scales, reduce_lowest=False))
    fits = [f for f in fits if f.mean >= official.mean and f.lowest >= official.lowest]
    return official, max(fits, key=lambda fit: fit.matches)


def _by_class(records: list[Record], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Boxes (N, 4) of each class relative to their images, at most MAX_BOXES."""
    boxes: dict[str, list[np.ndarray]] = {}
    for record in records:
        if record.boxes is not None:
            relative = record.boxes / np.array([*record.size, *record.size])
            for label, box in zip(record.labels, relative, strict=True):
                boxes.setdefault(label, []).append(box)
    return {
        label: rng.permutation(np.array(found))[:MAX_BOXES]
        for label, found in boxes.items()
    }


def _fit(
    boxes: dict[str, np.ndarray],
    side: int,
    scales: tuple[float, ...],
    *,
    reduce_lowest: bool,
) -> Fit:
    """Compare boxes with all default boxes of an input."""
    generator = SSDLiteAnchorGenerator(side, scales=scales, reduce_lowest=reduce_lowest)
    priors = torch.cat(generator.grid_priors(generator.featmap_sizes, device='cpu'))
    from mmdet.structures.bbox import bbox_overlaps

    recall, matches = {}, []
    for label, found in boxes.items():
        overlaps = bbox_overlaps(torch.from_numpy(found * side).float(), priors)
        counts = (overlaps >= 0.5).sum(1)
        recall[label] = float((counts > 0).float().mean())
        matches.append(float(counts.clamp(max=ENOUGH).float().mean()))
    return Fit(scales, reduce_lowest, recall, float(np.mean(matches)))
