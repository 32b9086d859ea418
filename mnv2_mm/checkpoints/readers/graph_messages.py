"""Parse a frozen graph of TensorFlow and its constants, by protobuf alone.

Packages with TensorFlow's own message classes (tensorflow, tensorboard) are large. The
few fields that hold weights are declared here, with the numbers of TensorFlow's
``graph.proto``, ``node_def.proto``, ``attr_value.proto`` and ``tensor.proto``; protobuf
skips all others.
"""

from functools import cache
from typing import Any

import numpy as np

from mnv2_mm.utils.compat import required

#: Fields of each message: name, number, type; ``*`` is repeated, capitals a message.
_MESSAGES = {
    'GraphDef': 'node 1 NodeDef*',
    'NodeDef': 'name 1 string, op 2 string, input 3 string*, attr 5 NodeDef.Attr*',
    'AttrValue': 'tensor 8 TensorProto',
    'TensorProto': 'dtype 1 int32, tensor_shape 2 Shape, tensor_content 4 bytes, '
    'float_val 5 float*, double_val 6 double*, half_val 13 int32*',
    'Shape': 'dim 2 Dim*',
    'Dim': 'size 1 int64',
}
#: How constants are stored, by the number of their type: DT_FLOAT, DT_DOUBLE,
#: DT_BFLOAT16 and DT_HALF.
FLOATS = {1: '<f4', 2: '<f8', 14: '<u2', 19: '<f2'}
_BFLOAT16 = 14
_FIELDS = {1: 'float_val', 2: 'double_val', 14: 'half_val', 19: 'half_val'}


@cache
def graph_def() -> Any:
    """The message class of a graph."""
    what = 'reading a frozen graph'
    descriptors = required('google.protobuf.descriptor_pb2', what, package='protobuf')
    from google.protobuf import descriptor_pool, message_factory

    file = descriptors.FileDescriptorProto(name='g', package='g', syntax='proto3')
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        _declare(message, fields)
        if name == 'NodeDef':
            entry = message.nested_type.add(name='Attr')
            entry.options.map_entry = True
            _declare(entry, 'key 1 string, value 2 AttrValue')
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName('g.GraphDef'))


def _declare(message: Any, fields: str) -> None:
    for field in fields.split(', '):
        name, number, kind = field.split()
        added = message.field.add(name=name, number=int(number))
        added.label = 3 if kind.endswith('*') else 1  # repeated, optional
        kind = kind.removesuffix('*')
        if kind[0].isupper():
            added.type, added.type_name = added.TYPE_MESSAGE, f'.g.{kind}'
        else:
            added.type = getattr(added, f'TYPE_{kind.upper()}')


def sides_of(tensor: Any) -> list[int]:
    """Shape of a constant, as the file claims it."""
    return [dim.size for dim in tensor.tensor_shape.dim]


def values_of(tensor: Any) -> np.ndarray:
    """Values of a constant of type :data:`FLOATS`; check its size before.

    TensorFlow stores bytes, or numbers of which the last fills the rest of the shape.
    """
    kind, sides = np.dtype(FLOATS[tensor.dtype]), sides_of(tensor)
    if tensor.tensor_content:
        values = np.frombuffer(tensor.tensor_content, kind)
    else:
        numbers = list(getattr(tensor, _FIELDS[tensor.dtype])) or [0]
        if tensor.dtype in (_BFLOAT16, 19):  # bits as integers
            values = np.array(numbers, '<u2').view(kind)
        else:
            values = np.array(numbers, kind)
        missing = int(np.prod(sides, dtype=object)) - len(values)
        values = np.pad(values, (0, max(missing, 0)), 'edge')
    if tensor.dtype == _BFLOAT16:  # the upper half of a float32
        values = (values.astype('<u4') << 16).view('<f4')
    return values.reshape(sides)
