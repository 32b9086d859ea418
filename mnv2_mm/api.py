"""Load a model by name and predict with it.

    from mnv2_mm.api import load
    model = load('ssdlite_mnv2_coco')
    for result in model.predict('photos/'):
        result.save('out/')

These lines serve detection, segmentation and classification. The hosts' own functions
(``inference_detector``, ...) take the networks of :func:`init_model` too. torch and
mmengine are imported when a function runs.
"""

import copy
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mnv2_mm.runtime.predictor import Predictor
from mnv2_mm.runtime.sources import Source, find_sources, frames_of
from mnv2_mm.utils.arguments import check_choice
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.files import user_path

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.infer import BaseInferencer
    from mmengine.model import BaseModel
    from mmengine.structures import BaseDataElement

    from mnv2_mm.engine.predictor import Model

__all__ = ['get_config', 'inferencer', 'init_model', 'list_models', 'load', 'predict']

Backend = Literal['auto', 'pytorch', 'onnxruntime']
Dtype = Literal['float32', 'bfloat16']

_CONFIGS = ('.py', '.json', '.yaml', '.yml')
_WEIGHTS = ('.pb', '.pt', '.pth', '.safetensors', '.tflite')
_EXPORTED = ('.bin', '.engine', '.onnx', '.param')


def get_config(name_or_path: 'str | os.PathLike | Config') -> 'Config':
    """Read a config by path or name."""
    from mnv2_mm.utils import config

    return config.get_config(name_or_path)


def list_models(pattern: str = '') -> list[str]:
    """Names of the models whose name contains ``pattern``, sorted."""
    from mnv2_mm.utils import config

    return config.list_models(pattern)


def load(
    model: 'str | os.PathLike | Config',
    weights: str | os.PathLike | None = None,
    *,
    device: str = 'cpu',
    optimize: bool = True,
    dtype: Dtype = 'float32',
    backend: Backend = 'auto',
) -> Predictor:
    """Load a model that predicts for images, folders, videos, ....

    The network is optimized for inference, see :func:`init_model`. After a few images
    an export goes to the cache folder, by which the next program predicts without
    torch (for the folder of a training it imports torch to find the best checkpoint).

    Args:
        model: Name of a published network (configs/official); a config (path, name or
            read) with ``weights``; a checkpoint, whose config is found beside it, as a
            training leaves it; the folder of a training, for its best checkpoint; or
            the folder of an exported model, which needs no torch. Configs are Python
            and are run.
        weights: Checkpoint, ``mnv2_mm://NAME``, or a file of TFLite, TensorFlow or
            safetensors, which is converted; ``mnv2 convert`` converts a .pth of another
            code base.
        device: 'cpu', 'cuda:0', ...
        optimize: False leaves the network as the host runs it, several times slower.
        dtype: As of :func:`init_model`.
        backend: As of :func:`init_model`.

    Returns:
        An object with ``predict``, see :meth:`Predictor.predict`.

    Raises:
        InputError: there is no such model (the nearest names are given), it is damaged,
            or cannot be downloaded.
    """
    if weights is None and isinstance(model, str | os.PathLike):
        from mnv2_mm.runtime.description import find

        place = user_path(model)
        if place.suffix in _EXPORTED or (place.exists() and find(place)):
            from mnv2_mm.runtime.model import ExportedModel

            if (device, optimize, dtype, backend) != ('cpu', True, 'float32', 'auto'):
                raise InputError(
                    f'{place} is an exported model; device, optimize, dtype and '
                    'backend are for checkpoints: choose another deploy config for '
                    'the export'
                )
            return ExportedModel(place)
        if place.is_dir():
            from mnv2_mm.checkpoints.hub import result_of

            model, _ = result_of(str(place))
            if model is None:
                raise InputError(_nothing_in(place))
    make = partial(
        _from_weights,
        model,
        weights,
        device=device,
        optimize=optimize,
        dtype=dtype,
        backend=backend,
    )
    check_choice('backend', backend, Backend)
    usual = (device, optimize, dtype) == ('cpu', True, 'float32')
    folder = None
    if usual and backend != 'pytorch' and isinstance(model, str | os.PathLike):
        from mnv2_mm.runtime.cached_export import read_exports
        from mnv2_mm.utils.export_key import export_folder

        folder = export_folder(model, weights)
    make = partial(make, folder=folder)
    return (folder and read_exports(folder, make)) or make()


def _nothing_in(folder: Path) -> str:
    """Why a folder cannot be loaded, and what can."""
    from mnv2_mm.utils.published import SCHEME, published_models

    text = f'{folder} holds no exported model, and no epoch_N.pth or iter_N.pth'
    if files := sorted(path.name for path in folder.glob('*.pth')):
        return f'{text}; give the file: {folder / files[0]}'
    if folder.name in published_models():
        return f'{text}; the published network is {SCHEME}{folder.name}'
    return f'{text}; give a file, or weights'


def _from_weights(
    model: 'str | os.PathLike | Config',
    weights: str | os.PathLike | None,
    *,
    folder: Path | None = None,
    **options: Any,
) -> 'Model':
    """Build a network; ``folder`` is where its exports are cached."""
    from mnv2_mm.engine.one_at_a_time import NETWORK_LOCK
    from mnv2_mm.engine.predictor import Model
    from mnv2_mm.utils.export_key import export_folder

    with NETWORK_LOCK:
        network = _build(model, weights, **options)
    if folder and export_folder(model, weights) != folder:
        # the exports would be of other weights than their name says
        raise InputError(
            f'{weights or model} was changed after load read it; load it again'
        )
    return Model(network, folder)


def _build(
    model: 'str | os.PathLike | Config',
    weights: str | os.PathLike | None,
    **options: Any,
) -> 'BaseModel':
    from mnv2_mm.checkpoints.hub import SCHEME, config_of, local_checkpoint, resolve

    if weights is None and isinstance(model, str | os.PathLike):
        place = user_path(model)
        is_config = place.suffix in _CONFIGS or not place.is_file()
        if place.suffix in _WEIGHTS or not is_config:
            model, weights = config_of(place), place
    if weights is not None:
        weights = local_checkpoint(weights)
    if isinstance(model, str | os.PathLike):
        name = os.fspath(model).removeprefix(SCHEME)
        model, weights = resolve(name, weights)
    elif weights is None or not hasattr(model, 'model'):
        raise InputError(
            f'load cannot take {type(model).__name__} alone; give a name, a path, or a '
            'Config with weights'
        )
    return init_model(model, weights, **options)


def init_model(
    config: 'str | os.PathLike | Config',
    weights: str | os.PathLike | None = None,
    *,
    device: str = 'cpu',
    optimize: bool = False,
    dtype: Dtype = 'float32',
    backend: Backend = 'auto',
) -> 'BaseModel':
    """Build a model for prediction.

    Args:
        config: Path, name (see :func:`list_models`) or a read config.
        weights: Checkpoint, or ``mnv2_mm://NAME`` of a network of configs/official;
            None leaves the network at its random start.
        device: 'cpu', 'cuda:0', ...
        optimize: Fuse batch norm, lay tensors out channels last, and run the network
            by ``backend`` on a processor: the same results up to rounding. The model
            cannot be trained on afterwards.
        dtype: 'bfloat16' also computes in bfloat16 (and optimizes): boxes move by
            pixels. Refused on processors without bfloat16 arithmetic.
        backend: 'onnxruntime', 'pytorch', or 'auto' for the faster one that is
            installed. It runs the network after a few images of a size; until then
            PyTorch does, layer by layer.

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
        optimize_for_inference(model, dtype, backend)
    return model


def predict(model: 'BaseModel', image: Source) -> 'BaseDataElement':
    """Predict for one image.

    Args:
        model: Of :func:`init_model`.
        image: Path, address, image of Pillow, or array (H, W, 3) uint8 in the order
            blue, green, red of OpenCV.

    Returns:
        The host's data sample: ``pred_instances`` (boxes in pixels of the image),
        ``pred_sem_seg`` (H, W) or ``pred_score`` (classes,).

    Raises:
        InputError: it is not one image, or cannot be read.
    """
    from mnv2_mm.engine.predictor import Model

    if isinstance(model, Predictor):
        raise InputError('a model of load predicts by model.predict(image)')
    leaves = find_sources(image)
    if len(leaves) != 1:
        raise InputError(
            f'predict takes one image, not {len(leaves)}; mnv2_mm.load gives a model '
            'whose predict takes many'
        )
    frame = next(frames_of(leaves[0]))
    return Model(model).run_network([frame.image])[0][1]


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

        keys = 'classes', 'palette', 'dataset_name'  # mmseg takes no others
        meta = {key: meta[key] for key in keys if key in meta}
        kwargs = dict(classes=meta.get('classes'), palette=meta.get('palette')) | kwargs
    with safe_loading():
        result = Inferencer(cfg, weights, **kwargs)
    result.model.dataset_meta = result.visualizer.dataset_meta = meta
    return result
