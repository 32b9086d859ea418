"""Draw the data samples of all hosts by ``mnv2_mm.runtime.drawing``.

The hosts' visualizers take the samples of one host, and draw labels over labels.
"""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import master_only
from mmengine.structures import BaseDataElement
from mmengine.visualization import Visualizer

from mnv2_mm.datasets.gt_visualizer import truth
from mnv2_mm.registry import VISUALIZERS
from mnv2_mm.runtime.drawing import beside, draw
from mnv2_mm.runtime.read_image import read_image
from mnv2_mm.utils.files import check_output, write_image


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
        self._names: set[str] = set()  # of the files

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
            numbered = (f'{stem}_{n}' for n in itertools.count(2))
            chosen = itertools.chain([stem], numbered)
            stem = next(name for name in chosen if name not in self._names)
            self._names.add(stem)
            out_file = str(Path(self.out_dir, f'{stem}.jpg'))
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
