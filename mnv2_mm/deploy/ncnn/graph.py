"""Read an ONNX graph of fixed size; fold everything that is constant.

PyTorch's exporter leaves shape arithmetic, identities and dropout in the
graph, which no runtime should see. The shape of every value is known
afterwards.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from mnv2_mm.utils.errors import InputError

#: Names of the domain of ONNX's own operators.
STANDARD = ('', 'ai.onnx')
_OPSET = 13
_FLOATS = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.DOUBLE,
    onnx.TensorProto.FLOAT16,
)
_INTEGERS = (onnx.TensorProto.INT32, onnx.TensorProto.INT64)


@dataclass
class Node:
    """An operator with its attributes as Python values."""

    op: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict

    @property
    def module(self) -> str:
        """Path of the module, from PyTorch's name: ``/a/a.0/conv/Conv``.

        A member of a Sequential or ModuleList repeats its owner's name.
        """
        path: list[str] = []
        for part in self.name.strip('/').split('/')[:-1]:
            if path and part.startswith(f'{path[-1]}.'):
                path[-1] = part
            else:
                path.append(part)
        return '.'.join(path)

    def __str__(self) -> str:
        module = f' of the module {self.module}' if self.module else ''
        return f'node {self.name}{module}'


class Graph:
    """A graph of fixed size, batch 1.

    Args:
        model: The model, or the path of a file.

    Attributes:
        nodes: Operators that depend on the network's input, in order.
        shapes: Shapes by the name of a value, the batch included.
        constants: Values known at export.
        inputs: Names of the inputs.
        outputs: Names of the outputs.

    Raises:
        InputError: no ONNX file, a dynamic shape, or a batch that is not 1.
    """

    def __init__(self, model: onnx.ModelProto | str | os.PathLike) -> None:
        model = _load(model)
        self._opsets = model.opset_import
        self.constants: dict[str, np.ndarray] = {
            tensor.name: numpy_helper.to_array(tensor)
            for tensor in model.graph.initializer
        }
        inputs = [v for v in model.graph.input if v.name not in self.constants]
        self.inputs = [value.name for value in inputs]
        self.outputs = [value.name for value in model.graph.output]
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._types: dict[str, int] = {}
        self._alias: dict[str, str] = {}
        for value in inputs:
            _check_input(value)
            self._note(value)
        self.nodes = self._needed(list(self._running(model.graph.node)))

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a value, the batch included.

        Raises:
            InputError: the shape depends on the input's values.
        """
        if name in self.constants:
            return self.constants[name].shape
        if name not in self.shapes:
            raise InputError(
                f'the shape of {name} is not known before the network runs; '
                'ncnn files have one input size: export the network without '
                'dynamic axes'
            )
        return self.shapes[name]

    def uses(self, name: str) -> int:
        """Number of reads of a value; being an output is one."""
        read = sum(node.inputs.count(name) for node in self.nodes)
        return read + self.outputs.count(name)

    def _note(self, value: onnx.ValueInfoProto) -> None:
        """Remember type and shape of a value."""
        tensor = value.type.tensor_type
        self._types[value.name] = tensor.elem_type
        dims = [d.dim_value for d in tensor.shape.dim]
        if tensor.HasField('shape') and all(d > 0 for d in dims):
            self.shapes[value.name] = tuple(dims)

    def _running(self, protos: Iterable[onnx.NodeProto]) -> Iterator[Node]:
        """Nodes left after folding; fills constants, shapes and aliases."""
        for number, proto in enumerate(protos):
            inputs = [self._alias.get(name, name) for name in proto.input]
            op = proto.op_type
            if proto.domain not in STANDARD:
                op = f'{proto.domain}::{op}'
            elif self._is_same(proto):
                source, target = inputs[0], proto.output[0]
                if source in self.constants:
                    self.constants[target] = self.constants[source]
                else:
                    self._alias[target] = source
                continue
            elif self._folded(proto, inputs):
                continue
            else:
                self._infer(proto, inputs)
            yield Node(
                op,
                proto.name or f'{proto.op_type}_{number}',
                inputs,
                list(proto.output),
                {a.name: onnx.helper.get_attribute_value(a) for a in proto.attribute},
            )

    def _is_same(self, proto: onnx.NodeProto) -> bool:
        """Whether the operator returns its input, as ncnn sees it."""
        if proto.op_type in ('Identity', 'Dropout'):
            return True
        if proto.op_type != 'Cast' or proto.input[0] in self.constants:
            return False
        source, target = self._types.get(proto.input[0]), proto.attribute[0].i
        if source in _FLOATS:
            return target in _FLOATS
        return source in _INTEGERS and target in _FLOATS + _INTEGERS

    def _folded(self, proto: onnx.NodeProto, inputs: list[str]) -> bool:
        """Compute a node that does not depend on the network's input."""
        known: Mapping[str, np.ndarray] = self.constants
        if proto.op_type == 'Shape' and inputs[0] in self.shapes:
            known = {inputs[0]: np.empty(self.shapes[inputs[0]], np.int8)}
        read = [name for name in dict.fromkeys(inputs) if name]
        if not all(name in known for name in read):
            return False
        model = self._one_node(proto, inputs, map(_unknown, read))
        values = ReferenceEvaluator(model).run(None, {n: known[n] for n in read})
        names = [name for name in proto.output if name]
        self.constants.update(zip(names, map(np.asarray, values), strict=True))
        return True

    def _infer(self, proto: onnx.NodeProto, inputs: list[str]) -> None:
        """Note the shapes of a node's outputs.

        Node by node, since shapes depend on constants that ONNX's inference
        of a whole graph does not compute.
        """
        read = [name for name in dict.fromkeys(inputs) if name]
        known = [name for name in read if name in self.constants]
        values = [
            onnx.helper.make_tensor_value_info(
                name, self._types.get(name, 1), self.shapes.get(name)
            )
            for name in read
            if name not in known
        ]
        model = self._one_node(proto, inputs, values, known)
        try:
            inferred = shape_inference.infer_shapes(
                model, strict_mode=True, data_prop=True
            )
        except Exception as error:  # of several kinds, from C++
            raise InputError(
                f'the ONNX graph is not consistent at {proto.op_type} '
                f'{proto.name}: {str(error).strip().splitlines()[-1]}; export '
                'it again'
            ) from error
        for value in inferred.graph.output:
            self._note(value)

    def _one_node(
        self,
        proto: onnx.NodeProto,
        inputs: Iterable[str],
        values: Iterable[onnx.ValueInfoProto],
        constants: Iterable[str] = (),
    ) -> onnx.ModelProto:
        """A model of one node, which reads its inputs by other names."""
        node = onnx.NodeProto()
        node.CopyFrom(proto)
        node.input[:] = inputs
        graph = onnx.helper.make_graph(
            [node],
            'one_node',
            list(values),
            [_unknown(name) for name in proto.output if name],
            [numpy_helper.from_array(self.constants[n], n) for n in constants],
        )
        return onnx.helper.make_model(graph, opset_imports=self._opsets)

    def _needed(self, nodes: list[Node]) -> list[Node]:
        """Keep the nodes that an output depends on.

        The value that an output is an alias of gets the output's name.
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
        wanted, kept = set(self.outputs), []
        for node in reversed(nodes):
            node.inputs = [renamed.get(n, n) for n in node.inputs]
            node.outputs = [renamed.get(n, n) for n in node.outputs]
            if wanted.intersection(node.outputs):
                wanted.update(node.inputs)
                kept.append(node)
        return kept[::-1]


def _load(model: onnx.ModelProto | str | os.PathLike) -> onnx.ModelProto:
    if not isinstance(model, onnx.ModelProto):
        path = os.fspath(model)
        try:
            model = onnx.load(path)
        except OSError as error:
            raise InputError(
                f'{path} cannot be read ({error.strerror}); name an ONNX file'
            ) from error
        except Exception as error:  # protobuf's, whose class differs
            raise InputError(
                f'{path} is no ONNX file, or damaged; export it again'
            ) from error
    for entry in model.opset_import:
        if entry.domain in STANDARD and entry.version < _OPSET:
            raise InputError(
                f'the ONNX graph is of opset {entry.version}; export it with '
                f'opset_version={_OPSET}'
            )
    return model


def _check_input(value: onnx.ValueInfoProto) -> None:
    """Refuse a dynamic shape and a batch other than 1."""
    dims = value.type.tensor_type.shape.dim
    shape = [d.dim_value or d.dim_param or '?' for d in dims]
    text = f'({", ".join(map(str, shape))})'
    if not all(isinstance(side, int) and side > 0 for side in shape):
        raise InputError(
            f'the input {value.name} has the dynamic shape {text}; ncnn files '
            'have one input size: export the network without dynamic axes'
        )
    if not shape or shape[0] != 1:
        raise InputError(
            f'the input {value.name} has the shape {text}; ncnn has no batch: '
            'export the network with one image'
        )


def _unknown(name: str) -> onnx.ValueInfoProto:
    """A value of any type and shape."""
    return onnx.ValueInfoProto(name=name)
