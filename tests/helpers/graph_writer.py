"""Write frozen graphs of TensorFlow byte by byte, for tests of what reads them."""

import io
import struct
import tarfile

import numpy as np

#: Number of each type in TensorFlow.
KINDS = {'float32': 1, 'float64': 2, 'int32': 3, 'float16': 19}


def varint(value):
    """A number of protobuf, least significant seven bits first."""
    value &= (1 << 64) - 1
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def field(number, value):
    """A field of a message: an integer, or text, bytes and messages by length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(values, *, kind=None, shape=None, stored=None):
    """A TensorProto; ``stored`` are fields in place of the content."""
    values = np.asarray(values)
    kind = kind or KINDS[str(values.dtype)]
    sides = values.shape if shape is None else shape
    found = field(1, kind) + field(2, b''.join(field(2, field(1, s)) for s in sides))
    return found + (field(4, values.tobytes()) if stored is None else stored)


def floats(*values):
    """The field float_val."""
    return field(5, struct.pack(f'<{len(values)}f', *values))


def node(name, op, *inputs, value=None):
    """A NodeDef, with the constant ``value``, a TensorProto."""
    found = field(1, name) + field(2, op) + b''.join(field(3, i) for i in inputs)
    found += field(4, '/device:CPU:0')
    attributes = {'dtype': field(6, 1)}
    if value is not None:
        attributes['value'] = field(8, value)
    for key, attribute in attributes.items():
        found += field(5, field(1, key) + field(2, attribute))
    return field(1, found)


def frozen(variables):
    """A graph of constants that identities read, with a few others."""
    nodes = [node('image_tensor', 'Placeholder')]
    for name, values in variables.items():
        values = np.asarray(values, np.float32)
        nodes.append(node(name, 'Const', value=tensor(values)))
        nodes.append(node(f'{name}/read', 'Identity', name))
    for number in range(30):
        nodes.append(
            node(f'Anchors/Const_{number}', 'Const', value=tensor(np.float32(number)))
        )
    return b''.join(nodes) + field(4, field(1, 24))  # versions


def archive(path, members, *, kind=tarfile.REGTYPE):
    """A .tar.gz of members by name."""
    with tarfile.open(path, 'w:gz', compresslevel=1) as target:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.type = len(content), kind
            if kind != tarfile.REGTYPE:
                info.size, info.linkname = 0, '/etc/passwd'
            target.addfile(info, io.BytesIO(content))
    return path
