"""Read a checkpoint, or say in one sentence why it cannot be read.

torch writes a checkpoint as a zip file whose directory comes last: a file
whose directory can be listed is complete. A program that was killed while it
wrote, or a broken copy, leaves a file without one.
"""

import os
import pickle
import struct
import zipfile
from collections.abc import Mapping

from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor

from mnv2_mm.utils.compat import why_unreadable
from mnv2_mm.utils.errors import InputError

#: What zipfile raises where bytes of the directory are damaged.
_NO_DIRECTORY = (
    zipfile.BadZipFile,
    OSError,
    ValueError,
    RuntimeError,
    OverflowError,
    struct.error,
)


def read(source: str) -> dict:
    """Read a checkpoint on the CPU, with a clear message when it is none.

    Raises:
        InputError: there is no such file, or it is not a checkpoint.
    """
    source = os.fspath(source)
    if '://' not in source:
        check_file(source)
    try:
        checkpoint = CheckpointLoader.load_checkpoint(
            source, map_location='cpu', logger='silent'
        )
    except pickle.UnpicklingError as error:
        raise InputError(
            f'checkpoint {source} cannot be read: {why_unreadable(error)}'
        ) from error
    except (RuntimeError, EOFError, OSError) as error:
        reason = str(error).strip().partition('\n')[0]
        raise InputError(f'checkpoint {source} cannot be read: {reason}') from error
    state_dict_of(checkpoint, source)
    return checkpoint


def check_file(path: str) -> None:
    """Raise :class:`InputError` unless ``path`` is a complete file of torch.

    Only the directory at the end of the file is read, so this is quick.
    """
    path = os.path.expanduser(path)
    if not os.path.isfile(path):
        raise InputError(
            f'there is no checkpoint {path}; give the .pth file of a '
            'training, e.g. work_dirs/<config name>/epoch_1.pth'
        )
    with open(path, 'rb') as file:
        start = file.read(2)
    if start == b'PK' and not is_complete(path):
        raise InputError(
            f'checkpoint {path} is cut off: the program that wrote it was '
            'stopped, or the copy was; take an earlier checkpoint (--resume '
            'without a file name does) or copy it again'
        )
    # protocol byte of a pickle: the form torch wrote before version 1.6
    if start != b'PK' and start[:1] != b'\x80':
        raise InputError(
            f'{path} is not a checkpoint of PyTorch; give the .pth file of a training'
        )


def is_complete(path: str) -> bool:
    """Whether the zip file that torch.save writes has its end."""
    try:
        with zipfile.ZipFile(path) as archive:
            return bool(archive.namelist())
    except _NO_DIRECTORY:
        return False


def state_dict_of(checkpoint: object, source: str) -> dict[str, Tensor]:
    """Weights of a checkpoint, without the prefix that DDP puts before."""
    weights = checkpoint
    if isinstance(checkpoint, Mapping) and 'state_dict' in checkpoint:
        weights = checkpoint['state_dict']
    if not isinstance(weights, Mapping) or not any(
        isinstance(value, Tensor) for value in weights.values()
    ):
        raise InputError(
            f'{source} holds no weights: expected tensors by name, alone or '
            'below the key "state_dict"'
        )
    return {key.removeprefix('module.'): v for key, v in weights.items()}
