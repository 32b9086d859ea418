"""One layer of an ncnn network: a line of the .param file and its weights.

ncnn numbers the parameters of a layer; the meaning of a number depends on
the type (ncnn's wiki, "operators"). Its tensors have no batch: an ONNX tensor
(1, C, H, W) is a blob of c, h, w, and an ONNX axis is one more than ncnn's.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

#: Value of a parameter: one number or several.
Value = int | float | Sequence[int] | Sequence[float]
#: Layers whose weights are stored as float16 or int8.
WEIGHTED = ('Convolution', 'ConvolutionDepthWise', 'InnerProduct')


@dataclass
class Weight:
    """One array of the .bin file, in ncnn's order.

    ``tagged``: a word before it names the type; without one it is float32.
    """

    values: np.ndarray
    tagged: bool = False


@dataclass
class Layer:
    """A layer, with the names of the blobs that it reads and writes."""

    type: str
    name: str
    inputs: list[str]
    outputs: list[str]
    params: dict[int, Value] = field(default_factory=dict)
    weights: list[Weight] = field(default_factory=list)
    #: Path of the module that it was exported from, '' if unknown.
    module: str = ''


def with_splits(layers: Sequence[Layer], kept: Sequence[str]) -> list[Layer]:
    """Give every reader of a blob its own copy, which ncnn requires.

    Each output of the network, in ``kept``, keeps its name and gets no reader
    inside the network, so outputs can be extracted in any order.
    """
    uses = Counter(name for layer in layers for name in layer.inputs)
    copies: dict[str, list[str]] = {}
    result = []
    for layer in layers:
        inputs = [
            copies[name].pop(0) if name in copies else name for name in layer.inputs
        ]
        outputs, splits = [], []
        for name in layer.outputs:
            readers = uses[name]
            if readers == 0 or (readers == 1 and name not in kept):
                outputs.append(name)
                continue
            copies[name] = [f'{name}_split_{i}' for i in range(readers)]
            source = f'{name}_split' if name in kept else name
            tops = copies[name] + [name] * (name in kept)
            outputs.append(source)
            splits.append(Layer('Split', f'split_{name}', [source], tops))
        result.append(replace(layer, inputs=inputs, outputs=outputs))
        result.extend(splits)
    return result
