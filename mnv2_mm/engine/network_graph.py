"""Run a whole network as one graph per input size, for prediction on a processor.

Layer by layer a small network spends much of its time outside of the arithmetic:
weights are repacked on every call, kernels are looked up, each activation is another
pass over the memory. Two runtimes take a traced network instead: ONNX Runtime, and
oneDNN (by TorchScript) for bfloat16 and where ONNX Runtime is not installed.
docs/speed.md has the times.
"""

import logging
import warnings
from collections.abc import Callable
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from mnv2_mm.engine.onnx_export import export
from mnv2_mm.runtime.onnxruntime import OnnxRuntime

#: Images of a size that run layer by layer. A graph takes 1 to 2 s to make, which does
#: not pay for a few images.
EAGER_CALLS = 5
#: Input sizes for which a network has graphs.
MAX_SIZES = 4
#: Largest difference between graph and layers, as a share of the largest value.
TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 0.1}
#: Calls in which TorchScript records the sizes, and then optimizes.
_WARMUP = 3
#: The hosts' models that are features, then a head: its name.
HEADS = {
    'SingleStageDetector': 'bbox_head',
    'EncoderDecoder': 'decode_head',
    'ImageClassifier': 'head',
}

Graph = Callable[[Tensor], list[Tensor]]


def use_graph(network: nn.Module, *, onnx: bool) -> None:
    """Let a model of a host run its features and head as one graph, in place.

    The graphs hold the weights; later changes of them have no effect. Other models than
    a single-stage detector, an encoder with a decoder, and a classifier run as before.

    Args:
        network: On the processor, in eval mode.
        onnx: Whether ONNX Runtime runs it; else oneDNN.
    """
    name = HEADS.get(type(network).__name__)
    if name and (onnx or torch.backends.mkldnn.is_available()):
        head = getattr(network, name)
        head.forward = GraphForward(network, head, onnx=onnx)
        network.extract_feat = _pass_on


def _pass_on(x: Tensor, *_: Any, **__: Any) -> Tensor:
    """The features are inside of the head's graph."""
    return x


class GraphForward:
    """Replace ``forward`` of a head: from the image (B, 3, H, W) to what it returns.

    A size gets its graph after :data:`EAGER_CALLS` images. The graph is compared with
    the layers on another image. These cases run layer by layer: more sizes than
    :data:`MAX_SIZES`, gradients, and networks whose graph fails or computes something
    else (oneDNN refuses depthwise convolutions of a single pixel, for example).

    Args:
        network: A model of a host.
        head: The last part of it.
        onnx: Whether ONNX Runtime runs it; else oneDNN.

    Attributes:
        graphs: By input size; None where it failed.
        failures: Why, by input size.
    """

    def __init__(self, network: nn.Module, head: nn.Module, *, onnx: bool) -> None:
        self.network, self.onnx = network, onnx
        self._features, self._head = network.extract_feat, head.forward
        self.tolerance = max(TOLERANCES[p.dtype] for p in network.parameters())
        self.graphs: dict[torch.Size, Callable | None] = {}
        self.failures: dict[torch.Size, str] = {}
        self.calls: dict[torch.Size, int] = {}

    def eager(self, x: Tensor) -> Any:
        """Run layer by layer."""
        return self._head(self._features(x))

    def __call__(self, x: Tensor) -> Any:
        """Return what the head returns for the features of the image."""
        if _is_recorded():
            return self.eager(x)
        if x.shape not in self.graphs and len(self.graphs) < MAX_SIZES:
            calls = self.calls[x.shape] = self.calls.get(x.shape, 0) + 1
            if calls > EAGER_CALLS:
                self.graphs[x.shape] = self._compared(x)
        graph = self.graphs.get(x.shape)
        return self.eager(x) if graph is None else graph(x)

    def _compared(self, x: Tensor) -> Callable | None:
        """The graph for one size; None if it fails or differs from the layers."""
        flat, other = _Flat(self), x.flip(-1)
        with warnings.catch_warnings():
            # the tracer warns of sizes, which are fixed here, and of its age
            warnings.simplefilter('ignore')
            try:
                right = flat(other)
                graph = _onnx(flat, x) if self.onnx else _onednn(flat, x)
                reason = difference(graph(other), right, self.tolerance)
            except Exception as error:  # of four libraries; the layers still run
                reason = str(error).strip().rpartition('\n')[2]
        if not reason:
            return lambda x: pytree.tree_unflatten(graph(x), flat.structure)
        self.failures[x.shape] = reason
        size = f'{x.shape[-1]}x{x.shape[-2]}'
        text = f'inputs of {size} run layer by layer, since the graph fails: {reason}'
        print_log(text, 'current', logging.WARNING)
        return None

    def __getstate__(self) -> dict:
        """Copies and pickles make their own graphs."""
        return self.__dict__ | {'graphs': {}, 'failures': {}, 'calls': {}}


class _Flat(nn.Module):
    """From one tensor to a flat tuple of tensors."""

    def __init__(self, owner: GraphForward) -> None:
        super().__init__()
        self.network = owner.network  # for the trace to know the weights
        self._run = owner.eager
        self.structure: pytree.TreeSpec | None = None
        self.eval()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        found, self.structure = pytree.tree_flatten(self._run(x))
        if not all(isinstance(value, Tensor) for value in found):
            raise RuntimeError('it returns something other than tensors')
        return tuple(found)


def _onnx(network: nn.Module, x: Tensor) -> Graph:
    """Export a module, and load it into ONNX Runtime."""
    session = OnnxRuntime([export(network, x)], threads=torch.get_num_threads())
    # maps lie channels last, as the hosts' postprocessing reads them
    layouts = {4: torch.channels_last}
    return lambda x: [
        y.contiguous(memory_format=layouts.get(y.ndim, torch.contiguous_format))
        for y in map(torch.from_numpy, session(x.numpy()).values())
    ]


def _onednn(network: nn.Module, x: Tensor) -> Graph:
    """Trace a module; TorchScript gives chains of layers to oneDNN."""
    before = torch.jit.onednn_fusion_enabled()
    torch.jit.enable_onednn_fusion(True)
    try:
        graph = torch.jit.freeze(torch.jit.trace(network, x, check_trace=False))
        for _ in range(_WARMUP):
            graph(x)
    finally:
        torch.jit.enable_onednn_fusion(before)
    return lambda x: list(graph(x))


def _is_recorded() -> bool:
    """Whether autograd, tracing or compilation is active."""
    return (
        torch.is_grad_enabled()
        or torch.jit.is_tracing()
        or torch.compiler.is_compiling()
    )


def difference(found: list[Tensor], right: tuple[Tensor, ...], bound: float) -> str:
    """Say how results differ beyond the bound; '' if they do not."""
    for one, other in zip(found, right, strict=True):
        if one.shape != other.shape:
            return f'its results have the shape {tuple(one.shape)}'
        error = (one.float() - other.float()).abs().max()
        largest = other.float().abs().max()
        if not error <= bound * largest:
            return f'its results differ by {error:.1g} of {largest:.1g}'
    return ''
