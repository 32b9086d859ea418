"""Networks by name: download what was published, convert it once, run it.

The list is ``configs/official/metafile.yml``. Files are kept in the cache
folder, ``$MNV2_MM_CACHE`` or ``~/.cache/mnv2_mm``.
"""

import os
import socket
from pathlib import Path
from typing import NamedTuple

import torch
import yaml
from mmengine.config import Config

from mnv2_mm.checkpoints.convert import convert, is_foreign, save
from mnv2_mm.checkpoints.file import is_complete
from mnv2_mm.checkpoints.source import SCHEME, sha256_of
from mnv2_mm.utils.config import config_root, get_config
from mnv2_mm.utils.errors import InputError
from mnv2_mm.version import __version__

CACHE_VARIABLE = 'MNV2_MM_CACHE'
_PATIENCE = 30  # seconds without a byte


class Published(NamedTuple):
    """A trained network that somebody published."""

    name: str
    config: str
    url: str
    file: str
    sha256: str
    license: str


def published_models() -> dict[str, Published]:
    """All of them by name."""
    path = config_root() / 'official' / 'metafile.yml'
    found = {}
    for model in yaml.safe_load(path.read_text(encoding='utf-8'))['Models']:
        source = model['Source']
        config = model['Config'].removeprefix('configs/').removesuffix('.py')
        found[model['Name']] = Published(
            model['Name'],
            config,
            source['URL'],
            source.get('File') or source['URL'].rpartition('/')[2],
            source['SHA256'],
            source['License'],
        )
    return found


def cache_folder() -> Path:
    """Where downloads and conversions are kept; made if need be.

    Raises:
        InputError: the folder cannot be made.
    """
    folder = os.environ.get(CACHE_VARIABLE) or '~/.cache/mnv2_mm'
    path = Path(folder).expanduser()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f'the cache folder {path} cannot be made ({error.strerror}); set '
            f'{CACHE_VARIABLE} to another one'
        ) from error
    return path


def fetch(model: Published) -> Path:
    """The published file, downloaded if it is not in the cache.

    Raises:
        InputError: it cannot be downloaded, or has another content.
    """
    path = cache_folder() / model.file
    by_hand = (
        f'Fetch {model.url}\nby hand and put it to {path}, or give it with --weights'
    )
    if path.is_file():
        if sha256_of(path) == model.sha256:
            return path
        raise InputError(
            f'{path} is not the published file (its sha256 differs from '
            f'{model.sha256}); remove it. {by_hand}'
        )
    print(
        f'{model.name}: downloading {model.file} ({model.license}) from\n  {model.url}',
        flush=True,
    )
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE)
    try:
        torch.hub.download_url_to_file(model.url, str(path), hash_prefix=model.sha256)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f'{model.file} could not be downloaded ({error}). {by_hand}'
        ) from error
    finally:
        socket.setdefaulttimeout(before)
    return path


def checkpoint_of(model: Published) -> Path:
    """The converted checkpoint, made if it is not in the cache."""
    path = cache_folder() / (f'{model.name}-{model.sha256[:8]}-{__version__}.pth')
    if not (path.is_file() and is_complete(path)):
        _convert(fetch(model), get_config(model.config), path)
    return path


def published_checkpoint(source: str) -> Path:
    """The checkpoint of ``mnv2_mm://NAME``.

    Raises:
        InputError: nothing of that name is published, or no network.
    """
    models = published_models()
    name = source.removeprefix(SCHEME)
    if name not in models:
        raise InputError(
            f'{source}: no network of that name is published; there are '
            + ', '.join(SCHEME + known for known in models)
        )
    return checkpoint_of(models[name])


def local_checkpoint(checkpoint: str | os.PathLike) -> str:
    """The file of a checkpoint, which ``mnv2_mm://NAME`` may name.

    Raises:
        InputError: as :func:`published_checkpoint`.
    """
    name = os.fspath(checkpoint)
    return str(published_checkpoint(name)) if name.startswith(SCHEME) else name


def resolve(
    name: str | os.PathLike, weights: str | os.PathLike | None
) -> tuple[Config, Path]:
    """Config and checkpoint for what a user named.

    Args:
        name: A config, or the name of a published network.
        weights: A checkpoint, a file of another code base, which is
            converted, or None for the published one.

    Raises:
        InputError: there is no such config, or no weights for it.
    """
    models = published_models()
    model = models.get(str(name).removeprefix('official/'))
    if weights is None:
        if model is None:
            get_config(name)  # its own message for a name that is wrong
            raise InputError(
                '--weights is missing: without a trained checkpoint the '
                'network only guesses. Give the .pth file of a training, '
                f'e.g. --weights work_dirs/{Path(name).stem}/epoch_1.pth, '
                f'or the name of a published network: {", ".join(models)}'
            )
        return get_config(model.config), checkpoint_of(model)
    path = Path(weights).expanduser()
    if not is_foreign(path):
        return get_config(name), path
    digest = sha256_of(path) if path.is_file() else ''
    if model is not None and model.sha256 == digest:
        name = model.config
    cfg = get_config(name)
    target = cache_folder() / f'{path.name}-{Path(name).stem}.pth'
    _convert(path, cfg, target)
    return cfg, target


def _convert(path: Path, cfg: Config, target: Path) -> None:
    checkpoint, account = convert(path, cfg)
    print(f'converted {path.name}: {account.summary()}', flush=True)
    save(checkpoint, target)
