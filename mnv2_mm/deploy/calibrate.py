"""Images to calibrate int8 with: of the training set, prepared as in tests.

The range of an activation is taken from what the network will see, so the
training set goes through the test pipeline, without augmentation.
"""

import copy
from collections.abc import Mapping

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS
from torch import nn

from mnv2_mm.utils.errors import InputError


def training_dataset(cfg: Mapping) -> dict:
    """Config of the training set with the test pipeline, unwrapped.

    Raises:
        InputError: there is no training set in the config.
    """
    loader = cfg.get('train_dataloader')
    if not loader:
        raise InputError(
            'int8 is calibrated with training images, and the model config '
            'has no train_dataloader; give one'
        )
    dataset = copy.deepcopy(loader['dataset'])
    while 'dataset' in dataset or 'datasets' in dataset:
        inner = dataset.get('dataset') or dataset['datasets'][0]
        dataset = inner
    dataset['pipeline'] = [
        step
        for step in copy.deepcopy(cfg['test_pipeline'])
        if 'Annotations' not in step['type'] and 'Check' not in step['type']
    ]
    return dataset


def calibration_inputs(processor: object, model: nn.Module) -> list:
    """Network inputs (1, 3, H, W) of ``calibration_images`` images.

    They are spread evenly over the training set; ``backend_config`` of the
    deploy config says how many, 100 if it does not.

    Raises:
        InputError: the training set is not there.
    """
    options = processor.deploy_cfg.backend_config
    count = int(options.get('calibration_images', 100))
    config = training_dataset(processor.model_cfg)
    try:
        dataset = DATASETS.build(config)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(
            'int8 is calibrated with training images, and the training '
            f'set of the model config is not there: {error}'
        ) from error
    if not len(dataset):
        raise InputError('the training set is empty; int8 needs its images')
    places = np.linspace(0, len(dataset) - 1, min(count, len(dataset)))
    inputs = []
    for place in places.round().astype(int):
        data = pseudo_collate([dataset[int(place)]])
        with torch.no_grad():
            found = model.data_preprocessor(data, False)['inputs']
        inputs.append(found.numpy())
    return inputs
