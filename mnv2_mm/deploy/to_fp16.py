"""Convert the convolutions of an ONNX graph to float16, for TensorRT.

Since TensorRT 11 the types in the ONNX file alone decide the precision of an
engine. Inputs, outputs and what comes after the last convolution stay float32,
with a ``Cast`` at each border. ``onnxruntime.transformers.float16`` writes 67
casts into SSDLite where 13 are needed, several of them under one name, which
makes the file invalid.
"""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mnv2_mm.deploy.graph import quantizable_nodes
from mnv2_mm.utils.errors import InputError

_TYPES = {np.float32: TensorProto.FLOAT, np.float16: TensorProto.FLOAT16}


def to_fp16(
    model: onnx.ModelProto, *, keep_float: Sequence[str] = ()
) -> onnx.ModelProto:
    """Convert the convolutions of a simplified graph to float16.

    Args:
        model: Result of :func:`~mnv2_mm.deploy.graph.simplify`; changed in place.
        keep_float: As in :func:`~mnv2_mm.deploy.graph.quantizable_nodes`.

    Raises:
        InputError: a pattern that matches no node, or weights too large for
            float16.
    """
    _Converter(model, quantizable_nodes(model, keep_float)).run()
    onnx.checker.check_model(model, full_check=True)
    return model


class _Converter:
    """Rewrites the nodes in their order.

    A tensor ``x`` exists as float32 under its own name and as float16 under
    ``x_fp16``, each only if a node reads it: written by the node itself, by
    one ``Cast``, or, for weights, converted.
    """

    def __init__(self, model: onnx.ModelProto, chosen: Sequence[str]) -> None:
        self.graph, self.chosen = model.graph, set(chosen)
        opsets = {opset.domain: opset.version for opset in model.opset_import}
        self.opset = opsets.get('') or opsets['ai.onnx']
        self.weights = {t.name: t for t in self.graph.initializer}
        inferred = onnx.shape_inference.infer_shapes(model).graph
        values = (*inferred.input, *inferred.output, *inferred.value_info)
        #: names of the tensors that are float32
        self.floats = {v.name for v in values if v.type.tensor_type.elem_type == 1}
        self.floats |= {t.name for t in self.graph.initializer if t.data_type == 1}
        inputs = {i.name for i in self.graph.input}
        self.existing = {np.float32: inputs | self.weights.keys(), np.float16: set()}
        self.nodes: list[onnx.NodeProto] = []

    def run(self) -> None:
        """Replace the nodes and weights of the graph."""
        for node in list(self.graph.node):
            converted = self._converted_inputs(node)
            for index, name in enumerate(node.input):
                if name in self.floats:
                    dtype = np.float16 if index in converted else np.float32
                    node.input[index] = self._in_dtype(name, dtype)
            self.nodes.append(node)
            dtype = np.float16 if converted else np.float32
            for index, name in enumerate(node.output):
                if name in self.floats:
                    node.output[index] = _named(name, dtype)
                    self.existing[dtype].add(name)
        for output in self.graph.output:
            if output.name in self.floats:
                self._in_dtype(output.name, np.float32)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        del self.graph.value_info[:]  # it has the types of before
        used = {name for node in self.nodes for name in node.input}
        tensors = [t for t in self.graph.initializer if t.name in used]
        del self.graph.initializer[:]
        self.graph.initializer.extend(tensors)

    def _converted_inputs(self, node: onnx.NodeProto) -> set[int]:
        """Indices of the inputs that become float16; none for most nodes.

        They are those whose type is also the output's: the scales of a
        Resize are always float32.
        """
        if node.name not in self.chosen or node.domain not in ('', 'ai.onnx'):
            return set()
        schema = onnx.defs.get_schema(node.op_type, self.opset)
        variable = schema.outputs[0].type_str
        types = {c.type_param_str: c.allowed_type_strs for c in schema.type_constraints}
        if 'tensor(float16)' not in types.get(variable, ()):
            return set()
        last = len(schema.inputs) - 1
        return {
            index
            for index, name in enumerate(node.input)
            if name in self.floats
            and schema.inputs[min(index, last)].type_str == variable
        }

    def _in_dtype(self, name: str, dtype: type) -> str:
        """Name of a tensor in a dtype; it is created if it does not exist."""
        if name not in self.existing[dtype]:
            self.existing[dtype].add(name)
            if name in self.weights:
                self._add_fp16_weights(self.weights[name])
            else:
                (other,) = _TYPES.keys() - {dtype}
                source, target = _named(name, other), _named(name, dtype)
                cast = dict(name=f'{target}/Cast', to=_TYPES[dtype])
                self.nodes.append(helper.make_node('Cast', [source], [target], **cast))
        return _named(name, dtype)

    def _add_fp16_weights(self, tensor: onnx.TensorProto) -> None:
        values = numpy_helper.to_array(tensor)
        with np.errstate(over='ignore'):
            converted = values.astype(np.float16)
        if not np.isfinite(converted).all():
            raise InputError(
                f'{tensor.name} has {np.abs(values).max():g}, which float16 '
                'does not hold (its largest number is 65504); name the node '
                "in backend_config.keep_float, or use precision='fp32'"
            )
        name = _named(tensor.name, np.float16)
        self.graph.initializer.append(numpy_helper.from_array(converted, name))


def _named(name: str, dtype: type) -> str:
    """Name of a tensor in float32 or float16."""
    return f'{name}_fp16' if dtype is np.float16 else name
