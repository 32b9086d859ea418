"""Published networks by name: download, convert once, run.

Files are kept in the cache folder, ``$MNV2_MM_CACHE`` or ``~/.cache/mnv2_mm``.
"""

import contextlib
import glob
import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

from mmengine.config import Config

from mnv2_mm.checkpoints.addresses import SCHEMES, given_path
from mnv2_mm.checkpoints.convert import (
    convert,
    needs_conversion,
    read_weights,
    save,
    translate,
)
from mnv2_mm.checkpoints.download import check_digest, download, recorded_digest
from mnv2_mm.checkpoints.file import check_file, read
from mnv2_mm.checkpoints.resume import best_checkpoint, latest_checkpoint
from mnv2_mm.checkpoints.source import Source
from mnv2_mm.utils.config import get_config, list_models
from mnv2_mm.utils.config_names import configs_in
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.files import CACHE_VARIABLE as CACHE_VARIABLE
from mnv2_mm.utils.files import cache_folder as cache_folder
from mnv2_mm.utils.published import SCHEME as SCHEME
from mnv2_mm.utils.published import Published as Published
from mnv2_mm.utils.published import listed_models as listed_models
from mnv2_mm.utils.published import published_models as published_models
from mnv2_mm.version import __version__

_FIGURE_5 = 'mobilenet_v2_w'
#: Converted copies of files of one name and config; the oldest go.
MAX_COPIES = 4
_IN_USE = 3600  # seconds in which another program may still read its copy
#: The config for a file by the head that it has; without a head that of ImageNet.
DEFAULT_CONFIGS = {
    'bbox_head.cls_convs.0.weight': 'official/ssd_mnv2_coco',  # no depthwise layer
    'bbox_head.': 'official/ssdlite_mnv2_coco',
    'decode_head.': 'official/deeplabv3_mnv2_voc',
    '': 'official/mnv2_in1k',
}


def config_for(source: Source) -> str:
    """Name of the config of a published file, else of one with the same heads."""
    digest, name = f'sha256:{source.sha256}', Path(source.path).name
    for model in published_models().values():
        by_name = not model.digest.startswith('sha256:') and model.file == name
        if model.digest == digest or by_name:
            return model.config
    keys = translate(source).tensors
    return next(
        config
        for start, config in DEFAULT_CONFIGS.items()
        if not start or any(key.startswith(start) for key in keys)
    )


def config_of(checkpoint: Path) -> str:
    """Path or name of the config of a checkpoint.

    mmengine stores the config in the folder of a training. What the checkpoint says of
    it is not trusted: its text could run code. Its name only chooses between files.
    """
    if checkpoint.is_file() and needs_conversion(checkpoint):
        return config_for(read_weights(checkpoint))
    check_file(checkpoint)
    beside = {path.stem: str(path) for path in configs_in(checkpoint.parent)}
    if len(beside) == 1:
        return beside.popitem()[1]
    meta = read(checkpoint).get('meta')
    name = str(meta.get('experiment_name')) if isinstance(meta, dict) else ''
    # <config>_<date>_<time>
    stem = name.rsplit('_', 2)[0]
    if stem in beside or (not beside and stem in list_models()):
        return beside.get(stem, stem)
    found = (
        f'has several configs: {", ".join(sorted(beside))}' if beside else 'has none'
    )
    raise InputError(
        f'the config of {checkpoint} is not known, as its folder {found}; give the '
        'config first and the checkpoint as weights'
    )


def fetch(model: Published) -> Path:
    """Path of the published file, downloaded if it is not in the cache."""
    path = cache_folder() / model.file
    if not path.is_file():
        download(model.url, path, digest=model.digest, license=model.license)
    check_digest(path, model.url, model.digest)
    return path


def checkpoint_of(model: Published) -> Path:
    """Path of the converted checkpoint, converted if it is not in the cache."""
    file = cache_folder() / model.file
    if not model.digest and (file.is_file() or not recorded_digest(file)):
        fetch(model)  # refuses another file than the first one
    digest = model.digest or recorded_digest(file)
    start = digest.partition(':')[2][:8]
    path = cache_folder() / f'{model.name}-{start}-{__version__}.pth'
    try:
        read(path)
    except InputError:  # it is missing or damaged
        _convert(read_weights(fetch(model)), get_config(model.config), path)
    return path


def local_checkpoint(checkpoint: str | os.PathLike) -> str:
    """Path of a checkpoint, which may be named by ``mnv2_mm://NAME``."""
    path = os.fspath(checkpoint)
    if not path.startswith(SCHEME):
        return path
    models = published_models()
    name = path.removeprefix(SCHEME)
    if name not in models:
        raise InputError(f'{path} is not published; there are {_names(models)}')
    return str(checkpoint_of(models[name]))


# every reader of checkpoints finds these too
SCHEMES[SCHEME.partition(':')[0]] = local_checkpoint


def resolve(
    name: str | os.PathLike, weights: str | os.PathLike | None
) -> tuple[Config, Path]:
    """Config and checkpoint for the arguments of a command.

    Args:
        name: A config, or the name of a published network.
        weights: A checkpoint or a file of another code base, which is converted, by
            path or address; None for the published one.
    """
    models = published_models()
    named = [m for m in models.values() if str(name) in (m.name, m.config)]
    model = named[0] if named else None
    if weights is None:
        if model is None:
            get_config(name)  # its own message for a name that is wrong
            raise InputError(
                '--weights is missing. Give the .pth file of a training, e.g. '
                f'--weights work_dirs/{Path(name).stem}/epoch_1.pth, or as config the '
                f'name of a published network: {_names(models)}'
            )
        return get_config(model.config), checkpoint_of(model)
    path = given_path(weights)
    conversion = needs_conversion(path)
    # a name may be that of a training too, whose checkpoints need no conversion
    if model is not None and (conversion or str(name) not in list_models()):
        name = model.config
    if not conversion:
        return get_config(name), path
    cfg, source = get_config(name), read_weights(path)
    # programs may convert files of one name at once
    made_of = f'{source.sha256} {cfg.filename} {cfg.to_dict()} {__version__}'
    digest = hashlib.sha256(made_of.encode()).hexdigest()[:16]
    start = f'{path.name}-{Path(name).stem}-'
    target = cache_folder() / f'{start}{digest}.pth'
    _convert(source, cfg, target)
    copies = target.parent.glob(f'{glob.escape(start)}{"[0-9a-f]" * len(digest)}.pth')
    with contextlib.suppress(OSError):  # another program may remove them
        for old in sorted(copies, key=os.path.getmtime)[:-MAX_COPIES]:
            if time.time() - os.path.getmtime(old) > _IN_USE:
                old.unlink()
    return cfg, target


def _names(models: Iterable[str]) -> str:
    """Names for a message; those of Figure 5 differ by width and resolution only."""
    others = [name for name in models if not name.startswith(_FIGURE_5)]
    return ', '.join([*others, f'{_FIGURE_5}WWW_rRRR (configs/figure5)'])


def _convert(source: Source, cfg: Config, target: Path) -> None:
    checkpoint, report = convert(source, cfg)
    print(f'converted {Path(source.path).name}: {report.summary()}', flush=True)
    try:
        save(checkpoint, target)
    except OSError as error:
        raise InputError(
            f'{target} cannot be written ({error.strerror}); set {CACHE_VARIABLE} to '
            'a folder that can'
        ) from error


def result_of(work_dir: str) -> tuple[str | None, float | None]:
    """The best checkpoint of a training and its score, else the newest complete one."""
    newest, _ = latest_checkpoint(work_dir)
    best = newest and best_checkpoint(work_dir, read(newest))
    return best or (newest, None)
