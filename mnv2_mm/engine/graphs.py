"""Run parts of a network as graphs of oneDNN, to predict on a processor.

Called layer by layer, a small network spends much of its time around the
arithmetic: weights are put in a kernel's order anew at every call, kernels
are looked up, each activation is a pass of its own over the memory. A traced
part hands chains of layers to oneDNN at once, which keeps what it has
prepared, and activates what it writes.

The way there is TorchScript, of which torch says that it is getting old.
torch.compile, which it names instead, was no faster than the layers one by
one for SSDLite in float32 on a processor with AVX-512 (torch 2.13).
"""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

#: Sizes of the input for which a part keeps graphs.
MAX_SIZES = 4
#: By how much a graph may differ from the module, as a share of the largest
#: value.
TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 0.1}
#: Calls in which torch sees the sizes, and then optimizes.
_WARMUP = 3


def can_graph(module: nn.Module) -> bool:
    """Whether oneDNN is there, and the module's weights are for it."""
    weight = next(module.parameters(), None)
    return (
        torch.backends.mkldnn.is_available()
        and hasattr(torch.jit, 'enable_onednn_fusion')
        and weight is not None
        and weight.device.type == 'cpu'
        and weight.dtype in TOLERANCES
    )


class GraphForward:
    """A module's ``forward``, as a graph for each size of the input.

    The second call with a size makes its graph, in a second or so, and
    compares it with the module. The first does not, as many sizes never come
    again. What cannot be a graph runs as before: arguments other than
    tensors and sequences of them, further sizes than :data:`MAX_SIZES`,
    gradients, and modules whose graph fails or gives something else (oneDNN
    refuses depthwise convolutions of a single pixel, for one).

    Args:
        module: In eval mode. Its weights are taken into the graphs, and not
            followed after that.

    Attributes:
        failures: Why there is no graph, by the size.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.plain = module.forward
        self.tolerance = TOLERANCES[next(module.parameters()).dtype]
        self.graphs: dict[tuple, Callable | None] = {}
        self.failures: dict[tuple, str] = {}
        self.seen: set[tuple] = set()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the module gives."""
        tensors = list(_tensors(args))
        if kwargs or any(x is None for x in tensors) or _is_recorded():
            return self.plain(*args, **kwargs)
        key = (
            str(_structure(args)),
            *((x.shape, x.stride(), x.dtype) for x in tensors),
        )
        if key not in self.graphs:
            if key not in self.seen or len(self.graphs) == MAX_SIZES:
                self.seen.add(key)
                return self.plain(*args)
            self.graphs[key] = self._graph(key, args, tensors)
        graph = self.graphs[key]
        return self.plain(*args) if graph is None else graph(*tensors)

    def _graph(self, key: tuple, args: tuple, tensors: list[Tensor]) -> Callable | None:
        """Make a graph of tensors, which gives what the module gives."""
        flat = _Flat(self, args)
        with warnings.catch_warnings():
            # of the trace about sizes, which are fixed here, and of
            # TorchScript about its age
            warnings.simplefilter('ignore')
            try:
                with _onednn_fusion():
                    graph = torch.jit.trace(flat, tensors, check_trace=False)
                    graph = torch.jit.freeze(graph)
                    for _ in range(_WARMUP):
                        graph(*tensors)
                others = [torch.empty_like(x).copy_(x.flip(-1)) for x in tensors]
                found, right = graph(*others), flat(*others)
                reason = _difference(found, right, self.tolerance)
            except RuntimeError as error:
                reason = str(error).strip().rpartition('\n')[2]
        if reason:
            self.failures[key] = reason
            return None
        structure = flat.structure
        return lambda *x: _nested(structure, iter(graph(*x)))

    def __getstate__(self) -> dict:
        """Copies and pickles make their graphs anew."""
        return self.__dict__ | {'graphs': {}, 'failures': {}, 'seen': set()}


@contextlib.contextmanager
def _onednn_fusion() -> Iterator[None]:
    """Let TorchScript hand what it optimizes to oneDNN, in this context."""
    before = torch.jit.onednn_fusion_enabled()
    torch.jit.enable_onednn_fusion(True)
    try:
        yield
    finally:
        torch.jit.enable_onednn_fusion(before)


def _is_recorded() -> bool:
    """Whether somebody follows the layers one by one."""
    return (
        torch.is_grad_enabled()
        or torch.jit.is_tracing()
        or torch.compiler.is_compiling()
    )


class _Flat(nn.Module):
    """A module that takes and gives tensors, one by one.

    Args:
        owner: Whose module it is.
        args: Arguments of the module, whose structure counts.
    """

    def __init__(self, owner: GraphForward, args: tuple) -> None:
        super().__init__()
        self.module = owner.module  # for the trace to know the weights
        self._forward, self._args = owner.plain, _structure(args)
        self.structure: Any = None
        self.eval()

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        out = self._forward(*_nested(self._args, iter(tensors)))
        found = list(_tensors(out))
        if any(x is None for x in found):
            raise RuntimeError('it gives something else than tensors')
        self.structure = _structure(out)
        return tuple(found)


def _tensors(nested: Any) -> Iterator[Tensor | None]:
    """All tensors of a tensor or a sequence; None for anything else."""
    if type(nested) in (list, tuple):
        for part in nested:
            yield from _tensors(part)
    else:
        yield nested if isinstance(nested, Tensor) else None


def _structure(nested: Any) -> Any:
    """A tensor or a sequence of them without the tensors."""
    if type(nested) in (list, tuple):
        return type(nested)(_structure(part) for part in nested)
    return None


def _nested(structure: Any, tensors: Iterator[Tensor]) -> Any:
    """Tensors in a structure."""
    if structure is None:
        return next(tensors)
    return type(structure)(_nested(part, tensors) for part in structure)


def _difference(
    found: tuple[Tensor, ...], right: tuple[Tensor, ...], bound: float
) -> str:
    """What is wrong with results, or ''."""
    for one, other in zip(found, right, strict=True):
        error = (one.float() - other.float()).abs().max()
        largest = other.float().abs().max()
        if not error <= bound * largest:
            return f'its results differ by {error:.1g} of {largest:.1g}'
    return ''
