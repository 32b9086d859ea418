"""Small ONNX graphs, built node by node, for the tests of deployment.

The functions below the builder add a node to a builder ``b`` that reads
``x``, and return the name of its output.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class GraphBuilder:
    """A graph of opset 13 with one input; shapes are ONNX's own."""

    def __init__(self, *shape, seed=0):
        self.shapes = {'x': tuple(shape)}
        self.nodes, self.initializers = [], []
        self.random = np.random.default_rng(seed)

    def constant(self, value, dtype=None):
        """Add an initializer; returns its name."""
        name = f'c{len(self.initializers)}'
        value = np.asarray(value, dtype)
        self.initializers.append(numpy_helper.from_array(value, name))
        return name

    def weight(self, *shape):
        """Add random float weights; returns their name."""
        return self.constant(self.random.normal(0, 0.5, shape), np.float32)

    def add(self, operator, *inputs, scope='', domain='', **attributes):
        """Add a node; returns the name of its output."""
        name = f'y{len(self.nodes)}'
        self.nodes.append(
            helper.make_node(
                operator,
                list(inputs),
                [name],
                name=f'{scope}/{operator}_{len(self.nodes)}',
                domain=domain,
                **attributes,
            )
        )
        return name

    def model(self, *outputs, shape=None):
        """The model, with the last node as its output unless others."""
        outputs = outputs or (self.nodes[-1].output[0],)
        graph = helper.make_graph(
            self.nodes,
            'graph',
            [
                helper.make_tensor_value_info(
                    'x', TensorProto.FLOAT, shape or self.shapes['x']
                )
            ],
            [onnx.ValueInfoProto(name=name) for name in outputs],
            self.initializers,
        )
        return helper.make_model(
            graph,
            opset_imports=[
                helper.make_opsetid('', 13),
                helper.make_opsetid('mnv2_mm', 1),
            ],
            ir_version=8,
        )

    def image(self, scale=3):
        """A random input."""
        values = self.random.normal(0, scale, self.shapes['x'])
        return values.astype(np.float32)


def conv(b, x, c_in, c_out, k=(3, 3), bias=True, group=1, **attributes):
    weights = [b.weight(c_out, c_in // group, *k)]
    weights += [b.weight(c_out)] if bias else []
    return b.add('Conv', x, *weights, group=group, **attributes)


def pad(b, x, *amounts, **attributes):
    return b.add('Pad', x, b.constant(amounts, np.int64), **attributes)


def crop(b, x, starts, ends, axes, *steps):
    return b.add(
        'Slice', x, *(b.constant(v, np.int64) for v in (starts, ends, axes, *steps))
    )


def resize(b, x, size, **attributes):
    empty = b.constant([], np.float32)
    sizes = b.constant(size, np.int64)
    return b.add('Resize', x, empty, empty, sizes, **attributes)


def linear(b, x, where, *size):
    return resize(b, x, size, mode='linear', coordinate_transformation_mode=where)


def reshape(b, x, *shape):
    return b.add('Reshape', x, b.constant(shape, np.int64))


def number(b, value):
    return b.constant(value, np.float32)
