"""Reading ONNX: a model from a file, and one node with its attributes."""

import os
from dataclasses import dataclass

import onnx

from mnv2_mm.utils.errors import InputError

#: Names of the domain of ONNX's own operators.
STANDARD = ('', 'ai.onnx')
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
                path[-1] = part
            else:
                path.append(part)
        return '.'.join(path)

    def __str__(self) -> str:
        module = f' of the module {self.module}' if self.module else ''
        return f'node {self.name}{module}'

    @classmethod
    def of(cls, proto: onnx.NodeProto, inputs: list[str], number: int) -> 'Node':
        """A node as it stands in a graph.

        Args:
            proto: The node.
            inputs: Names of what it reads, behind aliases.
            number: Its place, for a name where it has none.
        """
        op = proto.op_type
        if proto.domain not in STANDARD:
            op = f'{proto.domain}::{op}'
        return cls(
            op,
            proto.name or f'{proto.op_type}_{number}',
            inputs,
            list(proto.output),
            {a.name: onnx.helper.get_attribute_value(a) for a in proto.attribute},
        )


def load(model: onnx.ModelProto | str | os.PathLike) -> onnx.ModelProto:
    """The model, read if it is a path.

    Raises:
        InputError: no ONNX file, or of an older set of operators.
    """
    if not isinstance(model, onnx.ModelProto):
        model = _read(model)
    for entry in model.opset_import:
        if entry.domain in STANDARD and entry.version < _OPSET:
            raise InputError(
                f'the ONNX graph is of opset {entry.version}; export it with '
                f'opset_version={_OPSET}'
            )
    return model


def _read(model: str | os.PathLike) -> onnx.ModelProto:
    try:
        return onnx.load(os.fspath(model))
    except OSError as error:
        raise InputError(
            f'{os.fspath(model)} cannot be read ({error.strerror}); name an ONNX file'
        ) from error
    except Exception as error:  # protobuf's, whose class differs
        raise InputError(
            f'{os.fspath(model)} is no ONNX file, or damaged; export it again'
        ) from error
