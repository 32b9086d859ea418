"""What one forward pass does, operation by operation.

A pass on the meta device is recorded below autograd, where torch's composite
operations are split into those that compute. A symbolic trace (torch.fx) fails
on the hosts' data-dependent code, and hooks miss the operations between layers.

Tensors are identified by their storage: a view or an in-place result is the
tensor that it was made from.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from mnv2_mm.analysis.network import Size, run


@dataclass(frozen=True, kw_only=True)
class Op:
    """One operation of a pass."""

    name: str  # of torch, such as ``convolution`` or ``add``
    layer: str  # path of the innermost module that it ran in
    reads: tuple[int, ...]  # numbers of the activations that it takes
    writes: tuple[int, ...]  # of those that it makes or overwrites
    shape: tuple[int, ...]  # of its first output, such as (B, C, H, W)
    madds: int = 0  # multiply-adds of convolutions and products
    rate: tuple[int, ...] = ()  # of an atrous convolution, per spatial dimension


@dataclass
class Trace:
    """Operations in their order, and the activations between them."""

    ops: list[Op] = field(default_factory=list)
    # number of values in each activation; activation 0 is the image
    values: list[int] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    outputs: tuple[int, ...] = ()  # activations that the pass returns


def trace(model: nn.Module, size: Size) -> Trace:
    """Record one pass of a model that is on the meta device.

    Raises:
        InputError: the model cannot run at this size.
    """
    recorder = _Recorder(model)
    modules = model.named_modules()
    hooks = [hook for named in modules for hook in recorder.follow(*named)]
    try:
        with recorder:
            result = run(model, size)
    finally:
        for hook in hooks:
            hook.remove()
    recorder.trace.outputs = recorder.numbers(result)
    return recorder.trace


class _Recorder(TorchDispatchMode):
    """Fills a :class:`Trace` with what is dispatched."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.trace = Trace()
        self._layers = ['']
        self._alive: list[Tensor] = []  # so that no storage is used twice
        self._numbers: dict[int, int] = {}
        state = (*model.parameters(), *model.buffers())
        self._weights = {t.untyped_storage()._cdata for t in state}

    def follow(self, name: str, module: nn.Module) -> list:
        """Hooks that keep the path of the module that is running."""

        def enter(*_: object) -> None:
            self._layers.append(name)

        def leave(*_: object) -> None:  # a hook's result would be the layer's
            self._layers.pop()

        return [
            module.register_forward_pre_hook(enter),
            module.register_forward_hook(leave),
        ]

    def numbers(self, values: object, *, new: bool = False) -> tuple[int, ...]:
        """Numbers of the activations among some values."""
        found = []
        for leaf in tree_leaves(values):
            if not isinstance(leaf, Tensor):
                continue
            storage = leaf.untyped_storage()
            key = storage._cdata
            if new and key not in self._numbers and key not in self._weights:
                self._alive.append(leaf)
                self._numbers[key] = len(self.trace.values)
                self.trace.values.append(storage.nbytes() // leaf.element_size())
                self.trace.shapes.append(tuple(leaf.shape))
            if key in self._numbers:
                found.append(self._numbers[key])
        return tuple(dict.fromkeys(found))

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: tuple,
        args: tuple = (),
        kwargs: dict | None = None,
    ) -> object:
        kwargs = kwargs or {}
        packet = func._overloadpacket
        # torch finds the shape of these two in Python, half of the time of a trace
        if func is torch.ops.aten.native_batch_norm.default:
            result = (torch.empty_like(args[0]), *args[0].new_empty(2, 0))
        elif torch.Tag.pointwise in func.tags and packet.__name__[-1] == '_':
            result = args[0]
        else:
            result = func(*args, **kwargs)
        first = next((x for x in tree_leaves(result) if isinstance(x, Tensor)), None)
        if first is None:
            return result
        reads = self.numbers((args, kwargs))
        # the others are statistics, empty at inference
        is_norm = packet is torch.ops.aten.native_batch_norm
        made = first if is_norm else result
        # torch's count has no in-place operations
        plain = getattr(torch.ops.aten, packet.__name__.removesuffix('_'), None)
        cost = flop_registry.get(packet) or flop_registry.get(plain)
        self.trace.ops.append(
            Op(
                name=packet.__name__,
                layer=self._layers[-1],
                reads=reads,
                writes=self.numbers(made, new=True),
                shape=tuple(first.shape),
                # torch counts a multiply-add as two operations
                madds=cost(*args, **kwargs, out_val=result) // 2 if cost else 0,
                rate=_rate(func, args),
            )
        )
        return result


def _rate(func: torch._ops.OpOverload, args: tuple) -> tuple[int, ...]:
    """Atrous rate of a convolution; empty where it has no effect."""
    if func is not torch.ops.aten.convolution.default:
        return ()
    _, weight, _, _, _, dilation = args[:6]
    atrous = math.prod(weight.shape[2:]) > 1 and max(dilation) > 1
    return tuple(dilation) if atrous else ()
