"""The ncnn network while the rules of :mod:`.rules` add layers to it.

Blobs keep the names of the ONNX values, layers those of the nodes.
"""

from collections.abc import Sequence

import numpy as np

from mnv2_mm.deploy.ncnn.graph import Graph, Node
from mnv2_mm.deploy.ncnn.layer import WEIGHTED, Layer, Value, Weight
from mnv2_mm.utils.errors import InputError

#: Parameters of an activation inside another layer: its kind, its values.
_ACTIVATION, _ACTIVATION_VALUES = 9, 10


def unsupported(node: Node, what: str = '') -> InputError:
    """The error for an operator, or for a use of it that ncnn does not have."""
    operator = f'{node.op} {what}'.strip()
    return InputError(
        f'ncnn files cannot hold the operator {operator} ({node}); replace '
        'it in the network, leave it out of the exported part, or use '
        'another backend'
    )


def shape_params(shape: Sequence[int]) -> dict[int, Value]:
    """Parameters w, h, (d,) c of Input, Reshape and MemoryData."""
    keys = {1: (0,), 2: (1, 0), 3: (2, 1, 0), 4: (2, 11, 1, 0)}
    return dict(zip(keys[len(shape)], shape, strict=True))


class Lowering:
    """The layers so far; rules use its methods."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.layers: list[Layer] = []
        self._makers: dict[str, Layer] = {}
        self._names: set[str] = set()

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a blob in ncnn: without the batch."""
        shape = self.graph.shape(name)
        if not 2 <= len(shape) <= 5 or shape[0] != 1:
            raise InputError(
                f'{name} in the graph has the shape {shape}; ncnn has '
                'tensors of one to four dimensions beside a batch of one'
            )
        return shape[1:]

    def axis(self, node: Node, axis: int, rank: int) -> int:
        """ncnn's number of an ONNX axis; ``rank`` counts the batch."""
        axis %= rank
        if axis == 0:
            raise unsupported(node, 'over the batch')
        return axis - 1

    def constant(self, node: Node, index: int) -> np.ndarray | None:
        """Value of an input that has to be constant; None without one."""
        if index >= len(node.inputs) or not node.inputs[index]:
            return None
        if node.inputs[index] not in self.graph.constants:
            raise unsupported(node, f'whose input {index} is computed')
        return self.graph.constants[node.inputs[index]]

    def sole_maker(self, blob: str) -> Layer | None:
        """The layer that makes a blob, if nothing else reads the blob."""
        return self._makers.get(blob) if self.graph.uses(blob) == 1 else None

    def add(
        self,
        type_: str,
        node: Node,
        inputs: Sequence[str] | None = None,
        output: str = '',
        params: dict[int, Value] | None = None,
        weights: Sequence[Weight] = (),
    ) -> Layer:
        """Add a layer with one output, named after its node.

        Args:
            type_: ncnn's type.
            node: The node that it stands for.
            inputs: Blobs; the node's first input if None.
            output: Blob; the node's first output if empty.
            params: Parameters by their number.
            weights: Arrays for the .bin file.
        """
        inputs = node.inputs[:1] if inputs is None else list(inputs)
        output = output or node.outputs[0]
        name, number = node.name, 1
        while name in self._names:
            number += 1
            name = f'{node.name}_{number}'
        self._names.add(name)
        params = dict(params or {})
        weights = list(weights)
        layer = Layer(type_, name, inputs, [output], params, weights, node.module)
        self.layers.append(layer)
        self._makers[output] = layer
        return layer

    def step(
        self,
        type_: str,
        node: Node,
        inputs: Sequence[str],
        params: dict[int, Value] | None = None,
        weights: Sequence[Weight] = (),
    ) -> str:
        """Add one of several layers of a node; returns its blob."""
        output = f'{node.outputs[0]}_step_{len(self.layers)}'
        self.add(type_, node, inputs, output, params, weights)
        return output

    def memory(self, node: Node, values: np.ndarray) -> str:
        """Add a constant, its shape without a batch; returns its blob."""
        values = np.asarray(values, np.float32)
        params = shape_params(values.shape)
        return self.step('MemoryData', node, [], params, [Weight(values)])

    def remove(self, layer: Layer) -> None:
        """Remove a layer that has been merged into another."""
        self.layers.remove(layer)
        del self._makers[layer.outputs[0]]

    def fuse_activation(self, node: Node, kind: int, values: Sequence[float]) -> bool:
        """Merge an activation into the layer before it, where possible.

        Args:
            node: The activation.
            kind: ncnn's number of it.
            values: Its parameters.
        """
        maker = self.sole_maker(node.inputs[0])
        if maker is None or maker.type not in WEIGHTED or _ACTIVATION in maker.params:
            return False
        maker.params[_ACTIVATION] = kind
        if values:
            maker.params[_ACTIVATION_VALUES] = [float(v) for v in values]
        del self._makers[node.inputs[0]]
        maker.outputs = list(node.outputs)
        self._makers[node.outputs[0]] = maker
        return True
