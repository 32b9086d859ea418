"""Compare an exported model with PyTorch on one image: difference and speed."""

import copy
import itertools
import statistics
import timeit
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from mnv2_mm.engine.visualizer import plain
from mnv2_mm.runtime.tensorrt_engine import count_extra, match


class Comparison(NamedTuple):
    """What was measured on one image, in PyTorch (reference) and exported (found).

    Predictions are in the form of ``mnv2_mm.runtime``, the largest difference
    is in words, times are medians in milliseconds.
    """

    reference: dict[str, np.ndarray]
    found: dict[str, np.ndarray]
    difference: str
    reference_ms: float
    found_ms: float


def compare(
    model: nn.Module, exported: nn.Module, data: dict, inputs: Tensor
) -> Comparison:
    """Run both models on one image; ``data, inputs`` are of ``network_input``."""

    def run(network: nn.Module) -> BaseDataElement:
        samples = copy.deepcopy(data['data_samples'])
        with torch.no_grad():
            return network(inputs, samples, mode='predict')[0]

    def milliseconds(network: nn.Module) -> float:
        seconds = timeit.repeat(lambda: run(network), number=1, repeat=5)
        return 1000 * statistics.median(seconds)

    first, second = plain(run(model)), plain(run(exported))
    text = largest_difference([first], [second])
    return Comparison(first, second, text, milliseconds(model), milliseconds(exported))


def largest_difference(first: Sequence[dict], second: Sequence[dict]) -> str:
    """The largest difference of two models' predictions for some images, in words."""
    pairs = [*zip(first, second, strict=True)]
    if 'mask' in first[0]:
        count = sum(int((a['mask'] != b['mask']).sum()) for a, b in pairs)
        return f'{count} of {sum(a["mask"].size for a in first)} pixels'
    if 'probabilities' in first[0]:
        gaps = (np.abs(a['probabilities'] - b['probabilities']).max() for a, b in pairs)
        return f'{max(gaps):.1e} in probability'
    counted, matched, boxes, scores = zip(*itertools.starmap(match, pairs), strict=True)
    text = f'{max(boxes):.1e} px, {max(scores):.1e} in score'
    text += f' ({sum(matched)} of {sum(counted)} boxes over 0.05 matched'
    extra = sum(count for _, count in itertools.starmap(count_extra, pairs))
    return text + f', and {extra} more)' if extra else text + ')'
