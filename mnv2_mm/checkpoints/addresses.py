"""Files by address: URLs, and the names that mmengine gives to published weights.

mmengine's own functions download and load in one step, by an unpickler that runs code.
"""

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

import torch
from mmengine.runner.checkpoint import (
    get_deprecated_model_names,
    get_external_models,
    get_mmcls_models,
    get_torchvision_models,
)

from mnv2_mm.utils.errors import InputError

_TABLES = {
    'modelzoo': get_torchvision_models,
    'torchvision': get_torchvision_models,
    'open-mmlab': get_external_models,
    'openmmlab': get_external_models,
    'mmcls': get_mmcls_models,
}


def local_file(address: str) -> str:
    """Path of the file, downloaded into torch's cache if it is not there.

    Raises:
        InputError: the kind of address or the name is not known.
        OSError: the download failed.
    """
    scheme, _, name = address.partition('://')
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
            f'{known}://' for known in ('http', 'https', 'file', *_TABLES)
        )
        raise InputError(
            f'{address} is no address that is read here ({known}); download the file '
            'and give its path'
        )
    path = Path(torch.hub.get_dir(), 'checkpoints', Path(urlsplit(address).path).name)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        # written in full before it gets its name, also if several processes do it
        torch.hub.download_url_to_file(address, str(path), progress=os.isatty(2))
    return str(path)
