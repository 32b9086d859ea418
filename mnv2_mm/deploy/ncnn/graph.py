"""An ONNX graph with every shape known and everything constant computed.

What PyTorch's exporter leaves in a graph of fixed size, and what no runtime
should see: shape arithmetic, constants behind identities, dropout.
"""

import os
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import onnx
from onnx import numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from mnv2_mm.deploy.ncnn.node import STANDARD, Node, load
from mnv2_mm.utils.errors import InputError

_FLOATS = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.DOUBLE,
    onnx.TensorProto.FLOAT16,
)
_WHOLE = (onnx.TensorProto.INT32, onnx.TensorProto.INT64)


class Graph:
    """A graph of fixed size, batch 1.

    Args:
        model: The model, or the path of a file.

    Attributes:
        nodes: Operators that have to run, in order.
        shapes: Of every value that is known, the batch included.
        constants: Values known beforehand.
        inputs: Names of the inputs.
        outputs: Names of the outputs.

    Raises:
        InputError: no ONNX file, a dynamic shape, or a batch that is not 1.
    """

    def __init__(self, model: onnx.ModelProto | str | os.PathLike) -> None:
        model = load(model)
        self._opsets = model.opset_import
        self.constants: dict[str, np.ndarray] = {
            tensor.name: numpy_helper.to_array(tensor)
            for tensor in model.graph.initializer
        }
        self.inputs = [
            value.name
            for value in model.graph.input
            if value.name not in self.constants
        ]
        self.outputs = [value.name for value in model.graph.output]
        self._check_inputs(model)
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.types: dict[str, int] = {}
        for value in model.graph.input:
            self._note(value)
        self._alias: dict[str, str] = {}
        self.nodes = self._needed(list(self._running(model.graph.node)))

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a value, the batch included.

        Raises:
            InputError: it depends on what is put in.
        """
        if name in self.constants:
            return self.constants[name].shape
        if name not in self.shapes:
            raise InputError(
                f'the shape of {name} is not known before the network runs; '
                'ncnn files are made for one size: export the network '
                'without dynamic axes'
            )
        return self.shapes[name]

    def uses(self, name: str) -> int:
        """How often a value is read, as an output of the graph too."""
        read = sum(node.inputs.count(name) for node in self.nodes)
        return read + self.outputs.count(name)

    def _check_inputs(self, model: onnx.ModelProto) -> None:
        for value in model.graph.input:
            if value.name in self.constants:
                continue
            shape = tuple(
                d.dim_value or d.dim_param or '?'
                for d in value.type.tensor_type.shape.dim
            )
            text = '(' + ', '.join(map(str, shape)) + ')'
            if not all(isinstance(d, int) and d > 0 for d in shape):
                raise InputError(
                    f'the input {value.name} has the dynamic shape {text}; '
                    'ncnn files are made for one size: export the network '
                    'without dynamic axes'
                )
            if not shape or shape[0] != 1:
                raise InputError(
                    f'the input {value.name} has the shape {text}; ncnn has '
                    'no batch: export the network with one image'
                )

    def _note(self, value: onnx.ValueInfoProto) -> None:
        tensor = value.type.tensor_type
        self.types[value.name] = tensor.elem_type
        if not tensor.HasField('shape'):
            return
        dims = tensor.shape.dim
        if all(d.HasField('dim_value') and d.dim_value > 0 for d in dims):
            self.shapes[value.name] = tuple(d.dim_value for d in dims)

    def _infer(self, proto: onnx.NodeProto, inputs: list[str]) -> None:
        """Note the shapes of what a node makes, where ONNX knows them.

        Node by node and not for the whole graph, since shapes depend on
        constants that ONNX itself does not compute.
        """
        known = dict.fromkeys(n for n in inputs if n in self.constants)
        graph = onnx.helper.make_graph(
            [self._renamed(proto, inputs)],
            'one_node',
            [
                onnx.helper.make_tensor_value_info(
                    name, self.types.get(name, 1), self.shapes.get(name)
                )
                for name in dict.fromkeys(inputs)
                if name and name not in known
            ],
            [_unknown(name) for name in proto.output if name],
            [numpy_helper.from_array(self.constants[n], n) for n in known],
        )
        try:
            inferred = shape_inference.infer_shapes(
                self._single(graph), strict_mode=True, data_prop=True
            )
        except Exception as error:  # of several kinds, from C++
            raise InputError(
                f'the ONNX graph is not consistent at {proto.op_type} '
                f'{proto.name}: {str(error).strip().splitlines()[-1]}; export '
                'it again'
            ) from error
        for value in inferred.graph.output:
            self._note(value)

    def _renamed(self, proto: onnx.NodeProto, inputs: list[str]) -> onnx.NodeProto:
        """A node that reads values by their names behind aliases."""
        copy = onnx.NodeProto()
        copy.CopyFrom(proto)
        copy.input[:] = inputs
        return copy

    def _single(self, graph: onnx.GraphProto) -> onnx.ModelProto:
        return onnx.helper.make_model(graph, opset_imports=self._opsets)

    def _running(self, protos: Iterable[onnx.NodeProto]) -> Iterator[Node]:
        """Nodes left after folding; fills constants, shapes and aliases."""
        for number, proto in enumerate(protos):
            inputs = [self._alias.get(name, name) for name in proto.input]
            if self._is_same(proto):
                self._pass_on(inputs[0], proto.output[0])
            elif self._folded(proto, inputs):
                continue
            else:
                if proto.domain in STANDARD:
                    self._infer(proto, inputs)
                yield Node.of(proto, inputs, number)

    def _pass_on(self, source: str, target: str) -> None:
        if source in self.constants:
            self.constants[target] = self.constants[source]
        else:
            self._alias[target] = source

    def _is_same(self, proto: onnx.NodeProto) -> bool:
        """Whether the operator hands its input on, as far as ncnn goes."""
        if proto.domain not in STANDARD:
            return False
        if proto.op_type in ('Identity', 'Dropout'):
            return True
        if proto.op_type != 'Cast' or proto.input[0] in self.constants:
            return False
        source, target = self.types.get(proto.input[0]), proto.attribute[0].i
        if source in _FLOATS:
            return target in _FLOATS
        return source in _WHOLE and target in _FLOATS + _WHOLE

    def _folded(self, proto: onnx.NodeProto, inputs: list[str]) -> bool:
        """Compute what does not depend on the network's input."""
        if proto.domain not in STANDARD:
            return False
        known: Mapping[str, np.ndarray] = self.constants
        if proto.op_type == 'Shape' and inputs[0] in self.shapes:
            known = {inputs[0]: np.empty(self.shapes[inputs[0]], np.int8)}
        if not all(name in known for name in inputs if name):
            return False
        graph = onnx.helper.make_graph(
            [self._renamed(proto, inputs)],
            'constant',
            [_unknown(name) for name in dict.fromkeys(inputs) if name],
            [_unknown(name) for name in proto.output if name],
        )
        values = ReferenceEvaluator(self._single(graph)).run(
            None, {name: known[name] for name in inputs if name}
        )
        names = [name for name in proto.output if name]
        self.constants.update(
            (name, np.asarray(value)) for name, value in zip(names, values, strict=True)
        )
        return True

    def _needed(self, nodes: list[Node]) -> list[Node]:
        """Only nodes that an output depends on; outputs get their names.

        An output that is an alias takes its value's place.
        """
        renamed: dict[str, str] = {}
        for name in self.outputs:
            source = self._alias.get(name, name)
            if source in self.inputs or source in self.constants:
                raise InputError(
                    f'the output {name} does not depend on the network; '
                    'export what the network computes'
                )
            if source != name:
                renamed.setdefault(source, name)
                self.shapes[name] = self.shape(source)
        for node in nodes:
            node.inputs = [renamed.get(n, n) for n in node.inputs]
            node.outputs = [renamed.get(n, n) for n in node.outputs]
        wanted, kept = set(self.outputs), []
        for node in reversed(nodes):
            if wanted.intersection(node.outputs):
                wanted.update(node.inputs)
                kept.append(node)
        return kept[::-1]


def _unknown(name: str) -> onnx.ValueInfoProto:
    """A value of any type and shape."""
    value = onnx.ValueInfoProto()
    value.name = name
    return value
