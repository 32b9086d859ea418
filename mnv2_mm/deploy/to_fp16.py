"""A graph with its convolutions in float16, as TensorRT takes it.

Since TensorRT 11 the precision of an engine is that of the ONNX file and
nothing else; before, a file with types says the same. The network up to the
last convolution becomes float16 here, weights and all. Inputs, outputs and
what comes behind (decoding, NMS, softmax) stay float32, with a ``Cast`` at
each border.
"""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mnv2_mm.deploy.quantizable_nodes import trunk, without
from mnv2_mm.utils.errors import InputError

_TYPES = {np.float32: TensorProto.FLOAT, np.float16: TensorProto.FLOAT16}


def to_half(
    model: onnx.ModelProto, *, keep_float: Sequence[str] = ()
) -> onnx.ModelProto:
    """Change the convolutions of a tidied graph to float16.

    Args:
        model: Of :func:`mnv2_mm.deploy.graph.tidy`; it is changed.
        keep_float: Patterns of node names that stay in float32, as
            ``/backbone/conv1/*``.

    Raises:
        InputError: a pattern that names no node, or weights too large for
            float16.
    """
    chosen = set(without(trunk(model), keep_float))
    _Converter(model, chosen).run()
    onnx.checker.check_model(model, full_check=True)
    return model


class _Converter:
    """Rewrites the nodes in their order.

    A tensor ``x`` exists as float32 under its own name and as float16 under
    ``x_half``, each where a node reads it: made by the node itself, by one
    ``Cast``, or, for weights, converted.
    """

    def __init__(self, model: onnx.ModelProto, chosen: set[str]) -> None:
        self.graph = model.graph
        self.chosen = chosen
        (self.opset,) = (
            o.version for o in model.opset_import if o.domain in ('', 'ai.onnx')
        )
        self.weights = {t.name: t for t in self.graph.initializer}
        self.floats = float_tensors(model)
        self.there = {np.float32: set(), np.float16: set()}
        self.there[np.float32] |= {i.name for i in self.graph.input}
        self.there[np.float32] |= self.weights.keys()
        self.nodes: list[onnx.NodeProto] = []

    def run(self) -> None:
        """Replace the nodes and weights of the graph."""
        for node in list(self.graph.node):
            half = self._converted_inputs(node)
            for place, name in enumerate(node.input):
                if name in self.floats:
                    kind = np.float16 if place in half else np.float32
                    node.input[place] = self._as(name, kind)
            self.nodes.append(node)
            for place, name in enumerate(node.output):
                if name in self.floats:
                    kind = np.float16 if half else np.float32
                    node.output[place] = named(name, kind)
                    self.there[kind].add(name)
        for output in self.graph.output:
            if output.name in self.floats:
                self._as(output.name, np.float32)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        del self.graph.value_info[:]  # their types are those of before
        used = {name for node in self.nodes for name in node.input}
        for tensor in list(self.graph.initializer):
            if tensor.name not in used:
                self.graph.initializer.remove(tensor)

    def _converted_inputs(self, node: onnx.NodeProto) -> set[int]:
        """Places of the inputs that become float16; none for most nodes.

        They are those whose type is also the output's: the scales of a
        Resize are float32 in any case.
        """
        if node.name not in self.chosen or node.domain not in ('', 'ai.onnx'):
            return set()
        schema = onnx.defs.get_schema(node.op_type, self.opset)
        ours = schema.outputs[0].type_str
        kinds = {t.type_param_str: t for t in schema.type_constraints}
        fits = ours in kinds and 'tensor(float16)' in (kinds[ours].allowed_type_strs)
        if not fits:
            return set()
        last = len(schema.inputs) - 1
        return {
            place
            for place, name in enumerate(node.input)
            if name in self.floats and schema.inputs[min(place, last)].type_str == ours
        }

    def _as(self, name: str, kind: type) -> str:
        """Name of a tensor in a type, in which it then exists."""
        if name not in self.there[kind]:
            self.there[kind].add(name)
            if name in self.weights:
                self._add_half_weights(self.weights[name])
            else:
                other = np.float32 if kind is np.float16 else np.float16
                self.nodes.append(
                    helper.make_node(
                        'Cast',
                        [named(name, other)],
                        [named(name, kind)],
                        name=f'{named(name, kind)}/Cast',
                        to=_TYPES[kind],
                    )
                )
        return named(name, kind)

    def _add_half_weights(self, tensor: onnx.TensorProto) -> None:
        values = numpy_helper.to_array(tensor)
        with np.errstate(over='ignore'):
            half = values.astype(np.float16)
        if not np.isfinite(half).all():
            raise InputError(
                f'{tensor.name} has {np.abs(values).max():g}, which float16 '
                'does not hold (its largest number is 65504); name the node '
                'in backend_config.keep_float, or build in fp32'
            )
        name = named(tensor.name, np.float16)
        self.graph.initializer.append(numpy_helper.from_array(half, name))


def named(name: str, kind: type) -> str:
    """Name of a tensor in float32 or float16."""
    return f'{name}_half' if kind is np.float16 else name


def float_tensors(model: onnx.ModelProto) -> set[str]:
    """Names of the tensors that are float32."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = (*graph.input, *graph.output, *graph.value_info)
    found = {v.name for v in values if v.type.tensor_type.elem_type == 1}
    return found | {t.name for t in graph.initializer if t.data_type == 1}
