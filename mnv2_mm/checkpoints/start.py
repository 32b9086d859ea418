"""Choose the weights that a training of one's own data starts from."""

import shutil
from pathlib import Path

from mnv2_mm.checkpoints.convert import convert, needs_conversion, read_weights, save
from mnv2_mm.checkpoints.file import read, state_dict_of
from mnv2_mm.checkpoints.hub import (
    cache_folder,
    checkpoint_of,
    config_for,
    published_models,
)
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.files import user_path

#: Published networks of a task, the best first, and those of ImageNet for every task.
STARTS = {
    'det': ('ssdlite_mnv2_coco', 'ssd_mnv2_openimages'),
    'seg': ('deeplabv3_mnv2_voc', 'deeplabv3_mnv2_voc_quant'),
    'cls': (),
}
IMAGENET = ('mnv2_in1k', 'mnv2_in1k_quant')
STEM = 'backbone.conv1.conv.weight'  # 32 channels at width 1


def write_start(task: str, given: str | None, target: Path) -> tuple[str, dict]:
    """Write the checkpoint to start from, if one can be had.

    Args:
        task: 'det', 'seg' or 'cls'.
        given: A file of any code base; None takes the best published network.
        target: The checkpoint to write.

    Returns:
        What it is, and the weights; empty without any.
    """
    path, text = (user_path(given), given) if given else _published(task)
    if path is None:
        return text, {}
    weights = {}
    if not needs_conversion(path):
        weights = state_dict_of(read(path), str(path))
    if any(key.startswith('backbone.') for key in weights):
        shutil.copyfile(path, target)
    else:  # of another format or code base
        content = read_weights(path)
        checkpoint, report = convert(content, config_for(content))
        print(f'converted {path.name}: {report.summary()}', flush=True)
        save(checkpoint, target)
        weights = checkpoint['state_dict']
    if STEM not in weights or len(weights[STEM]) != 32:
        raise InputError(
            f'{path} holds no MobileNetV2 of width 1, which the config has; give other '
            'weights, or none'
        )
    return text, weights


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
