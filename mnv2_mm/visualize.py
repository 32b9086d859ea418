"""Draw a prediction onto its picture, and put it into words for a JSON file.

The hosts' visualizers do the drawing. Small pictures are enlarged before,
else a class name would hide the object.
"""

import cv2
import numpy as np
from mmengine.registry import VISUALIZERS, init_default_scope
from mmengine.structures import BaseDataElement
from mmengine.visualization import Visualizer
from torch import nn

_VISUALIZERS = {
    'mmdet': 'DetLocalVisualizer',
    'mmseg': 'SegLocalVisualizer',
    'mmpretrain': 'UniversalVisualizer',
}
_SHORT_SIDE = 480  # pixels; smaller pictures are enlarged for drawing
_TOP = 5  # classes of a classification that are reported


class Painter:
    """Draws predictions of one model.

    Args:
        model: Of :func:`mnv2_mm.apis.init_model`.
        score_thr: Boxes below this score are neither drawn nor reported.
    """

    def __init__(self, model: nn.Module, *, score_thr: float = 0.3) -> None:
        self.host = model.cfg.default_scope
        self.classes = tuple(map(str, model.dataset_meta.get('classes') or ()))
        self.score_thr = score_thr
        init_default_scope(self.host)
        self.visualizer: Visualizer = VISUALIZERS.build(
            dict(type=_VISUALIZERS[self.host], name=f'painter_{id(model)}')
        )
        meta = dict(model.dataset_meta)
        if not meta.get('palette'):
            meta['palette'] = _palette(len(self.classes))
        self.visualizer.dataset_meta = meta

    def name_of(self, label: int) -> str:
        """Class name, or the number where there is none."""
        known = label < len(self.classes)
        return self.classes[label] if known else f'class {label}'

    def describe(self, sample: BaseDataElement) -> dict:
        """The prediction as plain numbers.

        Returns:
            ``boxes`` as [x1, y1, x2, y2] in pixels with ``labels``,
            ``scores`` and ``classes`` from the best downwards; or
            ``pixel_shares`` (0 to 1) by class; or ``top5``.
        """
        if self.host == 'mmdet':
            found = sample.pred_instances.cpu().numpy()
            order = np.argsort(-found.scores, kind='stable')
            order = order[found.scores[order] >= self.score_thr]
            labels = found.labels[order].tolist()
            return {
                'boxes': np.round(found.bboxes[order], 1).tolist(),
                'labels': labels,
                'scores': np.round(found.scores[order], 4).tolist(),
                'classes': [self.name_of(label) for label in labels],
            }
        if self.host == 'mmseg':
            mask = self.mask(sample)
            counts = np.bincount(mask.ravel())
            return {
                'pixel_shares': {
                    self.name_of(i): round(int(n) / mask.size, 4)
                    for i, n in enumerate(counts)
                    if n
                }
            }
        scores = sample.pred_score.cpu().numpy()
        return {
            'top5': [
                {
                    'class': self.name_of(int(i)),
                    'label': int(i),
                    'score': round(float(scores[i]), 4),
                }
                for i in np.argsort(-scores, kind='stable')[:_TOP]
            ]
        }

    @staticmethod
    def mask(sample: BaseDataElement) -> np.ndarray:
        """Class index of each pixel, (H, W) uint8."""
        data = sample.pred_sem_seg.data.squeeze(0).cpu().numpy()
        return data.astype(np.uint8)

    def draw(self, image: np.ndarray, sample: BaseDataElement) -> np.ndarray:
        """Draw on a copy of the picture, (H, W, 3) uint8 BGR.

        A small picture comes back enlarged.
        """
        factor = max(1.0, _SHORT_SIDE / min(image.shape[:2]))
        size = [round(side * factor) for side in image.shape[1::-1]]
        canvas = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
        canvas = cv2.cvtColor(canvas, cv2.COLOR_BGR2RGB)
        sample = sample.cpu().clone()
        if self.host == 'mmdet':
            boxes = sample.pred_instances
            boxes.bboxes = boxes.bboxes * factor
            self.visualizer.add_datasample(
                '',
                canvas,
                sample,
                draw_gt=False,
                pred_score_thr=self.score_thr,
            )
        elif self.host == 'mmseg':
            mask = cv2.resize(
                self.mask(sample), size, interpolation=cv2.INTER_NEAREST
            )
            data = sample.pred_sem_seg.data.new_tensor(mask[None])
            sample.set_data({'pred_sem_seg': type(sample.pred_sem_seg)()})
            sample.pred_sem_seg.data = data
            self.visualizer.add_datasample(
                '', canvas, sample, draw_gt=False, with_labels=True
            )
        else:
            self.visualizer.visualize_cls(
                canvas, sample, classes=self.classes or None, draw_gt=False
            )
        drawn = np.ascontiguousarray(self.visualizer.get_image())
        return cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)


def summarize(description: dict) -> str:
    """One line about :meth:`Painter.describe`, for the console."""
    if 'boxes' in description:
        pairs = zip(description['classes'], description['scores'], strict=True)
        found = [f'{name} {score:.2f}' for name, score in pairs]
        count = f'{len(found)} box' + ('' if len(found) == 1 else 'es')
        more = ', ...' if len(found) > 4 else ''
        return count + (f': {", ".join(found[:4])}{more}' if found else '')
    if 'pixel_shares' in description:
        shares = sorted(
            description['pixel_shares'].items(), key=lambda item: -item[1]
        )
        return ', '.join(f'{name} {share:.0%}' for name, share in shares[:5])
    return ', '.join(
        f'{entry["class"]} {entry["score"]:.2f}'
        for entry in description['top5'][:3]
    )


def _palette(count: int) -> list[tuple[int, int, int]]:
    """As many distinct colours (RGB) as there are classes."""
    hues = np.arange(count, dtype=np.float64) * 0.618034 % 1 * 179
    hsv = np.stack([hues, hues * 0 + 200, hues * 0 + 230], axis=-1)
    rgb = cv2.cvtColor(hsv.astype(np.uint8)[None], cv2.COLOR_HSV2RGB)[0]
    return [tuple(map(int, colour)) for colour in rgb]
