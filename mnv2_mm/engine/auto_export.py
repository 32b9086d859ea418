"""Export a network for the input sizes that it meets, and predict by the exports."""

from collections import Counter
from pathlib import Path

import numpy as np
from mmengine.model import BaseModel

from mnv2_mm.engine.cached_export import check_origin, export_to_cache
from mnv2_mm.engine.description import describe_model
from mnv2_mm.engine.network_graph import EAGER_CALLS, MAX_SIZES
from mnv2_mm.engine.one_at_a_time import NETWORK_LOCK
from mnv2_mm.runtime.cached_export import Exports, Size


class AutoExport:
    """The exports of a network, of which a size gets its own after a few images.

    An export is compared with what the network predicted for an image. Where it fails,
    the network goes on to predict.

    Args:
        network: Of :func:`mnv2_mm.init_model`.
        folder: Where the exports are cached; None turns them off.

    Attributes:
        failure: Why the last export failed; '' if none did.
    """

    def __init__(self, network: BaseModel, folder: Path | None) -> None:
        self._network, self.failure = network, ''
        self._exports: Exports | None = None
        self._open = folder is not None
        self._images: Counter[Size] = Counter()
        self._tried: set[Size] = set()
        #: by size, an image that the network has predicted, and what it found
        self._examples: dict[Size, tuple[np.ndarray, dict]] = {}
        if folder is None:
            return
        try:
            check_origin(network)
            self._description = describe_model(network, network.cfg)
            self._exports = Exports(folder, self._description['preprocessing'])
        except Exception as error:  # of any model; it still runs
            self.stop(str(error))

    def stop(self, reason: str) -> None:
        """Export nothing more. The exports that are there go on to predict."""
        self._open, self.failure = False, reason
        self._examples.clear()

    def predict(self, image: np.ndarray) -> tuple[Size | None, dict | None]:
        """What :meth:`Exports.predict` returns; may export for the size before."""
        if self._exports is None:
            return None, None
        size, arrays = self._exports.predict(image)
        if size and not arrays:
            self._images[size] += 1
            if self._images[size] > EAGER_CALLS and self._export(size):
                return self._exports.predict(image)
        return size, arrays

    def add_example(self, size: Size | None, image: np.ndarray, arrays: dict) -> None:
        """Keep what the network predicted, if an export of that size needs it."""
        if size is None or self._exports is None or not self._open:
            return
        place = self._exports.place
        known = {place(other) for other in self._tried | {*self._examples}}
        cached = self._exports.places() | {place(size)}
        if place(size) not in known and len(known | cached) <= MAX_SIZES:
            self._examples[size] = image.copy(), arrays

    def export_all(self) -> None:
        """Export for the sizes that have an example."""
        for size in [*self._examples]:
            self._export(size)

    def _export(self, size: Size) -> bool:
        """Export for one size; returns whether that worked."""
        if self._exports is None or size not in self._examples:
            return False
        self._tried.add(size)
        place = self._exports.place(size)
        try:
            image, arrays = self._examples.pop(size)
            with NETWORK_LOCK:
                export_to_cache(self._network, self._description, place, image, arrays)
        except Exception as error:  # of four libraries
            self.failure = str(error).strip().rpartition('\n')[2]
            return False
        return True
