"""Read a checkpoint of PyTorch that nobody vouches for.

A checkpoint is a pickle, and pickles can run code: only tensors and plain
values are ever read. Sizes and checksums are compared with the file before
torch sees it, since a few bytes can claim any size, and torch allocates
first and does not look at checksums.
"""

import io
import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from pickle import UnpicklingError

import torch

from mnv2_mm.checkpoints.file import check_file
from mnv2_mm.utils.compat import allow_checkpoints, why_unreadable
from mnv2_mm.utils.errors import InputError

#: For messages, behind the name of a file.
DAMAGED = 'is damaged or cut off; download or copy it again'

_MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, 'little')
_BEGINNINGS = {
    b'<': 'a web page, as servers send in place of a file that moved',
    b'version https://git-lfs': 'a pointer of Git LFS to the file',
}


def read_pickle(path: Path) -> object:
    """What torch.load gives, as far as it is tensors and plain values.

    Raises:
        InputError: the file is damaged, of another kind, or wants to run
            code.
    """
    with open(path, 'rb') as file:
        start = file.read(64)
    for beginning, what in _BEGINNINGS.items():
        if start.lstrip().startswith(beginning):
            raise InputError(f'{path} is {what}; download the weights themselves')
    check_file(str(path))
    archive = start[:2] == b'PK'
    try:
        if archive:
            _check_archive(path)
        else:
            _check_storages(path, start)
        allow_checkpoints()
        # mapped, no tensor can reach beyond the file
        return torch.load(
            str(path), map_location='cpu', weights_only=True, mmap=archive
        )
    except InputError:
        raise
    except UnpicklingError as error:
        raise InputError(f'{path} cannot be read: {why_unreadable(error)}') from error
    except Exception as error:  # damaged bytes can end in any exception
        raise InputError(f'{path} {DAMAGED} ({brief(error)})') from error


def brief(error: Exception) -> str:
    """Kind and first line of an exception that is not ours."""
    text = str(error).strip().partition('\n')[0]
    return f'{type(error).__name__}: {text[:200]}'


def _check_archive(path: Path) -> None:
    """Refuse a zip file that torch would misread, or that is damaged."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        names = {name.partition('/')[2] for name in archive.namelist()}
        if 'constants.pkl' in names:
            raise InputError(
                f'{path} is a TorchScript archive, which holds code; where '
                'you trust it, save its weights alone: torch.save('
                'torch.jit.load(FILE).state_dict(), "weights.pth")'
            )
        if 'data.pkl' not in names:
            raise InputError(
                f'{path} is a zip file, but no checkpoint of PyTorch (it has '
                'no data.pkl); give the .pth file'
            )
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise InputError(
                f'{path} was compressed after torch.save wrote it; unpack it '
                'and pack it again without compression (zip -0)'
            )
        if sum(e.file_size for e in entries) > path.stat().st_size:
            raise InputError(f'{path} {DAMAGED} (its parts overlap)')
        for entry in entries:
            # torch can be told to write no checksums
            if entry.CRC:
                with archive.open(entry) as content:
                    while content.read(1 << 20):
                        pass


def _check_storages(path: Path, start: bytes) -> None:
    """Compare the sizes that a file of the old format claims with its own.

    Behind four pickles (a magic number, versions, the objects) stand the
    values.
    """
    if _MAGIC not in start:
        raise InputError(
            f'{path} is a pickle, but not one of PyTorch; where you trust '
            'it, load it and save its weights with torch.save'
        )
    content = io.BytesIO(path.read_bytes())
    for _ in range(4):
        for size in _storage_sizes(content):
            if size > path.stat().st_size:
                raise InputError(
                    f'{path} {DAMAGED} (it claims {size} values in one tensor)'
                )


def _storage_sizes(content: io.BytesIO) -> Iterator[int]:
    """Numbers of values: the largest integers in persistent ids."""
    largest = 0
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name == 'MARK':
            largest = 0
        elif opcode.name == 'BINPERSID':
            yield largest
        elif isinstance(argument, int) and opcode.name[-3:] not in (
            'PUT',
            'GET',
        ):
            largest = max(largest, argument)
