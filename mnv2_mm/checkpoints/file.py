"""Read a checkpoint, or say in one sentence why it cannot be read.

Every file of PyTorch or safetensors that this package reads comes through :func:`read`.
A checkpoint is a pickle, and pickles can run code: only tensors and plain values are
read. Sizes and checksums are compared with the file before torch sees it, since a few
bytes can claim any size, and torch allocates first and ignores checksums. What is read
may still hold any value; :mod:`mnv2_mm.checkpoints.content` checks it.
"""

import contextlib
import io
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import TypeGuard

import torch
from torch import Tensor, nn

from mnv2_mm.checkpoints.addresses import CUT_OFF, local_file, other_content
from mnv2_mm.checkpoints.content import check_size
from mnv2_mm.checkpoints.pickles import check_pickle
from mnv2_mm.utils.compat import allow_checkpoints, required, why_unreadable
from mnv2_mm.utils.errors import InputError

#: Beginning of the pickle that torch wrote before version 1.6.
_MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, 'little')
_DAMAGED = 'is damaged or cut off; download or copy it again'
_DEPTH = 4  # of nested dictionaries
#: Memory beyond a few times the size of a file; a few bytes of pickle can ask for any.
_MEMORY = 512 << 20


def read(source: str | os.PathLike, *, trust: bool = False) -> dict:
    """Read a checkpoint on the CPU.

    Args:
        source: A file of torch.save or safetensors, or an address that mmengine knows.
        trust: Let this file run code. Only ``tools/convert_weights.py --trust`` does.

    Returns:
        A dictionary with tensors at some depth. They may be mapped from the file: copy
        what must outlive it.

    Raises:
        InputError: the file is missing, damaged, without weights, or would run code.
    """
    source = path = os.path.expanduser(os.fspath(source))
    try:
        if '://' in source:
            path = local_file(source)
        if is_safetensors(path):
            reader = required('safetensors.torch', f'reading {source}')
            content = reader.load_file(path)
        else:
            content = _load_torch(path, trust)
            if trust:
                content = _without_modules(content)
        content = _checked(content, source, _DEPTH)
        check_size(content, source, os.path.getsize(path))
    except InputError:
        raise
    except (UnpicklingError, OSError) as error:
        reason = first_line(error)
        if isinstance(error, UnpicklingError):
            reason = why_unreadable(error)
        raise InputError(f'checkpoint {source} cannot be read: {reason}') from error
    except Exception as error:  # of damaged bytes
        if trust and isinstance(error, AttributeError | ImportError):
            raise InputError(
                f'{source} holds objects of code that is not found '
                f'({first_line(error)}); add its folder to PYTHONPATH'
            ) from error
        raise InputError(f'{source} {_DAMAGED} ({first_line(error)})') from error
    return content


def check_file(path: str | os.PathLike) -> None:
    """Raise InputError unless ``path`` is a whole file of torch, by its two ends."""
    path = os.path.expanduser(path)
    if not os.path.isfile(path):
        raise InputError(
            f'there is no checkpoint {path}; correct the path (a training leaves its '
            'files in work_dirs/<config name>)'
        )
    what = other_content(path)
    if what == CUT_OFF:
        raise InputError(
            f'checkpoint {path} is cut off; copy it again or take an earlier one'
        )
    if what:
        raise InputError(f'{path} is {what}; download the weights themselves')
    with open(path, 'rb') as file:
        start = file.read(2)
    if start != b'PK' and start[:1] != b'\x80':  # of a pickle
        raise InputError(
            f'{path} is not a checkpoint of PyTorch; give the .pth file of a training'
        )


def is_safetensors(path: str | os.PathLike) -> bool:
    """Whether a file begins with a length and a JSON object."""
    if not os.path.isfile(path):
        return False
    with open(path, 'rb') as file:
        start = file.read(9)
    return start[8:] == b'{' and start[:2] != b'PK'


def state_dict_of(checkpoint: object, source: str) -> dict[str, Tensor]:
    """Weights of a checkpoint, without the prefix that DDP adds."""
    weights = checkpoint
    if isinstance(checkpoint, Mapping) and 'state_dict' in checkpoint:
        weights = checkpoint['state_dict']
    weights = _checked(weights, source, 1)
    for key, value in weights.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise InputError(
                f'{source} is damaged: {key!r} among its weights is no tensor with a '
                'name'
            )
    return {key.removeprefix('module.'): v for key, v in weights.items()}


def holds_tensors(content: object, depth: int = _DEPTH) -> TypeGuard[dict]:
    """Whether a dictionary, or one nested in it, holds a tensor."""
    return (
        depth > 0
        and isinstance(content, Mapping)
        and any(
            isinstance(value, Tensor) or holds_tensors(value, depth - 1)
            for value in content.values()
        )
    )


def first_line(error: Exception) -> str:
    """Kind and first line of an exception that is not ours."""
    text = str(error).strip().partition('\n')[0]
    return f'{type(error).__name__}: {text[:200]}'


def _checked(content: object, source: str, depth: int) -> dict:
    if holds_tensors(content, depth):
        return content
    raise InputError(
        f'{source} holds no weights: expected tensors by name, alone or below the key '
        '"state_dict"'
    )


def _without_modules(content: object) -> object:
    """Weights in place of whole models, alone or by name."""
    if isinstance(content, nn.Module):
        return content.state_dict()
    if isinstance(content, Mapping):
        return {
            key: value.state_dict() if isinstance(value, nn.Module) else value
            for key, value in content.items()
        }
    return content


def _load_torch(path: str, trust: bool) -> object:
    check_file(path)
    if path.endswith('.safetensors'):
        raise InputError(
            f'{path} is no safetensors file (it has no header); download it again'
        )
    with open(path, 'rb') as file:
        archive = file.read(2) == b'PK'
    allow_checkpoints()
    with contextlib.nullcontext() if trust else _limited_memory(os.path.getsize(path)):
        (_check_archive if archive else _check_pickles)(path)
        # mapped, no tensor can reach beyond the file
        return torch.load(
            path, map_location='cpu', weights_only=not trust, mmap=archive
        )


@contextlib.contextmanager
def _limited_memory(size: int) -> Iterator[None]:
    """Limit what reading a file of ``size`` bytes may allocate; on Linux only."""
    try:
        import resource

        pages = int(Path('/proc/self/statm').read_text().split()[0])
    except (ImportError, OSError):
        yield
        return
    old = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + 4 * size + _MEMORY
    limit = min([limit, *(value for value in old if value != resource.RLIM_INFINITY)])
    resource.setrlimit(resource.RLIMIT_AS, (limit, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, old)


def _check_archive(path: str) -> None:
    """Refuse a zip file that torch would misread, or that is damaged."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        names = {name.partition('/')[2] for name in archive.namelist()}
        if 'constants.pkl' in names:
            raise InputError(
                f'{path} is a TorchScript archive, which holds code; where you trust '
                'it, torch.save(torch.jit.load(FILE).state_dict(), "weights.pth")'
            )
        if 'data.pkl' not in names:
            raise InputError(
                f'{path} is a zip file, but no checkpoint of PyTorch (it has no '
                'data.pkl); give the .pth file'
            )
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise InputError(
                f'{path} was compressed after torch.save; pack it again with zip -0'
            )
        if sum(entry.file_size for entry in entries) > os.path.getsize(path):
            raise InputError(f'{path} {_DAMAGED} (its parts overlap)')
        for entry in entries:
            if not entry.CRC:  # torch can be told to write no checksums
                del entry.CRC
            with archive.open(entry) as content:
                # torch finds it in any case
                if entry.filename.lower().endswith('data.pkl'):
                    check_pickle(io.BytesIO(content.read()), path)
                while content.read(1 << 20):
                    pass


def _check_pickles(path: str) -> None:
    """Check a file of the old format: a magic number, versions and the objects."""
    content = io.BytesIO(Path(path).read_bytes())
    if _MAGIC not in content.read(64):
        raise InputError(
            f'{path} is a pickle, but not one of PyTorch; where you trust it, load it '
            'and save its weights with torch.save'
        )
    content.seek(0)
    for _ in range(5):  # the last one has the names of the values that follow
        check_pickle(content, path)
