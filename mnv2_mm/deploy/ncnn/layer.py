"""One layer of an ncnn network, as a line of the .param file and its weights.

ncnn numbers the parameters of a layer; what a number means depends on the
type (ncnn's wiki, "operators"). Its tensors have no batch: an ONNX tensor of
(1, C, H, W) is a blob of c, h, w, and an ONNX axis is one more than ncnn's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

#: Value of a parameter: a number, or several of them.
Value = int | float | Sequence[int] | Sequence[float]
#: Layers whose weights are stored as float16 or int8.
WEIGHTED = ('Convolution', 'ConvolutionDepthWise', 'InnerProduct')


@dataclass
class Weight:
    """One array of the .bin file.

    Args:
        values: float32, float16 or int8, in ncnn's order.
        tagged: Whether ncnn reads a word before it that names the type.
            Without one the values are float32.
    """

    values: np.ndarray
    tagged: bool = False


@dataclass
class Layer:
    """A layer, with the names of the blobs that it reads and makes."""

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

    Args:
        layers: In an order in which every blob is made before it is read.
        kept: Blobs that are asked for from outside; each keeps its name and
            has no reader within the network, so that the order in which they
            are asked for does not matter.

    Returns:
        New layers, with layers of type Split among them.
    """
    uses: dict[str, int] = {}
    for layer in layers:
        for name in layer.inputs:
            uses[name] = uses.get(name, 0) + 1
    copies: dict[str, list[str]] = {}
    result = []
    for layer in layers:
        inputs = [
            copies[name].pop(0) if name in copies else name for name in layer.inputs
        ]
        outputs, splits = [], []
        for name in layer.outputs:
            readers = uses.get(name, 0)
            if readers == 0 or (readers == 1 and name not in kept):
                outputs.append(name)
                continue
            copies[name] = [f'{name}_split_{i}' for i in range(readers)]
            tops = list(copies[name])
            if name in kept:
                source = f'{name}_split'
                tops.append(name)
            else:
                source = name
            outputs.append(source)
            splits.append(Layer('Split', f'split_{name}', [source], tops))
        result.append(
            Layer(
                layer.type,
                layer.name,
                inputs,
                outputs,
                layer.params,
                layer.weights,
                layer.module,
            )
        )
        result.extend(splits)
    return result
