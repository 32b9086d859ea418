"""Compare an exported model with PyTorch on one image: difference and speed."""

import copy
import statistics
import timeit
from typing import NamedTuple

import numpy as np
import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from mnv2_mm.engine.visualizer import plain
from mnv2_mm.runtime.tensorrt_engine import match


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
    text = difference(first, second)
    return Comparison(first, second, text, milliseconds(model), milliseconds(exported))


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
