"""Read an ONNX graph of fixed size; fold everything that is constant.

PyTorch's exporter leaves shape arithmetic, identities and dropout in the
graph, which no runtime should see. The shape of every value is known
afterwards.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from mnv2_mm.utils.errors import InputError

#: Names of the domain of ONNX's own operators.
STANDARD = ('', 'ai.onnx')
_OPSET = 13
_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16)
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
        self.constants: dict[str, np.ndarray] = {
            tensor.name: numpy_helper.to_array(tensor)
            for tensor in model.graph.initializer
        }
        inputs = [v for v in model.graph.input if v.name not in self.constants]
        for value in inputs:
            _check_input(value)
        self.inputs = [value.name for value in inputs]
        self.outputs = [value.name for value in model.graph.output]
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._types: dict[str, int] = {}
        self._infer(model)
        while self._fold(model):
            self._infer(model)
        self.nodes = self._needed(self._nodes(model.graph.node))

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

    def _infer(self, model: onnx.ModelProto) -> None:
        """Note the shapes and types that ONNX infers."""
        try:
            model = shape_inference.infer_shapes(
                model, strict_mode=True, data_prop=True
            )
        except Exception as error:  # of several kinds, from C++
            reason = str(error).strip().splitlines()[-1]
            raise InputError(
                f'the ONNX graph is not consistent: {reason}; export it again'
            ) from error
        graph = model.graph
        for value in (*graph.input, *graph.value_info, *graph.output):
            tensor = value.type.tensor_type
            self._types[value.name] = tensor.elem_type
            dims = [d.dim_value for d in tensor.shape.dim]
            if tensor.HasField('shape') and all(d > 0 for d in dims):
                self.shapes[value.name] = tuple(dims)

    def _fold(self, model: onnx.ModelProto) -> bool:
        """Replace constant nodes by their values; False if there were none."""
        graph = model.graph
        before = set(self.constants)
        kept = [proto for proto in graph.node if not self._folded(proto, model)]
        graph.initializer.extend(
            numpy_helper.from_array(value, name)
            for name, value in self.constants.items()
            if name not in before
        )
        del graph.node[:]
        graph.node.extend(kept)
        return len(self.constants) > len(before)

    def _folded(self, proto: onnx.NodeProto, model: onnx.ModelProto) -> bool:
        """Compute a node that does not depend on the network's input."""
        if proto.domain not in STANDARD:
            return False
        known: Mapping[str, np.ndarray] = self.constants
        read = [name for name in dict.fromkeys(proto.input) if name]
        if proto.op_type == 'Shape' and read[0] in self.shapes:
            known = {read[0]: np.empty(self.shapes[read[0]], np.int8)}
        if not all(name in known for name in read):
            return False
        names = [name for name in proto.output if name]
        inputs, outputs = (
            [onnx.ValueInfoProto(name=name) for name in part] for part in (read, names)
        )
        graph = onnx.helper.make_graph([proto], 'one_node', inputs, outputs)
        one = onnx.helper.make_model(graph, opset_imports=model.opset_import)
        values = ReferenceEvaluator(one).run(None, {n: known[n] for n in read})
        self.constants.update(zip(names, map(np.asarray, values), strict=True))
        return True

    def _nodes(self, protos: Iterable[onnx.NodeProto]) -> list[Node]:
        """The operators that ncnn has to run; identities become aliases."""
        self._alias: dict[str, str] = {}
        nodes = []
        for number, proto in enumerate(protos):
            inputs = [self._alias.get(name, name) for name in proto.input]
            op = proto.op_type
            if proto.domain not in STANDARD:
                op = f'{proto.domain}::{op}'
            elif self._is_same(proto):
                self._alias[proto.output[0]] = inputs[0]
                continue
            name = proto.name or f'{proto.op_type}_{number}'
            attributes = {
                a.name: onnx.helper.get_attribute_value(a) for a in proto.attribute
            }
            nodes.append(Node(op, name, inputs, list(proto.output), attributes))
        return nodes

    def _is_same(self, proto: onnx.NodeProto) -> bool:
        """Whether the operator returns its input, as ncnn sees it."""
        if proto.op_type != 'Cast':
            return proto.op_type in ('Identity', 'Dropout')
        source, target = self._types.get(proto.input[0]), proto.attribute[0].i
        if source in _FLOATS:
            return target in _FLOATS
        return source in _INTEGERS and target in _FLOATS + _INTEGERS

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
    """A copy of the model that may be changed."""
    if isinstance(model, onnx.ModelProto):
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        model = copy
    else:
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
