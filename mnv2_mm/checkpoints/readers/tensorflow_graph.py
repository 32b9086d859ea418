"""Find the variables of a frozen graph of TensorFlow 1 among its constants.

Freezing turns a variable into a constant of the same name, read through an identity.
Tools that fuse the batch norm (``optimize_for_inference``, the graph transforms,
quantization-aware training) leave scaled weights and a bias with other names. These are
found from the convolution that uses them, and are named by its scope.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

from mnv2_mm.checkpoints.readers.graph_messages import FLOATS
from mnv2_mm.utils.errors import InputError

# messages of graph_messages
NodeDef: TypeAlias = Any
TensorProto: TypeAlias = Any

_VARIABLE = re.compile(
    r'.+/(?:weights|depthwise_weights|pointwise_weights|biases|'
    r'gamma|beta|moving_mean|moving_variance)(?:/ExponentialMovingAverage)?'
)
#: What reading adds to a name, where the identity was folded into the constant.
_READ = re.compile(r'(?:/read|/Read/ReadVariableOp)?(?:/_\d+__cf__\d+)?$')
#: Slim's names of the operations, and the leaf of their weights.
_CONVOLUTIONS = {
    'Conv2D': ('weights', r'(.+)/Conv2D(?:_Fold)?'),
    'DepthwiseConv2dNative': (
        'depthwise_weights',
        r'(.+)/(?:separable_conv2d/)?depthwise(?:_Fold)?',
    ),
}
_ADDITIONS = ('BiasAdd', 'Add', 'AddV2')
#: Operations that pass weights on unchanged, except for rounding.
_PASSING = (
    'Identity',
    'Cast',
    'CheckNumerics',
    'FakeQuantWithMinMaxVars',
    'FakeQuantWithMinMaxVarsPerChannel',
)
_STEPS = 8  # identities in a row


def graph_variables(
    nodes: Iterable[NodeDef], path: Path
) -> tuple[dict[str, TensorProto], dict[str, str]]:
    """Values of the constants that are variables, by variable; the others and why."""
    named = {node.name: node for node in nodes}
    constants = {
        name: node.attr['value'].tensor
        for name, node in named.items()
        if node.op == 'Const'
    }
    floats = {name for name in constants if constants[name].dtype in FLOATS}
    quantized = [name for name in constants if name.endswith('_quantized_const')]
    if quantized:
        raise InputError(
            f'{path} was quantized by the graph transform quantize_weights '
            f'({quantized[0]}); give the graph as it was before'
        )
    found: dict[str, str] = {}  # constant by variable
    for name in constants:
        variable = _READ.sub('', name)
        if not _VARIABLE.fullmatch(variable) or name not in floats:
            continue
        # the variable itself rather than a copy made by reading
        if variable not in found or name == variable:
            found[variable] = name
    found = _fused(named, floats, found) | found
    others = constants.keys() - found.values()
    return {
        variable: constants[name] for variable, name in found.items()
    }, dict.fromkeys(sorted(others), 'constants of the graph that are no weights')


def _source(nodes: dict[str, NodeDef], name: str) -> str:
    """The node before identities and the like."""
    for _ in range(_STEPS):
        name = name.partition(':')[0]
        node = nodes.get(name)
        if node is None or node.op not in _PASSING or not node.input:
            break
        name = node.input[0]
    return name


def _fused(
    nodes: dict[str, NodeDef], floats: set[str], known: dict[str, str]
) -> dict[str, str]:
    """Weights and biases of convolutions whose constants have other names."""
    by_constant = {name: variable for variable, name in known.items()}
    scopes: dict[str, str] = {}  # of convolutions
    found: dict[str, str] = {}
    for node in nodes.values():
        if node.op not in _CONVOLUTIONS or len(node.input) < 2:
            continue
        leaf, pattern = _CONVOLUTIONS[node.op]
        weights = _source(nodes, node.input[1])
        named = by_constant.get(weights, '')
        match = re.fullmatch(pattern, node.name)
        if named.endswith(f'/{leaf}'):
            scopes[node.name] = named.removesuffix(f'/{leaf}')
        elif match and weights in floats:
            scopes[node.name] = match[1]
            found[f'{match[1]}/{leaf}'] = weights
    for node in nodes.values():
        if node.op not in _ADDITIONS or len(node.input) != 2:
            continue
        ends = [_source(nodes, name) for name in node.input]
        for convolution, offset in (ends, ends[::-1]):
            scope = scopes.get(convolution)
            if scope and offset in floats:
                found[f'{scope}/biases'] = offset
    return found
