"""Predict with a network of a host, for arrays in place of files.

The hosts' own functions take other arguments each, and one image at a time.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dataset import Compose
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from mmengine.structures import BaseDataElement

from mnv2_mm.engine.visualizer import plain
from mnv2_mm.runtime.predictor import Predictor
from mnv2_mm.utils.config import evaluation_dataset

#: Steps of a test pipeline that read files: the image is given, and there is no
#: reference.
_FILE_STEPS = ('LoadImageFromFile', 'LoadImage', 'LoadAnnotations', 'CheckSegMask')


class Model(Predictor):
    """A network of PyTorch that predicts for images; ``mnv2_mm.load`` returns one.

    Args:
        network: Of :func:`mnv2_mm.init_model`.
    """

    def __init__(self, network: BaseModel) -> None:
        self.network = network
        self.info = network.dataset_meta

    def run(self, images: Sequence[np.ndarray]) -> list[tuple[dict, Any]]:
        """Predict for images; those whose network inputs have one size at once."""
        inputs = [prepare(self.network, image) for image in images]
        samples: list[BaseDataElement] = []
        for _, group in itertools.groupby(inputs, lambda data: data['inputs'].shape):
            parts = list(group)
            batch = {key: [part[key] for part in parts] for key in parts[0]}
            with torch.no_grad():
                samples += self.network.test_step(batch)
        return [(plain(sample), sample) for sample in samples]


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
