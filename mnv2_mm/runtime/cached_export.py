"""Predict with the cached exports of a model, without torch.

Importing torch and the hosts and building a network takes several seconds, which a
program that has a few photos would spend at every start.
"""

import functools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mnv2_mm.runtime.description import read_info
from mnv2_mm.runtime.model import ExportedModel
from mnv2_mm.runtime.predictor import MakeSample, Predictor
from mnv2_mm.runtime.preprocess import prepare
from mnv2_mm.utils.errors import InputError

Size = tuple[int, int]


class Exports:
    """The exports of one model in a folder of the cache, one for each input size.

    Args:
        folder: Folder of the model; 320x320 in it, for example, is an exported model.
        preprocessing: Of model.json.
    """

    def __init__(self, folder: Path, preprocessing: Mapping) -> None:
        self.folder, self._preprocessing = folder, preprocessing
        self._loaded: dict[Size, ExportedModel] = {}

    def place(self, size: Size) -> Path:
        """Folder for rows and columns of the network input."""
        return self.folder / f'{size[0]}x{size[1]}'

    def places(self) -> set[Path]:
        """Folders of the sizes that have an export."""
        return set(self.folder.glob('*x*'))

    def predict(self, image: np.ndarray) -> tuple[Size | None, dict | None]:
        """Predict for (H, W, 3) uint8 BGR.

        Returns:
            The size of the network input, None if the image does not become one; and
            what the exported model returns, None if there is none of that size.
        """
        try:
            inputs, inside = prepare(image, self._preprocessing)
        except InputError:
            return None, None
        rows, columns = size = inputs.shape[2:]
        exported = self._loaded.get(size) or self._load((rows, columns))
        if exported is None:
            return size, None
        found = exported.network(inputs)
        return size, exported.finish(found, image.shape[:2], inside)

    def _load(self, size: Size) -> ExportedModel | None:
        """None if it is missing or damaged."""
        if not self.place(size).is_dir():
            return None
        try:
            exported = ExportedModel(self.place(size), threads=_threads())
        except (InputError, OSError):
            return None
        self._loaded[size] = exported
        return exported


class CachedExport(Predictor):
    """A model with exports; ``mnv2_mm.load`` returns one where there are some.

    Args:
        exports: What predicts.
        info: Of one of them.
        build: Makes the model that they were exported from, when there is an input of
            another size, or something asks for its network or a data sample.
    """

    def __init__(
        self, exports: Exports, info: Mapping, build: Callable[[], Any]
    ) -> None:
        self._exports, self.info, self._build = exports, info, build

    @functools.cached_property
    def _model(self) -> Any:
        return self._build()

    @property
    def network(self) -> Any:
        """The host's model; the first time it is built, which takes seconds."""
        return self._model.network

    def run(self, images: Sequence[np.ndarray]) -> list[tuple[dict, MakeSample]]:
        """Predict for images one by one, since a graph takes one."""
        return [self._one(image) for image in images]

    def _one(self, image: np.ndarray) -> tuple[dict, MakeSample]:
        _, arrays = self._exports.predict(image)
        if arrays is None:
            return self._model.run([image])[0]
        return arrays, lambda: self._model.run_network([image])[0][1]

    def export_to_cache(self) -> None:
        """Export for a size that had none."""
        if '_model' in vars(self):
            self._model.export_to_cache()


def read_exports(folder: Path, build: Callable[[], Any]) -> CachedExport | None:
    """The exports in a folder of the cache; None if there are none."""
    for place in sorted(Exports(folder, {}).places()):
        try:
            _, info = read_info(place)
        except (InputError, OSError):
            continue
        return CachedExport(Exports(folder, info['preprocessing']), info, build)
    return None


def _threads() -> int:
    """Those of torch, or those that it would use; 0 for the backend's default."""
    if torch := sys.modules.get('torch'):
        return torch.get_num_threads()
    number = os.environ.get('OMP_NUM_THREADS', '')
    return int(number) if number.isdecimal() else 0
