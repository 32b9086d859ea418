"""Download a file: resume, progress, digest.

torch.hub and pooch start over after a cut.
"""

import http.client
import re
import urllib.error
import urllib.request
from pathlib import Path

from filelock import FileLock
from rich.console import Console
from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

from mnv2_mm.checkpoints.source import digest_of
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.files import CACHE_VARIABLE

_TIMEOUT = 30  # seconds without a byte
_CHUNK = 1 << 18
_ATTEMPTS = 5  # after cuts
#: Bytes; no published file is near it.
_LARGEST = 1 << 30


def download(
    url: str, path: Path, *, digest: str = '', license: str = '', secure: bool = True
) -> None:
    """Download a file, or the rest of it where ``<path>.part`` has a beginning.

    Other processes that want the same file wait. A ``secure`` address must be https,
    unless there is a ``digest`` (such as ``'sha256:...'``). An InputError has three
    lines: why, the address, where to put the file by hand.
    """
    part = path.with_name(f'{path.name}.part')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f'{part}.lock'):
            if path.is_file():  # another process was first
                return
            print(f'downloading {path.name} ({license or url})', flush=True)
            attempts = (
                _go_on(url, part, secure=secure and not digest)
                for _ in range(_ATTEMPTS)
            )
            if not any(attempts):
                raise OSError(
                    f'cut {_ATTEMPTS} times; the next run goes on from where it ended'
                )
            algorithm, _, known = digest.partition(':')
            if known and (found := digest_of(algorithm, part)) != known:
                part.unlink()
                raise OSError(f'its {algorithm} is {found}, not the published one')
            part.replace(path)
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = str(getattr(error, 'reason', error)).partition('\n')[0]
        raise InputError(
            f'{path.name} could not be downloaded ({reason or type(error).__name__})\n'
            f'{_by_hand(url, path)}'
        ) from None


def check_digest(path: Path, url: str, digest: str) -> None:
    """Raise InputError unless a downloaded file has its digest.

    Where none is published, that of the first time is kept beside the file.
    """
    kept = digest or recorded_digest(path)
    algorithm = kept.partition(':')[0] or 'sha256'
    found = f'{algorithm}:{digest_of(algorithm, path)}'
    if not kept:
        print(f'{path.name}: no digest is published; it has {found}', flush=True)
        try:
            _record(path).write_text(f'{found}\n')
        except OSError as error:
            raise InputError(
                f'{_record(path)} cannot be written ({error.strerror}); set '
                f'{CACHE_VARIABLE} to a folder that can'
            ) from error
    elif found != kept:
        # a record that stays would refuse the next file too
        too = '' if digest else f', and {_record(path)} if the new file is meant'
        raise InputError(
            f'{path} is not the {"published" if digest else "first downloaded"} file '
            f'({kept}); remove it{too}\n{_by_hand(url, path)}'
        )


def recorded_digest(path: Path) -> str:
    """Digest that :func:`check_digest` kept for a file, ``''`` if none."""
    try:
        text = _record(path).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ''
    return text if re.fullmatch(r'sha256:[0-9a-f]{64}', text) else ''


def _record(path: Path) -> Path:
    return path.with_name(f'{path.name}.digest')


def _by_hand(url: str, path: Path) -> str:
    return f'Fetch {url}\nby hand to {path}, or give the file as weights'


def _go_on(url: str, part: Path, *, secure: bool) -> bool:
    """Download the rest of a file; whether it is complete then."""
    start = part.stat().st_size if part.is_file() else 0
    headers = {'Range': f'bytes={start}-'} if start else {}
    request = urllib.request.Request(url, headers=headers)
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not start:
            raise
        part.unlink()  # of another file, or complete: from the start
        return False
    with answer:
        if secure and not answer.url.startswith('https://'):
            raise OSError(f'{answer.url} is not https, and no digest is published')
        resumed = answer.status == http.HTTPStatus.PARTIAL_CONTENT
        if resumed and not (answer.headers['Content-Range'] or '').startswith(
            f'bytes {start}-'
        ):
            part.unlink()
            raise OSError('the server sent another part than asked for')
        start = start if resumed else 0
        length = answer.headers['Content-Length']
        total = start + int(length) if length else None
        if (total or 0) > _LARGEST:
            raise OSError(f'it has {total} bytes, more than {_LARGEST}')
        return _write(answer, part, start, total) >= (total or 0)


def _write(
    answer: http.client.HTTPResponse, part: Path, start: int, total: int | None
) -> int:
    """Write what follows byte ``start`` and show it; returns the size of the file."""
    columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    with (
        open(part, 'ab' if start else 'wb') as file,
        Progress(*columns, console=console, transient=True) as progress,
    ):
        task = progress.add_task(part.stem, total=total, completed=start)
        while chunk := answer.read(_CHUNK):
            file.write(chunk)
            progress.update(task, completed=file.tell())
            if file.tell() > _LARGEST:
                raise OSError(f'it has more than {_LARGEST} bytes')
        return file.tell()
