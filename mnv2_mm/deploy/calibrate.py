"""Images for int8 calibration: training images through the test pipeline."""

import copy
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from mmdeploy.codebase.base import BaseTask
from mmdeploy.utils import get_calib_filename
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS
from torch import nn

from mnv2_mm.runtime.read_image import read_image
from mnv2_mm.utils.errors import InputError


def calibration_inputs(processor: BaseTask, model: nn.Module) -> list[np.ndarray]:
    """Network inputs (1, 3, H, W) of images spread over the training set.

    ``backend_config.calibration_images`` is their number, 100 by default.

    Raises:
        InputError: the training set is missing or empty, an image of it cannot be
            read, or the number is none.
    """
    count = processor.deploy_cfg.backend_config.get('calibration_images', 100)
    if not isinstance(count, int) or count < 1:
        raise InputError(
            f'backend_config.calibration_images is {count!r}; give the number of '
            'training images, 1 or more'
        )
    cfg = copy.deepcopy(processor.model_cfg)
    if not cfg.get('train_dataloader'):
        raise InputError(
            'int8 is calibrated with training images, and the model config '
            'has no train_dataloader; add one'
        )
    config = cfg.train_dataloader.dataset
    while 'dataset' in config or 'datasets' in config:
        config = config.get('dataset') or config['datasets'][0]
    config['pipeline'] = [
        step
        for step in cfg.test_pipeline
        if 'Annotations' not in step['type'] and 'Check' not in step['type']
    ]
    try:
        dataset = DATASETS.build(config)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(
            'int8 is calibrated with training images, and the training '
            f'set of the model config is not there: {error}'
        ) from error
    if not len(dataset):
        raise InputError('the training set is empty; int8 needs its images')
    inputs = []
    for index in np.linspace(0, len(dataset) - 1, min(count, len(dataset))):
        try:  # the hosts' loaders would end in an error of their own
            read_image(dataset.get_data_info(round(index))['img_path'])
        except InputError as error:
            raise InputError(
                f'int8 is calibrated with training images: {error}'
            ) from error
        data = pseudo_collate([dataset[round(index)]])
        with torch.no_grad():
            images = model.data_preprocessor(data, False)['inputs']
        inputs.append(images.numpy())
    return inputs


def read_calibration(folder: Path, deploy_cfg: Mapping) -> list[np.ndarray]:
    """Calibration data of mmdeploy's own tools; InputError if there is none."""
    name = get_calib_filename(deploy_cfg)
    path = folder / name if name else None
    if path is None or not path.is_file():
        raise InputError(
            'int8 needs calibration data: use tools/export.py, which takes '
            'training images, or give the deploy config calib_config='
            "dict(create_calib=True, calib_file='calib_data.h5')"
        )
    import h5py

    with h5py.File(path) as file:
        (data,) = file['calib_data'].values()
        keys = sorted(data, key=int)
        return [np.asarray(data[key], np.float32) for key in keys]
