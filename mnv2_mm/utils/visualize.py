"""Draw a prediction on its image, and describe it for a JSON file.

The hosts' visualizers do the drawing. Small images are enlarged first, since a class
name would hide the object.
"""

from collections.abc import Sequence

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
_SHORT_SIDE = 480  # pixels; smaller images are enlarged for drawing
_LONG_SIDE = 1920  # but not beyond this
_TOP = 5  # classes of a classification that are reported


def host_visualizer(
    host: str, metainfo: dict, *, name: str, **settings: float
) -> Visualizer:
    """Build the visualizer of a host; ``name`` is unique in the process."""
    init_default_scope(host)
    visualizer = VISUALIZERS.build(dict(type=_VISUALIZERS[host], name=name, **settings))
    classes = metainfo.get('classes') or ()
    palette = metainfo.get('palette') or ()
    if len(palette) < len(classes):
        palette = default_palette(len(classes))
    visualizer.dataset_meta = {**metainfo, 'palette': palette}
    return visualizer


def enlarged(image: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Resize an image (H, W, 3) BGR to (width, height), as RGB to draw on."""
    canvas = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    return cv2.cvtColor(canvas, cv2.COLOR_BGR2RGB)


def drawn_image(visualizer: Visualizer) -> np.ndarray:
    """What a visualizer has drawn, (H, W, 3) uint8 BGR."""
    drawn = np.ascontiguousarray(visualizer.get_image())
    return cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)


class Painter:
    """Draw and describe the predictions of a model that ``init_model`` returned.

    Boxes below ``score_thr`` are neither drawn nor reported.
    """

    def __init__(self, model: nn.Module, *, score_thr: float = 0.3) -> None:
        self.host = model.cfg.default_scope
        self.classes = tuple(map(str, model.dataset_meta.get('classes') or ()))
        self.score_thr = score_thr
        self.visualizer = host_visualizer(
            self.host, model.dataset_meta, name=f'painter_{id(model)}'
        )

    def name_of(self, label: int) -> str:
        """Class name, or the number where there is none."""
        return self.classes[label] if label < len(self.classes) else f'class {label}'

    def describe(self, sample: BaseDataElement) -> dict:
        """The prediction as plain numbers.

        Returns:
            ``boxes`` as [x1, y1, x2, y2] in pixels with ``labels``, ``scores`` and
            ``classes``, best first; or ``pixel_shares`` (0 to 1) by class; or ``top5``.
        """
        if self.host == 'mmdet':
            found = sample.pred_instances.cpu().numpy()
            order = np.argsort(-found.scores, kind='stable')
            found = found[order[found.scores[order] >= self.score_thr]]
            labels = found.labels.tolist()
            return {
                'boxes': found.bboxes.astype(float).round(1).tolist(),
                'labels': labels,
                'scores': found.scores.astype(float).round(4).tolist(),
                'classes': [self.name_of(label) for label in labels],
            }
        if self.host == 'mmseg':
            mask = self.mask(sample)
            counts = enumerate(np.bincount(mask.ravel()).tolist())
            shares = {self.name_of(i): round(n / mask.size, 4) for i, n in counts if n}
            return {'pixel_shares': shares}
        scores = sample.pred_score.cpu().numpy()
        best = np.argsort(-scores, kind='stable')[:_TOP].tolist()
        scores = scores.astype(float).round(4).tolist()
        return {
            'top5': [
                {'class': self.name_of(i), 'label': i, 'score': scores[i]} for i in best
            ]
        }

    @staticmethod
    def mask(sample: BaseDataElement) -> np.ndarray:
        """Class index of each pixel, (H, W) uint8."""
        return sample.pred_sem_seg.data.squeeze(0).cpu().numpy().astype(np.uint8)

    def draw(self, image: np.ndarray, sample: BaseDataElement) -> np.ndarray:
        """Draw on a copy, (H, W, 3) uint8 BGR; a small image comes back enlarged."""
        short, long = sorted(image.shape[:2])
        factor = max(1.0, min(_SHORT_SIDE / short, _LONG_SIDE / long))
        size = [round(side * factor) for side in image.shape[1::-1]]
        canvas = enlarged(image, size)
        sample = sample.cpu().clone()
        if self.host == 'mmseg':
            mask = cv2.resize(self.mask(sample), size, interpolation=cv2.INTER_NEAREST)
            return cv2.cvtColor(self._paint(canvas, mask), cv2.COLOR_RGB2BGR)
        if self.host == 'mmdet':
            found = sample.pred_instances
            found.bboxes = found.bboxes * factor
            # a line on the outermost pixels would enlarge the image
            found.bboxes[:, 0::2].clamp_(1, size[0] - 2)
            found.bboxes[:, 1::2].clamp_(1, size[1] - 2)
            self.visualizer.add_datasample(
                '', canvas, sample, draw_gt=False, pred_score_thr=self.score_thr
            )
        else:
            self.visualizer.visualize_cls(
                canvas, sample, classes=self.classes or None, draw_gt=False
            )
        return drawn_image(self.visualizer)

    def _paint(self, canvas: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Color the regions; mmseg's own drawing covers a background class too."""
        colors = np.asarray(self.visualizer.dataset_meta['palette'])
        colors = np.uint8(np.resize(colors, (256, 3)))
        labels = [i for i in np.unique(mask) if self.name_of(i) != 'background']
        regions = np.isin(mask, labels)
        blend = cv2.addWeighted(canvas, 0.5, colors[mask], 0.5, 0)
        drawn = np.where(regions[..., None], blend, canvas)
        border = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
        drawn[border > 0] = 255
        font, white = (cv2.FONT_HERSHEY_SIMPLEX, 0.55), (255, 255, 255)
        for row, label in enumerate(labels):
            top, text = 8 + 24 * row, self.name_of(label)
            width = cv2.getTextSize(text, *font, 1)[0][0]
            cv2.rectangle(drawn, (8, top), (42 + width, top + 22), (0, 0, 0), -1)
            color = tuple(map(int, colors[label]))
            cv2.rectangle(drawn, (12, top + 4), (28, top + 18), color, -1)
            cv2.putText(drawn, text, (34, top + 17), *font, white, 1, cv2.LINE_AA)
        return drawn


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


def default_palette(count: int) -> list[tuple[int, int, int]]:
    """Return ``count`` distinct colors (RGB)."""
    hues = np.arange(count, dtype=np.float64) * 0.618034 % 1 * 179
    hsv = np.stack([hues, hues * 0 + 200, hues * 0 + 230], axis=-1)
    rgb = cv2.cvtColor(hsv.astype(np.uint8)[None], cv2.COLOR_HSV2RGB)[0]
    return [tuple(map(int, color)) for color in rgb]
