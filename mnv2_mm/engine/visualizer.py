"""Draw the data samples of all hosts by ``mnv2_mm.runtime.drawing``, and describe them.

The hosts' visualizers take the samples of one host, and draw labels over labels.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import master_only
from mmengine.structures import BaseDataElement
from mmengine.visualization import Visualizer
from torch import nn

from mnv2_mm.datasets.gt_visualizer import truth
from mnv2_mm.datasets.read_image import read_image
from mnv2_mm.registry import VISUALIZERS
from mnv2_mm.runtime.drawing import beside, class_name, draw
from mnv2_mm.utils.files import check_output, write_image

_TOP = 5  # classes of a classification that are reported


def plain(sample: BaseDataElement) -> dict[str, np.ndarray]:
    """A host's prediction as the arrays that ``mnv2_mm.runtime`` returns."""
    if 'pred_instances' in sample:
        found = sample.pred_instances.cpu().numpy()
        return dict(boxes=found.bboxes, scores=found.scores, labels=found.labels)
    if 'pred_sem_seg' in sample:
        return {'mask': sample.pred_sem_seg.data[0].cpu().numpy()}
    return {'probabilities': sample.pred_score.cpu().numpy()}


@VISUALIZERS.register_module()
class ResultVisualizer(Visualizer):
    """Draw ground truth left and prediction right, for the hosts' hooks.

    Args:
        out_dir: Folder of the images; without one they go to ``vis_backends``.
        name, kwargs: Arguments of mmengine's Visualizer.
    """

    def __init__(self, name: str, *, out_dir: str | None = None, **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self.out_dir = out_dir
        if out_dir is not None:
            check_output(out_dir, folder=True)
        self._names: Counter[str] = Counter()

    @master_only
    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: BaseDataElement,
        *,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        out_file: str | None = None,
        pred_score_thr: float = 0.3,
        step: int = 0,
        **_: Any,
    ) -> None:
        """Draw on an image (H, W, 3) RGB; show, or write, or give to the backends."""
        found = {
            'ground truth': truth(data_sample) if draw_gt else {},
            'prediction': plain(data_sample) if draw_pred else {},
        }
        image = np.ascontiguousarray(image[..., ::-1])
        drawn = {
            title: draw(image, part, self.dataset_meta or {}, score_thr=pred_score_thr)
            for title, part in found.items()
            if part
        }
        result = beside(drawn)
        self.set_image(result[..., ::-1])  # for get_image of the hosts' inferencers
        if self.out_dir is not None and out_file is None:
            stem = Path(data_sample.get('img_path', name)).stem
            self._names[stem] += 1
            number = self._names[stem]
            file = f'{stem}_{number}.jpg' if number > 1 else f'{stem}.jpg'
            out_file = str(Path(self.out_dir, file))
        if show:
            self.show(result[..., ::-1], win_name=name, wait_time=wait_time)
        if out_file is None:
            self.add_image(name, result[..., ::-1], step)
        else:
            write_image(out_file, result)

    def visualize_cls(
        self, image: np.ndarray, data_sample: BaseDataElement, **options: Any
    ) -> None:
        """Draw for mmpretrain's hook, on the image of the file where there is one.

        The hook hands over the network's input: cropped, and BGR taken for RGB.
        """
        path = data_sample.get('img_path')
        if path and Path(path).is_file():
            image = read_image(path)[..., ::-1]
        self.add_datasample(options.pop('name', ''), image, data_sample, **options)


class Painter:
    """Draw and describe the predictions of a model that ``init_model`` returned.

    Boxes below ``score_thr`` are neither drawn nor reported.
    """

    def __init__(self, model: nn.Module, *, score_thr: float = 0.3) -> None:
        self.host = model.cfg.default_scope
        self.meta = dict(model.dataset_meta)
        self.classes = tuple(map(str, self.meta.get('classes') or ()))
        self.score_thr = score_thr

    def describe(self, sample: BaseDataElement) -> dict:
        """The prediction as plain numbers.

        Returns:
            ``boxes`` as [x1, y1, x2, y2] in pixels with ``labels``, ``scores`` and
            ``classes``, best first; or ``pixel_shares`` (0 to 1) by class; or ``top5``.
        """
        found = plain(sample)
        if 'boxes' in found:
            order = np.argsort(-found['scores'], kind='stable')
            order = order[found['scores'][order] >= self.score_thr]
            labels = found['labels'][order].tolist()
            return {
                'boxes': found['boxes'][order].astype(float).round(1).tolist(),
                'labels': labels,
                'scores': found['scores'][order].astype(float).round(4).tolist(),
                'classes': [class_name(self.classes, label) for label in labels],
            }
        if 'mask' in found:
            shares = np.bincount(found['mask'].ravel()) / found['mask'].size
            names = {i: class_name(self.classes, i) for i in np.flatnonzero(shares)}
            return {
                'pixel_shares': {
                    n: round(float(shares[i]), 4) for i, n in names.items()
                }
            }
        scores = found['probabilities']
        best = np.argsort(-scores, kind='stable')[:_TOP].tolist()
        scores = scores.astype(float).round(4).tolist()
        named = [(class_name(self.classes, i), i, scores[i]) for i in best]
        keys = 'class', 'label', 'score'
        return {'top5': [dict(zip(keys, entry, strict=True)) for entry in named]}

    @staticmethod
    def mask(sample: BaseDataElement) -> np.ndarray:
        """Class index of each pixel, (H, W) uint8."""
        return plain(sample)['mask'].astype(np.uint8)

    def draw(self, image: np.ndarray, sample: BaseDataElement) -> np.ndarray:
        """Draw on a copy, (H, W, 3) uint8 BGR; a small image comes back enlarged."""
        return draw(image, plain(sample), self.meta, score_thr=self.score_thr)


def summarize(description: dict) -> str:
    """Shorten :meth:`Painter.describe` to one line for the console."""
    if 'boxes' in description:
        pairs = zip(description['classes'], description['scores'], strict=True)
        found = [f'{name} {score:.2f}' for name, score in pairs]
        shown = ', '.join(found[:4] + ['...'] * (len(found) > 4))
        return f'{len(found)} boxes' + (f': {shown}' if found else '')
    if 'pixel_shares' in description:
        shares = sorted(description['pixel_shares'].items(), key=lambda item: -item[1])
        return ', '.join(f'{name} {share:.0%}' for name, share in shares[:5])
    return ', '.join(
        f'{entry["class"]} {entry["score"]:.2f}' for entry in description['top5'][:3]
    )
