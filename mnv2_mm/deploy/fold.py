"""Compute what is constant in an ONNX graph, and fold zero padding.

The tracing exporter writes sizes and paddings as chains of small nodes, even
where the input has one size. Folded they are numbers, which every converter
reads; a convolution that pads is one kernel.
"""

from collections import Counter
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

#: Larger results are not worth their place in the file.
_LARGEST = 1 << 20


def fold_constants(model: onnx.ModelProto) -> int:
    """Replace nodes by their values where all inputs are known.

    The shape of a tensor counts as known where shape inference finds every
    size; what depends on open axes stays.

    Returns:
        How many nodes were computed.
    """
    graph = model.graph
    shapes = static_shapes(model)
    known = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    opsets = list(model.opset_import)
    kept, computed = [], 0
    for node in graph.node:
        if node.op_type == 'Shape' and node.input[0] in shapes:
            values = [np.array(shapes[node.input[0]], np.int64)]
        elif all(not name or name in known for name in node.input):
            values = _evaluate(node, known, opsets)
        else:
            values = None
        if values is None or sum(v.size for v in values) > _LARGEST:
            kept.append(node)
            continue
        computed += 1
        known.update(zip(node.output, values, strict=True))
    names = {t.name for t in graph.initializer}
    used = {name for node in kept for name in node.input}
    used |= {output.name for output in graph.output}
    for name in sorted(used & known.keys() - names):
        array = np.array(known[name], order='C')
        graph.initializer.append(numpy_helper.from_array(array, name))
    del graph.node[:]
    graph.node.extend(kept)
    drop_unused(graph)
    return computed


def static_shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    """Sizes of the tensors all of whose axes have one."""
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    found = {}
    for value in (*inferred.input, *inferred.value_info):
        tensor = value.type.tensor_type
        sizes = [dim.dim_value for dim in tensor.shape.dim]
        if tensor.HasField('shape') and all(sizes):
            found[value.name] = sizes
    return found


def _evaluate(
    node: onnx.NodeProto,
    known: Mapping[str, np.ndarray],
    opsets: list[onnx.OperatorSetIdProto],
) -> list[np.ndarray] | None:
    """Outputs of a node of known inputs; None for one that is no number."""
    inputs = [name for name in node.input if name]
    if node.op_type in ('RandomNormal', 'RandomUniform', 'If', 'Loop'):
        return None
    values = [
        helper.make_tensor_value_info(
            name,
            helper.np_dtype_to_tensor_dtype(known[name].dtype),
            known[name].shape,
        )
        for name in dict.fromkeys(inputs)
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output]
    graph = helper.make_graph([node], 'node', values, outputs)
    session = ReferenceEvaluator(helper.make_model(graph, opset_imports=opsets))
    found = session.run(None, {name: known[name] for name in inputs})
    return [np.asarray(value) for value in found]


def fold_padding(model: onnx.ModelProto) -> int:
    """Move zero padding of known size into the convolutions behind it.

    Returns:
        How many ``Pad`` nodes are gone.
    """
    graph = model.graph
    known = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    uses = Counter(name for node in graph.node for name in node.input)
    uses.update(output.name for output in graph.output)
    makers = {name: node for node in graph.node for name in node.output}
    gone = []
    for node in graph.node:
        pad = makers.get(node.input[0]) if node.op_type == 'Conv' else None
        if pad is None or pad.op_type != 'Pad' or uses[pad.output[0]] != 1:
            continue
        sizes = _spatial_pads(pad, known)
        if sizes is None:
            continue
        attributes = {a.name: a for a in node.attribute}
        if 'pads' in attributes:
            own = list(attributes['pads'].ints)
            node.attribute.remove(attributes['pads'])
            sizes = [a + b for a, b in zip(own, sizes, strict=True)]
        node.attribute.append(helper.make_attribute('pads', sizes))
        node.input[0] = pad.input[0]
        gone.append(pad)
    for pad in gone:
        graph.node.remove(pad)
    drop_unused(graph)
    return len(gone)


def _spatial_pads(
    pad: onnx.NodeProto, known: Mapping[str, np.ndarray]
) -> list[int] | None:
    """Top, left, bottom, right of a zero ``Pad``, or None for another."""
    mode = [a.s for a in pad.attribute if a.name == 'mode']
    if mode and mode[0] != b'constant':
        return None
    if len(pad.input) > 2 and pad.input[2]:
        value = known.get(pad.input[2])
        if value is None or value.any():
            return None
    sizes = known.get(pad.input[1])
    if sizes is None or len(sizes) != 8 or (sizes < 0).any():
        return None
    if sizes[[0, 1, 4, 5]].any():  # batch and channels
        return None
    return sizes[[2, 3, 6, 7]].tolist()


def drop_unused(graph: onnx.GraphProto) -> None:
    """Remove nodes and initialisers whose outputs nobody reads."""
    while True:
        used = {name for node in graph.node for name in node.input}
        used |= {output.name for output in graph.output}
        idle = [n for n in graph.node if not used & set(n.output)]
        if not idle:
            break
        for node in idle:
            graph.node.remove(node)
    for tensor in [t for t in graph.initializer if t.name not in used]:
        graph.initializer.remove(tensor)
