"""Models by name: list, configure, build, predict.

    from mnv2_mm.api import init_model, inferencer, list_models, predict
    model = init_model('ssdlite_mnv2_coco', 'epoch_1.pth')
    sample = predict(model, cv2.imread('street.jpg'))

The same four lines serve detection, segmentation and classification. The
hosts' own functions (``inference_detector``, ...) take these models too.
"""

import copy
import os

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import BaseDataElement
from torch import nn

from mnv2_mm.checkpoints.guard import load
from mnv2_mm.engine.fast_inference import make_fast
from mnv2_mm.utils.config import (
    config_meta,
    evaluation_dataset,
    get_config,
    list_models,
)
from mnv2_mm.utils.config_errors import host_of, readable_config_errors
from mnv2_mm.utils.errors import InputError

__all__ = ['get_config', 'inferencer', 'init_model', 'list_models', 'predict']

#: Steps of a test pipeline that read files: the image is given, and there
#: is no reference.
_FILE_STEPS = (
    'LoadImageFromFile',
    'LoadImage',
    'LoadAnnotations',
    'CheckSegMask',
)


def init_model(
    config: str | os.PathLike | Config,
    weights: str | os.PathLike | None = None,
    *,
    device: str = 'cpu',
    fast: bool = False,
    half: bool = False,
) -> nn.Module:
    """Build a model for prediction.

    Args:
        config: Path, name (see :func:`list_models`) or a read config.
        weights: Checkpoint, or ``mnv2_mm://NAME`` of a network of
            configs/official; None leaves the network at its random start.
        device: 'cpu', 'cuda:0', ...
        fast: Fold batch norm, lay tensors out channels last, and on a
            processor run the parts as graphs from the second image of a
            size on and keep the memory of the process: the same results up
            to rounding, for a model that is not trained on.
        half: The same in bfloat16: boxes move by pixels.

    Returns:
        The model in eval mode, with ``cfg`` and ``dataset_meta`` (class
        names, colors) as attributes.

    Raises:
        InputError: there is no such config or device, or the checkpoint
            does not fit.
    """
    cfg = copy.deepcopy(get_config(config))
    init_default_scope(host_of(cfg))
    meta = config_meta(cfg)
    with readable_config_errors(cfg):
        model = revert_sync_batchnorm(MODELS.build(cfg.model))
    if weights is None:
        model.init_weights()
    else:
        # imported here, as it converts with this module
        from mnv2_mm.checkpoints.hub import local_checkpoint

        checkpoint, _ = load(
            model, local_checkpoint(weights), classes=meta.get('classes')
        )
        trained = (checkpoint.get('meta') or {}).get('dataset_meta') or {}
        meta.update({key.lower(): value for key, value in trained.items()})
    model.cfg = model._config = cfg  # mmpretrain looks for the second
    model.dataset_meta = model._dataset_meta = meta
    try:
        model = model.to(torch.device(device))
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f'device {device!r} cannot be used: '
            f'{str(error).partition(chr(10))[0]}; there '
            f'{_devices()}'
        ) from error
    model.eval()
    return make_fast(model, half=half) if fast or half else model


def _devices() -> str:
    count = torch.cuda.device_count()
    return f"are 'cpu' and cuda:0 to cuda:{count - 1}" if count else "is 'cpu'"


def prepare(model: nn.Module, image: np.ndarray) -> dict:
    """Run the config's test pipeline on one image.

    Args:
        model: Of :func:`init_model`.
        image: (H, W, 3) uint8, in the order blue, green, red of OpenCV.

    Returns:
        ``inputs``, (3, H', W') as the network's data preprocessor takes it,
        and ``data_samples``.
    """
    init_default_scope(model.cfg.default_scope)
    if not hasattr(model, '_test_steps'):
        steps = [
            step
            for step in evaluation_dataset(model.cfg)['pipeline']
            if step['type'].rpartition('.')[2] not in _FILE_STEPS
        ]
        model._test_steps = Compose(steps)
    size = image.shape[:2]
    return model._test_steps(
        dict(img=image, img_id=0, img_path='', img_shape=size, ori_shape=size)
    )


def predict(model: nn.Module, image: np.ndarray) -> BaseDataElement:
    """Predict for one image.

    Args:
        model: Of :func:`init_model`.
        image: (H, W, 3) uint8, in the order blue, green, red of OpenCV.

    Returns:
        The host's data sample: ``pred_instances`` (boxes in pixels of the
        image), ``pred_sem_seg`` (H, W) or ``pred_score`` (classes,).
    """
    data = prepare(model, image)
    batch = {key: [value] for key, value in data.items()}
    with torch.no_grad():
        return model.test_step(batch)[0]


def inferencer(
    config: str | os.PathLike | Config,
    weights: str | os.PathLike,
    *,
    device: str = 'cpu',
    **kwargs: object,
) -> object:
    """Build the host's inferencer for a config.

    Args:
        config: Path, name (see :func:`list_models`) or a read config.
        weights: Checkpoint of a training.
        device: 'cpu', 'cuda:0', ...
        **kwargs: Further arguments of the host's class.

    Returns:
        mmdet's DetInferencer, mmseg's MMSegInferencer or mmpretrain's
        ImageClassificationInferencer, with the class names of the
        checkpoint.

    Raises:
        InputError: as :func:`init_model`.
    """
    if weights is None:
        raise InputError('an inferencer needs weights: the path of a .pth')
    # checks everything, and knows the class names
    model = init_model(config, weights, device=device)
    cfg, meta = copy.deepcopy(model.cfg), model.dataset_meta
    if cfg.default_scope == 'mmpretrain':
        from mmpretrain import ImageClassificationInferencer

        return ImageClassificationInferencer(
            model, pretrained=False, device=device, **kwargs
        )
    if cfg.model.get('backbone', {}).get('init_cfg'):
        cfg.model.backbone.init_cfg = None  # the weights replace it
    if cfg.default_scope == 'mmdet':
        from mmdet.apis import DetInferencer

        result = DetInferencer(cfg, os.fspath(weights), device=device, **kwargs)
    else:
        from mmseg.apis import MMSegInferencer

        kwargs.setdefault('classes', meta.get('classes'))
        kwargs.setdefault('palette', meta.get('palette'))
        result = MMSegInferencer(cfg, os.fspath(weights), device=device, **kwargs)
    result.model.dataset_meta = meta
    result.visualizer.dataset_meta = meta
    return result
