"""Memory of activations at inference: equation 2 and section 4.1 of the paper.

The memory of a pass is the largest sum, over its operations, of the tensors
that are alive: inputs and outputs of the operation (equation 2) and what a
later one reads, such as the shortcut of a residual block. Weights and scratch
space of a kernel do not count.

``blocks`` treats some modules as one operation whose inner tensors are
disposable (section 5.1): what remains are the tensors of Table 3.
"""

import itertools
import weakref
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mnv2_mm.analysis.network import Size
from mnv2_mm.analysis.trace import Op, Trace, trace


class Peak(NamedTuple):
    """The operation during which most memory is taken."""

    values: int  # alive during it
    layer: str  # the module that it runs in

    @property
    def bytes(self) -> int:
        """Bytes in float32."""
        return 4 * self.values


def peak_memory(model: nn.Module, size: Size) -> Peak:
    """Peak of the activations of one pass of one image, without the image itself.

    Args:
        model: On the meta device.
        size: (height, width) of the input.

    Raises:
        InputError: the model cannot run at this size.
    """
    record = trace(model, size)
    birth: dict[int, int] = {}
    death: dict[int, int] = {}
    for step, op in enumerate(record.ops):
        for tensor in (*op.reads, *op.writes):
            birth.setdefault(tensor, step)
            death[tensor] = step
    death |= dict.fromkeys(record.outputs, len(record.ops))
    birth.pop(0, None)  # the image
    # added and removed at each step: a pass in parts has 10^5 steps
    change = [0] * (len(record.ops) + 2)
    for tensor, step in birth.items():
        change[step] += record.values[tensor]
        change[death[tensor] + 1] -= record.values[tensor]
    totals = list(itertools.accumulate(change))[: len(record.ops)]
    step = max(range(len(totals)), key=totals.__getitem__)
    return Peak(totals[step], record.ops[step].layer)


class Resolution(NamedTuple):
    """The largest tensor of one resolution, as a row of Table 3."""

    size: Size
    channels: int
    layer: str  # the module that makes it

    @property
    def values(self) -> int:
        """Height times width times channels."""
        return self.size[0] * self.size[1] * self.channels


def largest_by_resolution(
    record: Trace, *, blocks: Mapping[str, str] | None = None
) -> list[Resolution]:
    """The largest tensor of each resolution, finest first.

    Args:
        record: A recorded pass.
        blocks: Modules that are one operation: the name of the block by the
            path of the module. Tensors that do not leave it do not count.
    """
    found: dict[Size, Resolution] = {}
    for tensor, step in _between(record, blocks or {}).items():
        shape = record.shapes[tensor]
        if len(shape) in (2, 4) and record.values[tensor]:
            size = shape[2:] or (1, 1)
            one = Resolution(size, shape[1], record.ops[step].layer)
            found[size] = max(found.get(size, one), one, key=lambda row: row.values)
    return sorted(found.values(), reverse=True)


def transitions(
    record: Trace, blocks: Mapping[str, str]
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Shapes of the first input and of the output of each block."""
    made_by = {
        tensor: _block_of(record.ops[step], blocks)
        for tensor, step in _between(record, blocks).items()
    }
    sources: dict[str, tuple[int, ...]] = {}
    for op in record.ops:
        block = _block_of(op, blocks)
        for tensor in op.reads:
            if block and made_by.get(tensor, block) != block:
                sources.setdefault(block, record.shapes[tensor])
    return [
        (sources[block], record.shapes[tensor])
        for tensor, block in made_by.items()
        if block in sources
    ]


def _between(record: Trace, blocks: Mapping[str, str]) -> dict[int, int]:
    """Tensors but the image that leave the block that makes them; the step of it."""
    inside = [_block_of(op, blocks) for op in record.ops]
    made: dict[int, int] = {}
    leaving = set(record.outputs)
    for step, op in enumerate(record.ops):
        for tensor in op.reads:
            source = inside[made[tensor]] if tensor in made else ''
            if not source or source != inside[step]:
                leaving.add(tensor)
        for tensor in op.writes:
            made.setdefault(tensor, step)
    return {t: step for t, step in made.items() if t and t in leaving}


def _block_of(op: Op, blocks: Mapping[str, str]) -> str:
    """The block that an operation belongs to; '' for none."""
    layer = f'{op.layer}.'
    return next((b for path, b in blocks.items() if layer.startswith(f'{path}.')), '')


class StorageTracker(TorchDispatchMode):
    """Follow the storages that are made inside of the ``with`` block.

    Args:
        ignored: Tensors that were there before, such as weights.

    Attributes:
        current: Bytes held now.
        peak: Most bytes held at once.
    """

    def __init__(self, ignored: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.current = self.peak = 0
        self._known = {tensor.untyped_storage()._cdata for tensor in ignored}

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: tuple,
        args: tuple = (),
        kwargs: dict | None = None,
    ) -> object:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._follow(leaf.untyped_storage())
        return result

    def _follow(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._known:
            self._known.add(key)
            self.current += storage.nbytes()
            self.peak = max(self.peak, self.current)
            weakref.finalize(storage, self._freed, key, storage.nbytes())

    def _freed(self, key: int, nbytes: int) -> None:
        self._known.discard(key)
        self.current -= nbytes


@torch.no_grad()
def measured_peak(model: nn.Module, image: Tensor) -> int:
    """Most bytes of activations that a pass over (B, 3, H, W) really holds.

    Includes what Python's references keep, such as the input of a block that runs.
    """
    with StorageTracker((image, *model.parameters(), *model.buffers())) as tracker:
        model(image)
    return tracker.peak
