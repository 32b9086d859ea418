"""float16 storage: half the size on disk, the arithmetic stays float32.

ncnn widens such weights when it loads them, unless it is told to compute in
float16 (see :mod:`mnv2_mm.runtime.ncnn_runner`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from mnv2_mm.deploy.ncnn.layer import WEIGHTED, Layer

_LARGEST = float(np.finfo(np.float16).max)


def to_half(layers: Iterable[Layer], keep: Sequence[str] = ()) -> list[Layer]:
    """Round the weights of convolutions and fully connected layers.

    Biases and constants such as default boxes keep their 32 bits, and so
    does a layer with a weight over 65504, which float16 does not have.

    Args:
        layers: With float32 weights.
        keep: Names of layers to leave alone.
    """
    result = []
    for layer in layers:
        if layer.type in WEIGHTED and layer.name not in keep:
            weights = [
                replace(w, values=w.values.astype(np.float16))
                if w.tagged and np.abs(w.values).max(initial=0) <= _LARGEST
                else w
                for w in layer.weights
            ]
            layer = replace(layer, weights=weights)
        result.append(layer)
    return result
