"""Predict with a network of a host, for arrays in place of files.

The hosts' own functions take other arguments each, and one image at a time.
"""

import itertools
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

from mnv2_mm.engine.auto_export import AutoExport
from mnv2_mm.engine.one_at_a_time import NETWORK_LOCK
from mnv2_mm.engine.visualizer import plain
from mnv2_mm.runtime.cached_export import Size
from mnv2_mm.runtime.predictor import MakeSample, Predictor
from mnv2_mm.utils.config import evaluation_dataset

#: Steps of a test pipeline that read files: the image is given, and there is no
#: reference.
_FILE_STEPS = ('LoadImageFromFile', 'LoadImage', 'LoadAnnotations', 'CheckSegMask')


class Model(Predictor):
    """A network of PyTorch that predicts for images; ``mnv2_mm.load`` returns one.

    After a few images of a size it is exported, and the export predicts from then on.

    Args:
        network: Of :func:`mnv2_mm.init_model`.
        folder: Where its exports are cached; None turns them off.
    """

    def __init__(self, network: BaseModel, folder: Path | None = None) -> None:
        self._network, self._exports = network, AutoExport(network, folder)
        self.info = network.dataset_meta

    @property
    def network(self) -> BaseModel:
        """The host's model. It may be changed now, so it is not exported any more."""
        self._exports.stop('the network was handed out')
        return self._network

    @property
    def export_failure(self) -> str:
        """Why the last export failed; '' if none did."""
        return self._exports.failure

    def run(self, images: Sequence[np.ndarray]) -> list[tuple[dict, MakeSample]]:
        """Predict by the exports for the sizes that have one, else by the network."""
        results: dict[int, tuple[dict, MakeSample]] = {}
        left: dict[int, Size | None] = {}
        for number, image in enumerate(images):
            size, arrays = self._exports.predict(image)
            if arrays:
                results[number] = arrays, partial(self._sample, image)
            else:
                left[number] = size
        found = self.run_network([images[number] for number in left])
        for (number, size), (arrays, sample) in zip(left.items(), found, strict=True):
            results[number] = arrays, partial(_same, sample)
            self._exports.add_example(size, images[number], arrays)
        return [results[number] for number in range(len(images))]

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

    def export_to_cache(self) -> None:
        """Export for the sizes of the images until now, for the next program.

        Nothing happens where that is not possible; the network still runs.
        """
        self._exports.export_all()


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
