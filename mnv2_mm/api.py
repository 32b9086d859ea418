"""Build a model by name and predict with it.

    from mnv2_mm.api import init_model, predict
    model = init_model('ssdlite_mnv2_coco', 'epoch_1.pth')
    sample = predict(model, cv2.imread('street.jpg'))

These lines serve detection, segmentation and classification. The hosts' own functions
(``inference_detector``, ...) take the models too. torch and mmengine are imported when
a function runs.
"""

import copy
import os
from typing import TYPE_CHECKING, Any, Literal

from mnv2_mm.utils.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from mmengine.config import Config
    from mmengine.infer import BaseInferencer
    from mmengine.model import BaseModel
    from mmengine.structures import BaseDataElement

__all__ = ['get_config', 'inferencer', 'init_model', 'list_models', 'predict']

#: Steps of a test pipeline that read files: the image is given, and there is no
#: reference.
_FILE_STEPS = ('LoadImageFromFile', 'LoadImage', 'LoadAnnotations', 'CheckSegMask')


def get_config(name_or_path: 'str | os.PathLike | Config') -> 'Config':
    """Read a config by path or name."""
    from mnv2_mm.utils import config

    return config.get_config(name_or_path)


def list_models(pattern: str = '') -> list[str]:
    """Names of the models whose name contains ``pattern``, sorted."""
    from mnv2_mm.utils import config

    return config.list_models(pattern)


def init_model(
    config: 'str | os.PathLike | Config',
    weights: str | os.PathLike | None = None,
    *,
    device: str = 'cpu',
    optimize: bool = False,
    dtype: Literal['float32', 'bfloat16'] = 'float32',
) -> 'BaseModel':
    """Build a model for prediction.

    Args:
        config: Path, name (see :func:`list_models`) or a read config.
        weights: Checkpoint, or ``mnv2_mm://NAME`` of a network of configs/official;
            None leaves the network at its random start.
        device: 'cpu', 'cuda:0', ...
        optimize: Fuse batch norm, lay tensors out channels last, and run the stages as
            oneDNN graphs on a processor: the same results up to rounding. The model
            cannot be trained on afterwards.
        dtype: 'bfloat16' also computes in bfloat16 (and optimizes): boxes move by
            pixels.

    Returns:
        The model in eval mode, with ``cfg`` and ``dataset_meta`` (class names, colors)
        as attributes.

    Raises:
        InputError: there is no such config or device, or the checkpoint does not fit.
    """
    import torch
    from mmengine.model import revert_sync_batchnorm
    from mmengine.registry import MODELS, init_default_scope

    from mnv2_mm.checkpoints.guard import load
    from mnv2_mm.checkpoints.hub import local_checkpoint
    from mnv2_mm.checkpoints.loading import safe_loading
    from mnv2_mm.engine.optimized_inference import optimize_for_inference
    from mnv2_mm.utils.config import config_meta
    from mnv2_mm.utils.config_errors import host_of, readable_config_errors

    cfg = copy.deepcopy(get_config(config))
    init_default_scope(host_of(cfg))
    meta = config_meta(cfg)
    with readable_config_errors(cfg), safe_loading():
        model = revert_sync_batchnorm(MODELS.build(cfg.model))
        if weights is None:
            model.init_weights()
    if weights is not None:
        path = local_checkpoint(weights)
        checkpoint, _ = load(model, path, classes=meta.get('classes'))
        trained = (checkpoint.get('meta') or {}).get('dataset_meta') or {}
        meta.update({key.lower(): value for key, value in trained.items()})
    model.cfg = model._config = cfg  # mmpretrain looks for the second
    model.dataset_meta = model._dataset_meta = meta
    try:
        model = model.to(torch.device(device))
    except (RuntimeError, AssertionError) as error:
        reason, count = str(error).partition('\n')[0], torch.cuda.device_count()
        there = f"are 'cpu' and cuda:0 to cuda:{count - 1}" if count else "is 'cpu'"
        raise InputError(
            f'device {device!r} cannot be used: {reason}; there {there}'
        ) from error
    model.eval()
    if optimize or dtype != 'float32':
        optimize_for_inference(model, dtype)
    return model


def prepare(model: 'BaseModel', image: 'np.ndarray') -> dict[str, Any]:
    """Run the config's test pipeline on one image.

    Args:
        model: Of :func:`init_model`.
        image: (H, W, 3) uint8, in the order blue, green, red of OpenCV.

    Returns:
        ``inputs``, (3, H', W') as the network's data preprocessor takes it, and
        ``data_samples``.
    """
    from mmengine.dataset import Compose
    from mmengine.registry import init_default_scope

    from mnv2_mm.utils.config import evaluation_dataset

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


def predict(model: 'BaseModel', image: 'np.ndarray') -> 'BaseDataElement':
    """Predict for one image.

    Args:
        model: Of :func:`init_model`.
        image: (H, W, 3) uint8, in the order blue, green, red of OpenCV.

    Returns:
        The host's data sample: ``pred_instances`` (boxes in pixels of the image),
        ``pred_sem_seg`` (H, W) or ``pred_score`` (classes,).
    """
    import torch

    batch = {key: [value] for key, value in prepare(model, image).items()}
    with torch.no_grad():
        return model.test_step(batch)[0]


def inferencer(
    config: 'str | os.PathLike | Config',
    weights: str | os.PathLike,
    *,
    device: str = 'cpu',
    **kwargs: Any,
) -> 'BaseInferencer':
    """Build the host's inferencer for a config and the checkpoint of a training.

    Args:
        config: Path, name (see :func:`list_models`) or a read config.
        weights: As of :func:`init_model`.
        device: 'cpu', 'cuda:0', ...
        **kwargs: Further arguments of the host's class.

    Returns:
        mmdet's DetInferencer, mmseg's MMSegInferencer or mmpretrain's
        ImageClassificationInferencer, with the class names of the checkpoint.
    """
    if weights is None:
        raise InputError('an inferencer needs weights: the path of a .pth')
    from mnv2_mm.checkpoints.hub import local_checkpoint
    from mnv2_mm.checkpoints.loading import safe_loading

    weights = local_checkpoint(weights)
    # checks everything, and knows the class names
    model = init_model(config, weights, device=device)
    cfg, meta = copy.deepcopy(model.cfg), model.dataset_meta
    kwargs['device'] = device
    if cfg.default_scope == 'mmpretrain':
        from mmpretrain import ImageClassificationInferencer

        return ImageClassificationInferencer(model, pretrained=False, **kwargs)
    if cfg.model.get('backbone', {}).get('init_cfg'):
        cfg.model.backbone.init_cfg = None  # the weights replace it
    if cfg.default_scope == 'mmdet':
        from mmdet.apis import DetInferencer as Inferencer
    else:
        from mmseg.apis import MMSegInferencer as Inferencer

        kwargs = dict(classes=meta.get('classes'), palette=meta.get('palette')) | kwargs
    with safe_loading():
        result = Inferencer(cfg, weights, **kwargs)
    result.model.dataset_meta = result.visualizer.dataset_meta = meta
    return result
