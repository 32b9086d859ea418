"""From the operators of an ONNX graph to the layers of an ncnn network.

A rule a operator, in the ``rules_*`` modules: it gets the node and the
network so far, and adds layers. Blobs keep the names of the ONNX values, and
layers those of the nodes.
"""

from collections.abc import Callable, Sequence

import numpy as np

from mnv2_mm.deploy.ncnn.graph import Graph
from mnv2_mm.deploy.ncnn.layer import (
    WEIGHTED,
    Layer,
    Value,
    Weight,
    with_splits,
)
from mnv2_mm.deploy.ncnn.node import Node
from mnv2_mm.utils.errors import InputError

Rule = Callable[['Lowering', Node], None]
#: Rules by the name of the operator, with its domain unless it is ONNX's.
RULES: dict[str, Rule] = {}
#: Numbers of ncnn's activations inside another layer.
_FUSED = 9, 10


def rule(*operators: str) -> Callable[[Rule], Rule]:
    """Register a rule for operators."""

    def add(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(operators, function))
        return function

    return add


def unsupported(node: Node, what: str = '') -> InputError:
    """The error for an operator, or for a way of using it."""
    operator = f'{node.op} {what}'.strip()
    return InputError(
        f'ncnn files cannot hold the operator {operator} ({node}); replace '
        'it in the network, leave it out of the exported part, or use '
        'another backend'
    )


class Lowering:
    """The ncnn network while it is built; rules use its methods."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.layers: list[Layer] = []
        self._makers: dict[str, Layer] = {}
        self._names: set[str] = set()

    # ------------------------------------------------------ what is there
    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a blob as ncnn sees it: without the batch."""
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

    def is_constant(self, name: str) -> bool:
        """Whether a value is known beforehand."""
        return name in self.graph.constants

    def constant(self, node: Node, index: int) -> np.ndarray | None:
        """Value of an input that has to be constant; None without one."""
        if index >= len(node.inputs) or not node.inputs[index]:
            return None
        if not self.is_constant(node.inputs[index]):
            raise unsupported(node, f'whose input {index} is computed')
        return self.graph.constants[node.inputs[index]]

    def sole_maker(self, blob: str) -> Layer | None:
        """The layer that makes a blob, if nothing else reads the blob."""
        maker = self._makers.get(blob)
        return maker if self.graph.uses(blob) == 1 else None

    # ----------------------------------------------------------- what to do
    def add(
        self,
        type_: str,
        node: Node,
        inputs: Sequence[str],
        output: str,
        params: dict[int, Value] | None = None,
        weights: Sequence[Weight] = (),
    ) -> Layer:
        """Add a layer with one output, named after its node."""
        name, number = node.name, 1
        while name in self._names:
            number += 1
            name = f'{node.name}_{number}'
        self._names.add(name)
        layer = Layer(
            type_,
            name,
            list(inputs),
            [output],
            dict(params or {}),
            list(weights),
            node.module,
        )
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
        """Add a layer inside a lowered operator; returns its blob."""
        output = f'{node.outputs[0]}_step_{len(self.layers)}'
        self.add(type_, node, inputs, output, params, weights)
        return output

    def remove(self, layer: Layer) -> None:
        """Take a layer out again; what it did has been merged."""
        self.layers.remove(layer)
        for output in layer.outputs:
            del self._makers[output]

    def memory(self, node: Node, values: np.ndarray) -> str:
        """Add a constant, in the shape without a batch; returns its blob."""
        values = np.asarray(values, np.float32)
        keys = {1: (0,), 2: (1, 0), 3: (2, 1, 0), 4: (2, 11, 1, 0)}
        params = dict(zip(keys[values.ndim], values.shape, strict=True))
        return self.step('MemoryData', node, [], params, [Weight(values)])

    def reshaped(self, node: Node, blob: str, shape: Sequence[int]) -> str:
        """Add a Reshape inside a lowered operator; returns its blob."""
        return self.step('Reshape', node, [blob], reshape_params(shape))

    def fuse_activation(self, node: Node, kind: int, values: Sequence[float]) -> bool:
        """Make an activation part of the layer before it, if there is one.

        Args:
            node: The activation.
            kind: ncnn's number of it.
            values: Its parameters.
        """
        maker = self.sole_maker(node.inputs[0])
        if maker is None or maker.type not in WEIGHTED or 9 in maker.params:
            return False
        key, key_values = _FUSED
        maker.params[key] = kind
        if values:
            maker.params[key_values] = [float(v) for v in values]
        del self._makers[node.inputs[0]]
        maker.outputs = list(node.outputs)
        self._makers[node.outputs[0]] = maker
        return True


def reshape_params(shape: Sequence[int]) -> dict[int, Value]:
    """Parameters of Reshape; ncnn counts the dimensions from the last."""
    keys = {1: (0,), 2: (1, 0), 3: (2, 1, 0), 4: (2, 11, 1, 0)}
    return dict(zip(keys[len(shape)], shape, strict=True))


def lower(graph: Graph) -> list[Layer]:
    """All layers of a graph, the inputs and the copies of blobs included.

    Raises:
        InputError: an operator that has no rule, or is used in a way that
            ncnn's layer does not know; names the node and its module.
    """
    lowering = Lowering(graph)
    for node in graph.nodes:
        if node.op not in RULES:
            raise unsupported(node)
        for name in node.inputs:
            if name and not lowering.is_constant(name):
                lowering.shape(name)
        RULES[node.op](lowering, node)
    inputs = []
    for name in graph.inputs:
        shape = lowering.shape(name)
        inputs.append(Layer('Input', name, [], [name], reshape_params(shape)))
    layers = with_splits([*inputs, *lowering.layers], graph.outputs)
    made = {name for layer in layers for name in layer.outputs}
    for name in graph.outputs:
        if name not in made:
            raise InputError(f'the output {name} repeats another one; export each once')
    return layers
