"""Compare an exported model with PyTorch on one image: difference and speed."""

import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from mnv2_mm.runtime.tensorrt_engine import match


@dataclass
class Comparison:
    """What was measured on one image.

    Args:
        reference: PyTorch's prediction, in the form of ``mnv2_mm.runtime``.
        found: The exported model's.
        difference: The largest difference, in words.
        reference_ms: Median time of a PyTorch run, in milliseconds.
        found_ms: Median time of a run of the exported model.
    """

    reference: dict[str, np.ndarray]
    found: dict[str, np.ndarray]
    difference: str
    reference_ms: float
    found_ms: float


def compare(
    model: nn.Module, exported: nn.Module, data: dict, inputs: Tensor
) -> Comparison:
    """Run both models on one prepared image.

    Args:
        model: The PyTorch model.
        exported: The exported model.
        data: As the task processor's ``create_input`` returns it.
        inputs: Network input (1, 3, H, W).
    """

    def run(network: nn.Module) -> BaseDataElement:
        samples = copy.deepcopy(data['data_samples'])
        with torch.no_grad():
            return network(inputs, samples, mode='predict')[0]

    first, second = plain(run(model)), plain(run(exported))
    return Comparison(
        first,
        second,
        difference(first, second),
        _milliseconds(lambda: run(model)),
        _milliseconds(lambda: run(exported)),
    )


def _milliseconds(call: Callable[[], BaseDataElement], times: int = 5) -> float:
    """Median time of a few runs."""
    spent = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        spent.append(1000 * (time.perf_counter() - started))
    return statistics.median(spent)


def plain(sample: BaseDataElement) -> dict[str, np.ndarray]:
    """A host's data sample as the arrays that ``mnv2_mm.runtime`` returns."""
    if 'pred_instances' in sample:
        found = sample.pred_instances.cpu()
        return {
            'boxes': found.bboxes.numpy(),
            'scores': found.scores.numpy(),
            'labels': found.labels.numpy(),
        }
    if 'pred_sem_seg' in sample:
        return {'mask': sample.pred_sem_seg.data[0].cpu().numpy()}
    return {'probabilities': sample.pred_score.cpu().numpy()}


def difference(first: dict, second: dict) -> str:
    """The largest difference of two predictions, in words."""
    if 'mask' in first:
        count = int((first['mask'] != second['mask']).sum())
        return f'{count} of {first["mask"].size} pixels'
    if 'probabilities' in first:
        gap = np.abs(first['probabilities'] - second['probabilities']).max()
        return f'{gap:.1e} in probability'
    counted, matched, box, score = match(first, second)
    text = f'{box:.1e} px, {score:.1e} in score'
    return text + f' ({matched} of {counted} boxes over 0.05 matched)'
