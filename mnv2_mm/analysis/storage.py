"""Measured memory of a pass: the storages that torch really holds.

The counterpart of :mod:`mnv2_mm.analysis.memory`, which computes. Every
storage that an operation returns is followed until torch frees it, so the
result has what Python's references add: a caller that still holds the input
of a block, for example. It does not have what a kernel takes and gives back
while it runs.
"""

import weakref

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class StorageTracker(TorchDispatchMode):
    """Follows storages made inside of the ``with`` block.

    Attributes:
        current: Bytes held now.
        peak: Most bytes held at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.current = 0
        self.peak = 0
        self._known: set[int] = set()

    def ignore(self, *tensors: Tensor) -> None:
        """Leave tensors out that were there before, such as weights."""
        self._known |= {t.untyped_storage()._cdata for t in tensors}

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
        if key in self._known:
            return
        self._known.add(key)
        self.current += storage.nbytes()
        self.peak = max(self.peak, self.current)
        weakref.finalize(storage, self._freed, key, storage.nbytes())

    def _freed(self, key: int, nbytes: int) -> None:
        self._known.discard(key)
        self.current -= nbytes


@torch.no_grad()
def measured_peak(model: nn.Module, image: Tensor) -> int:
    """Most bytes of activations that a pass holds, without the image.

    Args:
        model: Any module, in eval mode.
        image: (B, 3, H, W).
    """
    tracker = StorageTracker()
    tracker.ignore(image, *model.parameters(), *model.buffers())
    with tracker:
        model(image)
    return tracker.peak
