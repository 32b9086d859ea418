"""The ncnn network while the rules of :mod:`.rules` add layers to it."""

from collections import Counter
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
        'it in the network, or use another backend'
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
        self._names: Counter[str] = Counter()

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

        ``inputs`` and ``output`` are blobs, by default the node's first ones;
        ``params`` are by their number.
        """
        inputs = node.inputs[:1] if inputs is None else list(inputs)
        output = output or node.outputs[0]
        self._names[node.name] += 1
        number = self._names[node.name]
        name = node.name if number == 1 else f'{node.name}_{number}'
        params, weights = dict(params or {}), list(weights)
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

    def fuse_activation(self, node: Node, kind: int, values: Sequence[float]) -> bool:
        """Merge an activation of ncnn's ``kind`` into the layer before it."""
        source, maker = node.inputs[0], self._makers.get(node.inputs[0])
        if (
            maker is None
            or self.graph.uses[source] > 1
            or maker.type not in WEIGHTED
            or _ACTIVATION in maker.params
        ):
            return False
        maker.params[_ACTIVATION] = kind
        if values:
            maker.params[_ACTIVATION_VALUES] = [float(v) for v in values]
        maker.outputs = list(node.outputs)
        self._makers[node.outputs[0]] = maker
        return True
