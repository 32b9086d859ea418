"""Convert a file of trained weights to a checkpoint of this project.

The content of the file tells its format, its keys tell the code base, and a config
gives the network; see :mod:`mnv2_mm.checkpoints.source`.
"""

import io
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mnv2_mm.checkpoints.addresses import given_path
from mnv2_mm.checkpoints.assign import assign
from mnv2_mm.checkpoints.content import check_values
from mnv2_mm.checkpoints.guard import class_count
from mnv2_mm.checkpoints.key_maps.slim import is_slim, translate_slim
from mnv2_mm.checkpoints.key_maps.torch_models import translate_torch
from mnv2_mm.checkpoints.loading import safe_loading
from mnv2_mm.checkpoints.readers.tensorflow import is_tensorflow, read_tensorflow
from mnv2_mm.checkpoints.readers.tflite import is_tflite, read_tflite
from mnv2_mm.checkpoints.readers.torch_file import read_torch
from mnv2_mm.checkpoints.report import WeightReport
from mnv2_mm.checkpoints.source import Source, Translation
from mnv2_mm.utils.config import config_meta, config_name, get_config
from mnv2_mm.utils.config_errors import host_of, readable_config_errors
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.files import user_path, write_bytes
from mnv2_mm.version import __version__


def read_weights(path: str | os.PathLike, *, trust: bool = False) -> Source:
    """Read a file of any known format, by its path or address.

    ``trust`` lets one of PyTorch run code.
    """
    path = given_path(path)
    if is_tensorflow(path):
        return read_tensorflow(path)
    if not path.exists():
        raise InputError(
            f'there is no file {path}; give a TFLite file, a checkpoint or frozen '
            'graph of TensorFlow, or a state dict of PyTorch'
        )
    return read_tflite(path) if is_tflite(path) else read_torch(path, trust=trust)


def needs_conversion(path: str | os.PathLike) -> bool:
    """Whether a file is of a format that only conversion can read."""
    path = user_path(path)
    return path.suffix == '.safetensors' or is_tensorflow(path) or is_tflite(path)


def translate(source: Source, *, background_slot: bool = True) -> Translation:
    """Give the tensors of a file our keys, by the key map that knows them."""
    if is_slim(source.tensors):
        return translate_slim(source, background_slot=background_slot)
    if source.format.startswith(('TFLite', 'TensorFlow')):
        first = next(iter(source.tensors), 'none')
        raise InputError(
            f'{source.path} ({source.format}) has none of the names that TF-slim, the '
            f'Object Detection API and DeepLab give to MobileNetV2, but {first!r}'
        )
    return translate_torch(source)


def convert(
    source: Source | str | os.PathLike,
    config: str | os.PathLike | Config,
    *,
    allow_missing: bool = False,
    classes: Sequence[str] | None = None,
) -> tuple[dict, WeightReport]:
    """Convert a file for the network of a config.

    Args:
        source: The file, or the result of :func:`read_weights`.
        config: Path, name or a read config.
        allow_missing: Let tensors without a source keep their initial values.
        classes: Class names; None takes those of the config's data set.

    Returns:
        A checkpoint for ``torch.save``, whose ``meta`` holds ``dataset_meta`` (class
        names), ``preprocessing`` and ``provenance``, and the report of every tensor.
    """
    if not isinstance(source, Source):
        source = read_weights(source)
    cfg = get_config(config)
    init_default_scope(host_of(cfg))
    with readable_config_errors(cfg), safe_loading():
        model = MODELS.build(cfg.model)
        if allow_missing:
            MMLogger.get_instance('conversion', log_level='WARNING')
            model.init_weights()
    slot = getattr(getattr(model, 'bbox_head', None), 'background_slot', True)
    translation = translate(source, background_slot=slot)
    weights, report = assign(translation, model, source, allow_missing=allow_missing)
    check_values(weights, model.state_dict(), source.path)
    meta = dict(
        dataset_meta=_dataset_meta(cfg, model, classes),
        config=config_name(cfg),
        provenance=dict(
            file=Path(source.path).name,
            sha256=source.sha256,
            format=source.format,
            key_map=translation.key_map,
            converter=f'mnv2_mm {__version__}',
        ),
    )
    if translation.preprocessing is not None:
        mean, std = translation.preprocessing
        meta['preprocessing'] = dict(mean=list(mean), std=list(std))
    if translation.padding is not None:
        meta['padding'] = translation.padding
    weights = {key: value.contiguous() for key, value in weights.items()}
    return dict(meta=meta, state_dict=weights), report


def _dataset_meta(
    cfg: Config, model: nn.Module, classes: Sequence[str] | None
) -> dict[str, Sequence]:
    """Class names and colors, compared with the class count of the network."""
    count = class_count(model)
    meta = config_meta(cfg)
    if classes is not None:
        # TF's label files of ImageNet begin with the background
        extra = 'background' in classes[:1] and len(classes) - 1 == count
        meta = dict(classes=tuple(classes[extra:]))
    names = meta.get('classes')
    if names is not None and count is not None and len(names) != count:
        raise InputError(
            f'{len(names)} class names for a network of {count} classes; give --labels '
            'a file with one name per line, or set the classes of the config'
        )
    return {key: meta[key] for key in ('classes', 'palette') if key in meta}


def read_labels(path: str | os.PathLike) -> list[str]:
    """Read class names from a text file, one per line."""
    try:
        text = user_path(path).read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f'label file {path} cannot be read: {error}') from error
    names = [line.strip() for line in text.splitlines() if line.strip()]
    if not names:
        raise InputError(f'label file {path} is empty; give one class name per line')
    return names


def save(checkpoint: dict, path: str | os.PathLike) -> None:
    """Write a complete checkpoint, or none."""
    # to memory first: torch says nothing about what a disk refuses
    data = io.BytesIO()
    torch.save(checkpoint, data)
    write_bytes(path, data.getvalue())
