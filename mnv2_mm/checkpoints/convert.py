"""From a file of trained weights to a checkpoint of this project.

The file's format is told by its content, its naming by its names, and the
network by a config; :mod:`mnv2_mm.checkpoints.source` draws the way.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mnv2_mm.checkpoints.assign import fit
from mnv2_mm.checkpoints.key_maps.slim import is_slim, translate_slim
from mnv2_mm.checkpoints.readers.tflite import is_tflite, read_tflite
from mnv2_mm.checkpoints.report import ConversionReport
from mnv2_mm.checkpoints.source import Source, Translation
from mnv2_mm.utils.config import config_meta, config_name, get_config
from mnv2_mm.utils.config_errors import host_of, readable_config_errors
from mnv2_mm.utils.errors import InputError
from mnv2_mm.version import __version__

#: The config for a file, by the head that it has; ImageNet's otherwise.
DEFAULT_CONFIGS = {
    'bbox_head.': 'official/ssdlite_mnv2_coco',
    'decode_head.': 'official/deeplabv3_mnv2_voc',
    '': 'official/mnv2_in1k',
}


def read_weights(path: str | os.PathLike) -> Source:
    """Read a file of any known format.

    Raises:
        InputError: there is no such file, or it cannot be read.
    """
    path = Path(path).expanduser()
    if not path.exists() and not path.with_name(f'{path.name}.index').exists():
        raise InputError(
            f'there is no file {path}; give a TFLite file, a checkpoint or '
            'frozen graph of TensorFlow, or a state dict of PyTorch'
        )
    if path.is_file() and is_tflite(path):
        return read_tflite(path)
    from mnv2_mm.checkpoints.readers.tensorflow import (
        is_tensorflow,
        read_tensorflow,
    )

    if is_tensorflow(path):
        return read_tensorflow(path)
    from mnv2_mm.checkpoints.readers.torch_file import read_torch

    return read_torch(path)


def is_foreign(path: str | os.PathLike) -> bool:
    """Whether a file is of a format that only conversion can read."""
    path = Path(path).expanduser()
    from mnv2_mm.checkpoints.readers.tensorflow import is_tensorflow

    if path.suffix == '.safetensors' or is_tensorflow(path):
        return True
    return path.is_file() and is_tflite(path)


def translate(source: Source, *, background_slot: bool = True) -> Translation:
    """Give the tensors of a file our names; see the translators.

    Raises:
        InputError: the names are of no code base that is known.
    """
    if is_slim(list(source.tensors)):
        return translate_slim(source, background_slot=background_slot)
    if source.format.startswith(('TFLite', 'TensorFlow')):
        first = next(iter(source.tensors), 'none')
        raise InputError(
            f'{source.path} ({source.format}) has none of the names that '
            'TF-slim, the Object Detection API and DeepLab give to '
            f'MobileNetV2 (its first is {first!r}); Keras names, and other '
            'networks, are not known'
        )
    from mnv2_mm.checkpoints.key_maps.torch_models import translate_torch

    return translate_torch(source)


def default_config(translation: Translation) -> str:
    """Name of the config whose network has the heads of a file."""
    return next(
        name
        for start, name in DEFAULT_CONFIGS.items()
        if any(key.startswith(start) for key in translation.tensors) or not start
    )


def convert(
    source: Source | str | os.PathLike,
    config: str | os.PathLike | Config,
    *,
    allow_missing: bool = False,
    classes: Sequence[str] | None = None,
) -> tuple[dict, ConversionReport]:
    """Convert a file for the network of a config.

    Args:
        source: The file, or what was read of it.
        config: Path, name or a read config.
        allow_missing: Let tensors without a source keep their initial
            values.
        classes: Names of the classes; the config's data set's if None.

    Returns:
        A checkpoint for ``torch.save`` and the account of every tensor. Its
        ``meta`` holds ``dataset_meta`` (class names), ``preprocessing`` and
        ``provenance``.

    Raises:
        InputError: the file cannot be read or does not fit the config.
    """
    if not isinstance(source, Source):
        source = read_weights(source)
    cfg = get_config(config)
    init_default_scope(host_of(cfg))
    with readable_config_errors(cfg):
        model = MODELS.build(cfg.model)
    if allow_missing:
        MMLogger.get_instance('conversion', log_level='WARNING')
        model.init_weights()
    head = getattr(model, 'bbox_head', None)
    translation = translate(
        source, background_slot=getattr(head, 'background_slot', True)
    )
    weights, account = fit(translation, model, source, allow_missing=allow_missing)
    return (
        dict(
            meta=_meta(source, translation, cfg, model, classes),
            state_dict={k: v.contiguous() for k, v in weights.items()},
        ),
        account,
    )


def _meta(
    source: Source,
    translation: Translation,
    cfg: Config,
    model: nn.Module,
    classes: Sequence[str] | None,
) -> dict:
    """What the tools need to run the weights, and where they came from."""
    meta = config_meta(cfg)
    wanted = _class_count(model)
    if classes is not None:
        # TF's label files of ImageNet begin with the background
        extra = classes[0] == 'background' and len(classes) - 1 == wanted
        meta = dict(classes=tuple(classes[extra:]))
    names = meta.get('classes')
    if names is not None and wanted is not None and len(names) != wanted:
        raise InputError(
            f'{len(names)} class names for a network of {wanted} classes; '
            'give --labels a file with one name a line, or set the classes '
            'of the config'
        )
    result = dict(
        dataset_meta={key: meta[key] for key in ('classes', 'palette') if key in meta},
        config=config_name(cfg),
        provenance=dict(
            file=Path(source.path).name,
            sha256=source.sha256,
            format=source.format,
            naming=translation.naming,
            converter=f'mnv2_mm {__version__}',
        ),
    )
    if translation.preprocessing is not None:
        result['preprocessing'] = {
            key: list(value)
            for key, value in translation.preprocessing._asdict().items()
        }
    return result


def _class_count(model: nn.Module) -> int | None:
    for part in ('bbox_head', 'decode_head', 'head'):
        count = getattr(getattr(model, part, None), 'num_classes', None)
        if count is not None:
            return count
    return None


def read_labels(path: str | os.PathLike) -> list[str]:
    """Class names of a text file, one a line.

    Raises:
        InputError: the file is missing, or no text.
    """
    try:
        text = Path(path).expanduser().read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f'label file {path} cannot be read: {error}') from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def save(checkpoint: dict, path: str | os.PathLike) -> None:
    """Write a checkpoint whole or not at all.

    Raises:
        InputError: the folder is missing or cannot be written.
    """
    path = Path(path).expanduser()
    part = path.with_name(f'{path.name}.{os.getpid()}.part')
    try:
        torch.save(checkpoint, part)
        part.replace(path)
    except (OSError, RuntimeError) as error:
        reason = str(error).partition('\n')[0]
        raise InputError(f'{path} cannot be written: {reason}') from error
    finally:
        part.unlink(missing_ok=True)
