"""Choose the weights that a training of one's own data starts from."""

import ast
import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mnv2_mm.checkpoints.addresses import given_path
from mnv2_mm.checkpoints.content import check_entries
from mnv2_mm.checkpoints.convert import (
    convert,
    needs_conversion,
    read_weights,
    save,
    translate,
)
from mnv2_mm.checkpoints.file import read, state_dict_of
from mnv2_mm.checkpoints.hub import (
    cache_folder,
    checkpoint_of,
    config_for,
    published_models,
)
from mnv2_mm.checkpoints.key_maps.torch_models import model_key_map_of
from mnv2_mm.engine.exact_resume import RECORD
from mnv2_mm.utils.config import get_config
from mnv2_mm.utils.errors import InputError

#: Published networks of a task, the best first, and those of ImageNet for every task.
STARTS = {
    'det': ('ssdlite_mnv2_coco', 'ssd_mnv2_openimages'),
    'seg': ('deeplabv3_mnv2_voc', 'deeplabv3_mnv2_voc_quant'),
    'cls': (),
}
IMAGENET = ('mnv2_in1k', 'mnv2_in1k_quant')
STEM = 'backbone.conv1.conv.weight'  # 32 channels at width 1


def write_start(
    task: str, given: str | None, target: Path
) -> tuple[str, dict, dict[str, object]]:
    """Write the checkpoint to start from, if one can be had.

    Args:
        task: 'det', 'seg' or 'cls'.
        given: A file of any code base, or its address; None takes the best published
            network.
        target: The checkpoint to write.

    Returns:
        What it is; the weights, empty without any; how their network was trained, by
        names of the config's first block, where that is known.
    """
    path, text = (given_path(given), given) if given else _published(task)
    if path is None:
        return text, {}, {}
    checkpoint: dict = {}
    if not needs_conversion(path):
        checkpoint = read(path)
        weights = state_dict_of(checkpoint, str(path))
    if checkpoint and _is_own(weights):
        check_entries(checkpoint, str(path), resume=False)
        shutil.copyfile(path, target)
    else:  # of another format or code base
        content = read_weights(path)
        cfg, padding = get_config(config_for(content)), translate(content).padding
        cfg.model.backbone.padding = padding or cfg.model.backbone.padding
        checkpoint, report = convert(content, cfg, allow_missing=True)
        print(f'converted {path.name}: {report.summary()}', flush=True)
        weights = checkpoint['state_dict']
        for key in (*report.missing, *report.reshaped):  # these are random
            del weights[key]
        save(checkpoint, target)
    if STEM not in weights or len(weights[STEM]) != 32:
        raise InputError(
            f'{path} holds no MobileNetV2 of width 1, which the config has; give other '
            'weights, or none'
        )
    return text, weights, _training_of(checkpoint.get('meta') or {})


def _is_own(weights: dict) -> bool:
    """Whether the names are those of this project, or mmdet's backbone, as here."""
    key_map = model_key_map_of(weights)
    return any(key.startswith('backbone.') for key in weights) and (
        key_map is None or 'mnv2_mm' in key_map.name
    )


def _training_of(meta: dict) -> dict[str, object]:
    """Padding, mean and std that differ from those of the templates."""
    values: dict[str, object] = {}
    meta = _recorded(meta) | meta
    if meta.get('padding') in ('same', 'symmetric'):
        values['padding'] = meta['padding']
    if scaling := meta.get('preprocessing'):
        found = {key: [float(v) for v in scaling[key]] for key in ('mean', 'std')}
        # 127.5 or 128 makes no difference to a training
        if not np.allclose([*found.values()], 127.5, rtol=0.01):
            values |= found
    return values


def _recorded(meta: dict) -> dict[str, object]:
    """Padding and scaling in what ExactResumeHook records of a training."""
    record = meta.get(RECORD)
    config = record.get('config') if isinstance(record, Mapping) else None
    found: dict[str, object] = {}
    if not isinstance(config, Mapping):
        return found
    with contextlib.suppress(KeyError, SyntaxError, TypeError, ValueError):
        found['padding'] = ast.literal_eval(config['model.backbone.padding'])
        found['preprocessing'] = {
            key: [float(config[f'model.data_preprocessor.{key}.{n}']) for n in range(3)]
            for key in ('mean', 'std')
        }
    return found


def _published(task: str) -> tuple[Path | None, str]:
    """The best published network that can be had, those in the cache first."""
    models, cache = published_models(), cache_folder()
    for names in (STARTS[task], IMAGENET):
        for name in sorted(names, key=lambda n: not (cache / models[n].file).is_file()):
            try:
                return checkpoint_of(models[name]), name
            except InputError as error:
                print('warning: ' + str(error).partition('\n')[0], flush=True)
    return None, 'random weights, since no published ones can be had; see --weights'
