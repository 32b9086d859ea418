"""Write a file whole or not at all, and try a place before hours of work.

The standard library has the parts (os.replace, tempfile) and nothing that joins them;
OpenCV's imwrite does not say why it failed. No heavy imports: the command lines use it
while they read their flags.
"""

import contextlib
import errno
import itertools
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mnv2_mm.utils.errors import InputError, disk_message, name_path

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

StrPath = str | os.PathLike
#: Names another folder than ``~/.cache/mnv2_mm``.
CACHE_VARIABLE = 'MNV2_MM_CACHE'
#: Of temporary names; threads share it.
_NUMBERS = itertools.count()


def user_path(path: StrPath) -> Path:
    """A path as a shell reads it; ``~name`` stays where there is no such user.

    ``Path.expanduser`` raises an error for a file ``~cat.jpg``.
    """
    return Path(os.path.expanduser(path))


def cache_folder() -> Path:
    """Folder of downloads, conversions and exports; created if it does not exist."""
    path = user_path(os.environ.get(CACHE_VARIABLE) or '~/.cache/mnv2_mm')
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f'the cache folder {path} cannot be created ({error.strerror}); set '
            f'{CACHE_VARIABLE} to another one'
        ) from error
    return path


def check_output(path: StrPath, *, folder: bool = False) -> None:
    """Raise an InputError if a file or a folder cannot be written; leaves nothing.

    Of folders that are missing, the nearest one that exists is tried.
    """
    path = user_path(path)
    try:
        place = path if folder else path.parent
        if path.is_dir() and not folder:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if _is_device(path):
            return
        while not place.exists():
            place = place.parent
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(bytes(4096))
    except OSError as error:
        error.filename = path
        message = disk_message(error) or f'{path} cannot be written: {error.strerror}'
        raise InputError(message) from error


def _is_device(path: Path) -> bool:
    """Whether it is something like /dev/null or /dev/stdout."""
    return path.exists() and not path.is_file() and not path.is_dir()


@contextlib.contextmanager
def whole_file(path: StrPath, *, beside: str | None = None) -> Iterator[Path]:
    """A name in the same folder to write to, which becomes ``path`` at the end.

    It has the same ending, by which some writers choose the format. After an error or
    an interrupt nothing is left. An OSError has ``path`` as its ``filename``.

    Args:
        path: The file.
        beside: A folder in that of ``path`` for a file that keeps its name while it is
            written, and that is on the disk, not only in memory, before it replaces
            ``path``; a power cut then loses neither.
    """
    path = user_path(path)
    target = Path(os.path.realpath(path))  # a link stays one
    # short, since the name of the file may be as long as the system allows
    name = f'.{os.getpid()}_{next(_NUMBERS)}{target.suffix}'
    part = target.with_name(name)
    if beside is not None:
        part = target.parent / beside / target.name
    with name_path(path, part=part):
        if _is_device(path):
            yield path
            return
        part.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            if beside is not None:
                _sync(part)
            os.replace(part, target)
        finally:
            with contextlib.suppress(OSError):  # a read-only system, for example
                part.unlink(missing_ok=True)
        if beside is not None and os.name == 'posix':
            _sync(target.parent)  # the new name is on the disk too


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def staging(work_dir: StrPath, *, earlier: Iterable[str] = ()) -> Iterator[Path]:
    """A folder whose files move to ``work_dir`` if no error is raised.

    Args:
        work_dir: The folder.
        earlier: Names of files of it that are removed then, unless they are replaced.

    Raises:
        InputError: ``work_dir`` cannot be written.
    """
    target = Path(work_dir)
    check_output(target, folder=True)
    target.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix='.unfinished_', dir=target))
    try:
        with name_path(target):
            yield stage
        files = sorted(stage.iterdir())
        for file in files:
            os.replace(file, target / file.name)
        for name in {*earlier} - {file.name for file in files}:
            (target / name).unlink(missing_ok=True)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        with contextlib.suppress(OSError):
            target.rmdir()  # succeeds only if it is empty


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """An empty folder to fill, which becomes ``path`` at the end; after an error none.

    It replaces what is there. Leftovers of programs that were killed are removed.

    Raises:
        InputError: ``path`` is the current folder, or another program has made it
            meanwhile.
    """
    path = Path(os.path.realpath(path))
    if path == Path.cwd() or path in Path.cwd().parents:
        raise InputError(f'{path} is the current folder or above it; give another one')
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    was_there = path.exists()
    prefix = f'.{path.name}-{os.getpid()}-'
    work = Path(tempfile.mkdtemp(prefix=prefix, dir=path.parent))
    made, old = work / 'made', work / 'old'
    try:
        made.mkdir()
        yield made
        if path.exists():
            if not was_there:
                raise InputError(f'{path} was made by another program meanwhile')
            path.rename(old)
        try:
            made.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _remove_leftovers(path: Path) -> None:
    """Remove the folders that killed programs have left beside a path."""
    name = re.compile(rf'\.{re.escape(path.name)}-(\d+)-\w{{8}}')
    for folder in path.parent.iterdir():
        match = name.fullmatch(folder.name)
        if not match or not (folder / 'made').is_dir():
            continue
        try:
            os.kill(int(match[1]), 0)  # does it still run?
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except (OverflowError, OSError):
            continue  # no process of ours, or of another user


def write_bytes(path: StrPath, data: bytes) -> None:
    """Write bytes."""
    with whole_file(path) as part:
        part.write_bytes(data)


def write_text(path: StrPath, text: str) -> None:
    """Write text as UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: StrPath, content: object) -> None:
    """Write JSON for people."""
    write_text(path, json.dumps(content, indent=1) + '\n')


def write_image(path: StrPath, image: 'np.ndarray', *parameters: int) -> None:
    """Write uint8 (H, W) or (H, W, 3) BGR with parameters of cv2.imwrite."""
    import cv2

    try:
        _, data = cv2.imencode(Path(path).suffix, image, parameters)
    except cv2.error as error:
        raise InputError(f'{path}: give a name that ends in .jpg or .png') from error
    write_bytes(path, data.tobytes())


def save_figure(figure: 'Figure', path: StrPath, *, dpi: int) -> None:
    """Write a figure of matplotlib."""
    try:
        with whole_file(path) as part:
            figure.savefig(part, dpi=dpi)
    except ValueError as error:  # an ending that matplotlib does not know
        raise InputError(f'{path}: {error}') from error
