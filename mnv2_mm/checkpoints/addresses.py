"""Files by address: URLs, and the names that mmengine gives to published weights.

mmengine's own functions download and load in one step, by an unpickler that runs code.
"""

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import torch
from mmengine.runner.checkpoint import (
    get_deprecated_model_names,
    get_external_models,
    get_mmcls_models,
    get_torchvision_models,
)

from mnv2_mm.checkpoints.download import download
from mnv2_mm.checkpoints.resume import is_complete
from mnv2_mm.checkpoints.source import sha256_of
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.files import user_path

_TABLES = {
    'modelzoo': get_torchvision_models,
    'torchvision': get_torchvision_models,
    'open-mmlab': get_external_models,
    'openmmlab': get_external_models,
    'mmcls': get_mmcls_models,
}
#: What finds the file of an address of another scheme; ``hub`` adds its own.
SCHEMES: dict[str, Callable[[str], str]] = {}
CUT_OFF = 'cut off'
_BEGINNINGS = {
    b'<': 'a web page, as servers send in place of a file that moved',
    b'version https://git-lfs': 'a pointer of Git LFS to the file',
}


def local_file(address: str) -> str:
    """Path of the file, downloaded into torch's cache if it is not there.

    Raises:
        InputError: the kind of address or the name is not known; the download failed.
    """
    scheme, _, name = address.partition('://')
    if scheme in SCHEMES:
        return SCHEMES[scheme](address)
    if scheme == 'file':
        return unquote(urlsplit(address).path)
    if scheme in _TABLES:
        urls = _TABLES[scheme]()
        if _TABLES[scheme] is get_external_models:
            name = get_deprecated_model_names().get(name, name)
        if name not in urls:
            raise InputError(f'{address}: mmengine knows no weights of this name')
        return local_file(urls[name])
    if scheme not in ('http', 'https'):
        known = ', '.join(
            f'{known}://' for known in ('http', 'https', 'file', *_TABLES, *SCHEMES)
        )
        raise InputError(
            f'{address} is no address that is read here ({known}); download the file '
            'and give its path'
        )
    folder = Path(torch.hub.get_dir(), 'checkpoints')
    name = Path(urlsplit(address).path).name or 'weights'
    # torch.hub's names are of several addresses, unless they have a digest
    named, old = re.search(r'-([0-9a-f]{8,})\.', name), folder / name
    if named and old.is_file() and sha256_of(old).startswith(named[1]):
        return str(old)
    # the name itself says which published file it is
    path = folder / hashlib.sha256(address.encode()).hexdigest()[:16] / name
    if not path.is_file():
        download(address, path, secure=scheme == 'https')
        if what := other_content(path):
            path.unlink(missing_ok=True)
            raise InputError(f'{address} is {what}; give the address of the weights')
    return str(path)


def given_path(place: str | os.PathLike) -> Path:
    """Path of a file that is given by its path or address."""
    text = os.fspath(place)
    return user_path(local_file(text) if '://' in text else text)


def other_content(path: str | os.PathLike) -> str:
    """What a file is in place of weights, or why it is not whole; '' for any other."""
    with open(path, 'rb') as file:
        start = file.read(64)
    for beginning, what in _BEGINNINGS.items():
        if start.lstrip().startswith(beginning):
            return what
    if start[:2] == b'PK' and not is_complete(path):
        return CUT_OFF
    return ''
