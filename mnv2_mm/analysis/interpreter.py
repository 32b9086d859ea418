"""Run a published TFLite file by its interpreter, in place of the network.

The file then goes through the same data set and evaluator as the converted network: its
own accuracy and the agreement of both, image by image. TFLite's interpreter comes with
``ai-edge-litert``; TensorFlow is not needed.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor

from mnv2_mm.engine.predictor import prepare
from mnv2_mm.utils.errors import InputError

#: Scores from which a box, or a class, counts for the agreement.
BOX_SCORE, SURE = 0.2, 0.5
#: Overlap and difference of scores of two boxes that are the same.
_IOU, _SCORE = 0.75, 0.1


def interpreter(path: Path) -> Any:
    """TFLite's interpreter of a file.

    Raises:
        InputError: it is not installed, or the file is none of TFLite.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError as error:
        raise InputError(
            f'{path.name} is run by its interpreter: pip install ai-edge-litert'
        ) from error
    try:
        return Interpreter(
            str(path),
            num_threads=1,
            # the delegate computes in another order than the reference
            experimental_op_resolver_type=(
                OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            ),
        )
    except ValueError as error:
        raise InputError(f'{path} is no TFLite file, which this needs') from error


class InterpretedModel(BaseModel):
    """A host's model whose answers come from a TFLite file.

    Args:
        network: The converted network, whose preprocessing and data samples are used.
        path: The file: a classifier, a segmentor with a map of labels, or a detector
            with boxes or with raw codes and logits.
    """

    def __init__(self, network: BaseModel, path: Path) -> None:
        super().__init__(data_preprocessor=network.data_preprocessor)
        self.network, self.file = network, interpreter(path)
        self.file.allocate_tensors()

    def forward(
        self, inputs: Tensor, data_samples: list[BaseDataElement], mode: str = 'predict'
    ) -> list[BaseDataElement]:
        """Fill the data samples of normalized images (B, 3, H, W)."""
        maps = (
            self.network(inputs, None) if hasattr(self.network, 'bbox_head') else None
        )
        for i, sample in enumerate(data_samples):
            found = self._run(inputs[i])
            if maps is not None:
                self._boxes(found, sample, [[m[i : i + 1] for m in ms] for ms in maps])
            elif hasattr(self.network, 'decode_head'):
                labels = torch.as_tensor(found[0]).long().reshape(inputs.shape[2:])
                classes = self.network.decode_head.num_classes
                scores = torch.nn.functional.one_hot(labels, classes).permute(2, 0, 1)
                self.network.postprocess_result(scores[None].float(), [sample])
            else:
                scores = torch.as_tensor(found[0]).flatten()
                extra = len(scores) - self.network.head.num_classes  # the background
                sample.set_pred_score(scores[extra:])
                sample.set_pred_label(int(scores[extra:].argmax()))
        return data_samples

    def _run(self, image: Tensor) -> list[np.ndarray]:
        """Outputs, without the batch and as floats, for one image (3, H, W)."""
        (details,) = self.file.get_input_details()
        if details['dtype'] == np.uint8:
            scaling = self.data_preprocessor
            image = (image * scaling.std + scaling.mean).round().clip(0, 255)
        image = image.permute(1, 2, 0).numpy().astype(details['dtype'])
        if image.shape != tuple(details['shape'][1:]):
            raise InputError(
                f'the file takes images of {tuple(details["shape"][1:])}, the config '
                f'makes {image.shape}: give the config of the file'
            )
        self.file.set_tensor(details['index'], image[None])
        self.file.invoke()
        outputs = []
        for details in self.file.get_output_details():
            value = self.file.get_tensor(details['index'])[0]
            scale, zero = details['quantization']
            outputs.append((value - np.float32(zero)) * scale if scale else value)
        return outputs

    def _boxes(
        self,
        found: Sequence[np.ndarray],
        sample: BaseDataElement,
        maps: Sequence[Sequence[Tensor]],
    ) -> None:
        """Boxes of a file that decodes them, or of its codes and logits."""
        if len(found) == 2:  # codes (y, x, h, w) and logits, the background first
            codes, logits = map(torch.as_tensor, found)
            values = logits.roll(-1, 1), codes[:, [1, 0, 3, 2]]
            levels = [_like(v, m) for v, m in zip(values, maps, strict=True)]
            (sample.pred_instances,) = self.network.bbox_head.predict_by_feat(
                *levels, batch_img_metas=[sample.metainfo], rescale=True
            )
            return
        boxes, labels, scores, _ = map(torch.as_tensor, found)
        height, width = sample.ori_shape
        boxes = boxes[:, [1, 0, 3, 2]] * boxes.new_tensor([width, height] * 2)
        sample.pred_instances = InstanceData(
            bboxes=boxes, labels=labels.long(), scores=scores
        )


def _like(values: Tensor, maps: Sequence[Tensor]) -> list[Tensor]:
    """Rows (anchors, size) as the maps (1, A_k * size, H_k, W_k) of each level."""
    parts = values.flatten().split([m.numel() for m in maps])
    shapes = [(1, *m.shape[2:], m.shape[1]) for m in maps]
    pairs = zip(parts, shapes, strict=True)
    return [part.reshape(shape).permute(0, 3, 1, 2) for part, shape in pairs]


def agreement(
    network: BaseModel, path: Path, images: Iterable[np.ndarray]
) -> dict[str, float]:
    """Compare a converted network with its file on images without labels.

    Args:
        network: Of :func:`mnv2_mm.init_model`.
        path: The TFLite file.
        images: (H, W, 3) uint8, BGR.

    Returns:
        Shares in percent, and counts.
    """
    theirs = InterpretedModel(network, path).eval()
    rows = []
    for image in images:
        answers = []
        for model in (network, theirs):
            data = prepare(network, image)
            batch = {key: [value] for key, value in data.items()}
            with torch.no_grad():
                answers += model.test_step(batch)
        rows.append(_compare(*answers))
    if not rows:
        raise InputError('there is no image to compare on')
    total = np.sum(rows, axis=0)
    if total.ndim == 2:  # areas of a segmentation
        from mnv2_mm.analysis.accuracy import mean_iou

        intersection, _, _, pixels = total.sum(1)
        shares = {
            'equal pixels': 100 * float(intersection / pixels),
            'mIoU with the file': mean_iou(np.stack(rows))[0],
        }
    elif hasattr(network, 'bbox_head'):
        many, found, own, own_found = total.tolist()
        shares = {
            f'of {many} boxes of the file over {BOX_SCORE}, found': _share(found, many),
            f'of {own} boxes found over {BOX_SCORE}, in the file': _share(
                own_found, own
            ),
        }
    else:
        same, sure, sure_same = total.tolist()
        shares = {
            'same class': 100 * same / len(rows),
            f'same class, of {sure} where the file is over {SURE} sure': _share(
                sure_same, sure
            ),
        }
    return {'images': len(rows), **shares}


def _share(part: int, whole: int) -> float:
    return 100 * part / whole if whole else float('nan')


def _compare(ours: BaseDataElement, theirs: BaseDataElement) -> np.ndarray:
    """Counts for one image."""
    if 'pred_sem_seg' in theirs:
        from mmseg.evaluation import IoUMetric

        maps = [sample.pred_sem_seg.data[0] for sample in (ours, theirs)]
        areas = IoUMetric.intersect_and_union(*maps, len(ours.seg_logits.data), 255)
        return np.stack([area.numpy() for area in areas])
    if 'pred_instances' in theirs:
        pair = ours.pred_instances, theirs.pred_instances
        return np.array([*_matches(*pair[::-1]), *_matches(*pair)])
    same = int(ours.pred_label == theirs.pred_label)
    sure = int(theirs.pred_score.max() > SURE)
    return np.array([same, sure, same * sure])


def _matches(boxes: InstanceData, others: InstanceData) -> tuple[int, int]:
    """How many boxes are over the score, and how many of them the others have."""
    from mmdet.structures.bbox import bbox_overlaps

    boxes = boxes[boxes.scores > BOX_SCORE]
    same = bbox_overlaps(boxes.bboxes, others.bboxes) >= _IOU
    same &= (boxes.scores[:, None] - others.scores).abs() < _SCORE
    same &= boxes.labels[:, None] == others.labels
    return len(boxes), int(same.any(1).sum())
