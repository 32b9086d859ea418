"""Published networks by name: download, convert once, run.

The list is ``configs/official/metafile.yml``. Files are kept in the cache folder,
``$MNV2_MM_CACHE`` or ``~/.cache/mnv2_mm``.
"""

import http.client
import os
import shutil
import urllib.request
from pathlib import Path
from typing import NamedTuple

import yaml
from mmengine.config import Config

from mnv2_mm.checkpoints.convert import convert, needs_conversion, save, translate
from mnv2_mm.checkpoints.resume import is_complete
from mnv2_mm.checkpoints.source import Source, sha256_of
from mnv2_mm.utils.config import config_root, get_config
from mnv2_mm.utils.errors import InputError
from mnv2_mm.version import __version__

#: Prefix that names a network of configs/official as a checkpoint.
SCHEME = 'mnv2_mm://'
CACHE_VARIABLE = 'MNV2_MM_CACHE'
#: The config for a file by the head that it has; without a head that of ImageNet.
DEFAULT_CONFIGS = {
    'bbox_head.': 'official/ssdlite_mnv2_coco',
    'decode_head.': 'official/deeplabv3_mnv2_voc',
    '': 'official/mnv2_in1k',
}
_TIMEOUT = 30  # seconds without a byte


class Published(NamedTuple):
    """A trained network that its authors published."""

    name: str
    config: str
    url: str
    file: str
    sha256: str
    license: str


def published_models() -> dict[str, Published]:
    """All published networks by name."""
    path = config_root() / 'official/metafile.yml'
    entries = yaml.safe_load(path.read_text(encoding='utf-8'))['Models']
    return {
        entry['Name']: Published(
            entry['Name'],
            entry['Config'].removeprefix('configs/').removesuffix('.py'),
            source['URL'],
            source.get('File') or source['URL'].rpartition('/')[2],
            source['SHA256'],
            source['License'],
        )
        for entry in entries
        for source in [entry['Source']]
    }


def config_for(source: Source) -> str:
    """Name of the config of a published file, else of one with the same heads."""
    for model in published_models().values():
        if model.sha256 == source.sha256:
            return model.config
    keys = translate(source).tensors
    return next(
        config
        for start, config in DEFAULT_CONFIGS.items()
        if not start or any(key.startswith(start) for key in keys)
    )


def cache_folder() -> Path:
    """Folder of downloads and conversions; created if it does not exist."""
    path = Path(os.environ.get(CACHE_VARIABLE) or '~/.cache/mnv2_mm').expanduser()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f'the cache folder {path} cannot be created ({error.strerror}); set '
            f'{CACHE_VARIABLE} to another one'
        ) from error
    return path


def fetch(model: Published) -> Path:
    """Path of the published file, downloaded if it is not in the cache."""
    path = cache_folder() / model.file
    by_hand = f'Fetch {model.url}\nby hand to {path}, or give it with --weights'
    if path.is_file():
        if sha256_of(path) == model.sha256:
            return path
        raise InputError(
            f'{path} is not the published file (sha256 {model.sha256}); remove it. '
            f'{by_hand}'
        )
    what = f'{model.name}: downloading {model.file} ({model.license})'
    print(f'{what} from\n  {model.url}', flush=True)
    part = path.with_name(f'{path.name}.{os.getpid()}.part')
    try:
        with (
            urllib.request.urlopen(model.url, timeout=_TIMEOUT) as answer,
            open(part, 'wb') as file,
        ):
            shutil.copyfileobj(answer, file)
        if sha256_of(part) != model.sha256:
            raise OSError(f'its sha256 is not {model.sha256}')
        part.replace(path)
    except (OSError, http.client.HTTPException) as error:
        raise InputError(
            f'{model.file} could not be downloaded ({error}). {by_hand}'
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return path


def checkpoint_of(model: Published) -> Path:
    """Path of the converted checkpoint, converted if it is not in the cache."""
    path = cache_folder() / f'{model.name}-{model.sha256[:8]}-{__version__}.pth'
    if not is_complete(path):
        _convert(fetch(model), get_config(model.config), path)
    return path


def local_checkpoint(checkpoint: str | os.PathLike) -> str:
    """Path of a checkpoint, which may be named by ``mnv2_mm://NAME``."""
    path = os.fspath(checkpoint)
    if not path.startswith(SCHEME):
        return path
    models = published_models()
    name = path.removeprefix(SCHEME)
    if name not in models:
        known = ', '.join(SCHEME + known for known in models)
        raise InputError(f'{path} is not published; there are {known}')
    return str(checkpoint_of(models[name]))


def resolve(
    name: str | os.PathLike, weights: str | os.PathLike | None
) -> tuple[Config, Path]:
    """Config and checkpoint for the arguments of a command.

    Args:
        name: A config, or the name of a published network.
        weights: A checkpoint, a file of another code base, which is converted, or None
            for the published one.
    """
    models = published_models()
    model = models.get(str(name).removeprefix('official/'))
    if weights is None:
        if model is None:
            get_config(name)  # its own message for a name that is wrong
            raise InputError(
                '--weights is missing. Give the .pth file of a training, e.g. '
                f'--weights work_dirs/{Path(name).stem}/epoch_1.pth, or as config the '
                f'name of a published network: {", ".join(models)}'
            )
        return get_config(model.config), checkpoint_of(model)
    path = Path(weights).expanduser()
    if not needs_conversion(path):
        return get_config(name), path
    if model is not None and path.is_file() and model.sha256 == sha256_of(path):
        name = model.config
    cfg = get_config(name)
    target = cache_folder() / f'{path.name}-{Path(name).stem}.pth'
    _convert(path, cfg, target)
    return cfg, target


def _convert(path: Path, cfg: Config, target: Path) -> None:
    checkpoint, report = convert(path, cfg)
    print(f'converted {path.name}: {report.summary()}', flush=True)
    save(checkpoint, target)
