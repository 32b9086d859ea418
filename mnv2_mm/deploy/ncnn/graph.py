"""Read an ONNX graph of fixed size, with everything constant folded by onnxslim.

PyTorch's exporter leaves shape arithmetic, identities and dropout in the
graph. Afterwards the shape of every value is known.
"""

from collections import Counter
from dataclasses import dataclass

import onnx
from onnx import numpy_helper

from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.onnx_folding import fold

_OPSET = 13


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
                path.pop()
            path.append(part)
        return '.'.join(path)

    def __str__(self) -> str:
        module = f' of the module {self.module}' if self.module else ''
        return f'node {self.name}{module}'


class Graph:
    """A graph of fixed size, batch 1.

    Attributes:
        nodes: Operators, in order.
        shapes: Shapes by the name of a value, the batch included.
        constants: Values known at export.
        inputs: Names of the inputs.
        outputs: Names of the outputs.
        uses: Number of reads of a value; being an output is one.

    Raises:
        InputError: a dynamic shape, a batch, an older opset, or bad shapes.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        for entry in model.opset_import:
            if not entry.domain and entry.version < _OPSET:
                raise InputError(
                    f'the ONNX graph is of opset {entry.version}; export it with '
                    f'opset_version={_OPSET}'
                )
        for value in model.graph.input:
            _check_input(value)
        try:
            model = fold(model)
        except Exception as error:  # of several kinds, from C++
            reason = str(error).strip().splitlines()[-1]
            raise InputError(
                f'the ONNX graph is not consistent: {reason}; export it again'
            ) from error
        graph = model.graph
        self.constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        self.inputs = [value.name for value in graph.input]
        self.outputs = [value.name for value in graph.output]
        self.shapes = {name: values.shape for name, values in self.constants.items()}
        for value in (*graph.input, *graph.value_info, *graph.output):
            dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
            if dims and all(dims):
                self.shapes[value.name] = tuple(dims)
        self.nodes = [
            Node(
                f'{proto.domain}::{proto.op_type}' if proto.domain else proto.op_type,
                proto.name or f'{proto.op_type}_{number}',
                list(proto.input),
                list(proto.output),
                {a.name: onnx.helper.get_attribute_value(a) for a in proto.attribute},
            )
            for number, proto in enumerate(graph.node)
        ]
        read = (name for node in self.nodes for name in node.inputs)
        self.uses = Counter([*read, *self.outputs])

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a value, the batch included; raises if it is not constant."""
        if name not in self.shapes:
            raise InputError(
                f'the shape of {name} is not known before the network runs; '
                'export the network without dynamic axes'
            )
        return self.shapes[name]


def _check_input(value: onnx.ValueInfoProto) -> None:
    """Refuse a dynamic shape and a batch other than 1."""
    dims = value.type.tensor_type.shape.dim
    shape = [d.dim_value or d.dim_param or '?' for d in dims]
    text = f'the input {value.name} has the '
    listed = f'({", ".join(map(str, shape))})'
    if not all(isinstance(side, int) for side in shape):
        raise InputError(
            f'{text}dynamic shape {listed}; ncnn files have one input size: '
            'export the network without dynamic axes'
        )
    if shape[:1] != [1]:
        raise InputError(
            f'{text}shape {listed}; ncnn has no batch: export the network with '
            'one image'
        )
