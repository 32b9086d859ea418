"""Predict with a network of a host, for arrays in place of files.

The hosts' own functions take other arguments each, and one image at a time.
"""

import itertools
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import Compose
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from mmengine.structures import BaseDataElement

from mnv2_mm.engine.description import describe_model
from mnv2_mm.engine.kept_export import check_origin, keep_export
from mnv2_mm.engine.network_graph import EAGER_CALLS, MAX_SIZES
from mnv2_mm.engine.one_at_a_time import NETWORK_LOCK
from mnv2_mm.engine.visualizer import plain
from mnv2_mm.runtime.kept_export import Exports, Size
from mnv2_mm.runtime.predictor import MakeSample, Predictor
from mnv2_mm.utils.config import evaluation_dataset

#: Steps of a test pipeline that read files: the image is given, and there is no
#: reference.
_FILE_STEPS = ('LoadImageFromFile', 'LoadImage', 'LoadAnnotations', 'CheckSegMask')


class Model(Predictor):
    """A network of PyTorch that predicts for images; ``mnv2_mm.load`` returns one.

    After a few images of a size its export is kept, and predicts from then on.

    Args:
        network: Of :func:`mnv2_mm.init_model`.
        folder: Where its exports are kept; None for nowhere.

    Attributes:
        not_kept: Why the last export failed; '' if none did.
    """

    def __init__(self, network: BaseModel, folder: Path | None = None) -> None:
        self._network, self.not_kept = network, ''
        self.info = network.dataset_meta
        self._description: dict = {}
        self._may_keep = True
        self._exports = self._prepare_exports(folder) if folder else None
        self._counts: Counter[Size] = Counter()  # images by size of the network input
        self._tried: set[Size] = set()
        #: by size, an image that the network has predicted, and what it found
        self._predicted: dict[Size, tuple[np.ndarray, dict]] = {}

    def _prepare_exports(self, folder: Path) -> Exports | None:
        try:
            check_origin(self._network)
            self._description = describe_model(self._network, self._network.cfg)
        except Exception as error:  # of any model; it still runs
            self.not_kept = str(error)
            return None
        return Exports(folder, self._description['preprocessing'])

    @property
    def network(self) -> BaseModel:
        """The host's model. It may be changed now, so it is not exported any more."""
        self._predicted.clear()
        self.not_kept, self._may_keep = 'the network was handed out', False
        return self._network

    def run(self, images: Sequence[np.ndarray]) -> list[tuple[dict, MakeSample]]:
        """Predict by the exports for the sizes that have one, else by the network."""
        results: dict[int, tuple[dict, MakeSample]] = {}
        left: dict[int, Size | None] = {}
        for number, image in enumerate(images):
            size, arrays = self._by_export(image)
            if arrays:
                results[number] = arrays, partial(self._sample, image)
            else:
                left[number] = size
        found = self.run_network([images[number] for number in left])
        for (number, size), (arrays, sample) in zip(left.items(), found, strict=True):
            results[number] = arrays, partial(_same, sample)
            if size and self._is_wanted(size):
                self._predicted[size] = images[number].copy(), arrays
        return [results[number] for number in range(len(images))]

    def _is_wanted(self, size: Size) -> bool:
        """Whether an image of a size is needed for an export."""
        if self._exports is None or not self._may_keep:
            return False
        place = self._exports.place
        known = {place(other) for other in self._tried | {*self._predicted}}
        kept = self._exports.places() | {place(size)}
        return place(size) not in known and len(known | kept) <= MAX_SIZES

    def _by_export(self, image: np.ndarray) -> tuple[Size | None, dict | None]:
        if self._exports is None:
            return None, None
        size, arrays = self._exports.predict(image)
        if size and not arrays:
            self._counts[size] += 1
            if self._counts[size] > EAGER_CALLS and self._keep(size):
                return self._exports.predict(image)
        return size, arrays

    def run_network(
        self, images: Sequence[np.ndarray]
    ) -> list[tuple[dict, BaseDataElement]]:
        """Predict by the network; images whose inputs have one size at once."""
        samples: list[BaseDataElement] = []
        with NETWORK_LOCK, torch.no_grad():
            inputs = [prepare(self._network, image) for image in images]
            groups = itertools.groupby(inputs, lambda data: data['inputs'].shape)
            for _, group in groups:
                parts = list(group)
                batch = {key: [part[key] for part in parts] for key in parts[0]}
                samples += self._network.test_step(batch)
        return [(plain(sample), sample) for sample in samples]

    def _sample(self, image: np.ndarray) -> BaseDataElement:
        return self.run_network([image])[0][1]

    def keep(self) -> None:
        """Export for the sizes of the images until now, for the next program.

        Nothing happens where that is not possible; the network still runs.
        """
        for size in [*self._predicted]:
            self._keep(size)

    def _keep(self, size: Size) -> bool:
        """Export for one size; returns whether that worked."""
        if self._exports is None or size not in self._predicted:
            return False
        self._tried.add(size)
        place = self._exports.place(size)
        try:
            image, arrays = self._predicted.pop(size)
            with NETWORK_LOCK:
                keep_export(self._network, self._description, place, image, arrays)
        except Exception as error:  # of four libraries
            self.not_kept = str(error).strip().rpartition('\n')[2]
            return False
        return True


def _same(sample: BaseDataElement) -> BaseDataElement:
    return sample


def prepare(model: BaseModel, image: np.ndarray) -> dict[str, Any]:
    """Run the config's test pipeline on one image.

    Args:
        model: Of :func:`mnv2_mm.init_model`.
        image: (H, W, 3) uint8, in the order blue, green, red of OpenCV.

    Returns:
        ``inputs``, (3, H', W') as the network's data preprocessor takes it, and
        ``data_samples``.
    """
    init_default_scope(model.cfg.default_scope)
    if not hasattr(model, '_test_steps'):
        model._test_steps = Compose(
            step
            for step in evaluation_dataset(model.cfg)['pipeline']
            if step['type'].rpartition('.')[2] not in _FILE_STEPS
        )
    size = image.shape[:2]
    return model._test_steps(
        dict(img=image, img_id=0, img_path='', img_shape=size, ori_shape=size)
    )
