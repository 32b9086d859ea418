"""Errors that a command line prints as one message: bad input, and full disks."""

import contextlib
import errno
import functools
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

#: The environment that tools/setup_env.sh makes in a clone.
ACTIVATE = Path(__file__).resolve().parents[2] / '.venv/bin/activate'
#: Set to 1 to see the Python traceback below an error message.
TRACEBACK_VARIABLE = 'MNV2_MM_TRACEBACK'

#: Errors of a disk: it is full or broken, or the path cannot be written.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.EISDIR}
_REFUSED |= {errno.ENOTDIR, errno.ENAMETOOLONG}


class InputError(ValueError):
    """Bad input; the message names the thing and the remedy."""


@contextlib.contextmanager
def name_path(path: str | os.PathLike, *, part: object = None) -> Iterator[None]:
    """Name ``path`` in an OSError that names none, or its temporary name ``part``.

    open() names the file in its error, write() and close() do not.
    """
    try:
        yield
    except OSError as error:
        # without an errno the text is all, and a name would replace it
        if error.errno and (error.filename is None or str(error.filename) == str(part)):
            error.filename, error.filename2 = os.fspath(path), None
        raise


def disk_message(error: BaseException) -> str | None:
    """One sentence about a disk that refuses a file; None for other errors."""
    free = 'free space, raise the limit, or choose another disk'
    if not isinstance(error, OSError | RuntimeError):
        return None
    for seen in _chain(error):  # torch.save raises a RuntimeError over that of the disk
        if isinstance(seen, OSError) and seen.errno in _FULL | _REFUSED:
            path, why = seen.filename or 'the output', os.strerror(seen.errno).lower()
            remedy = free if seen.errno in _FULL else 'choose another path'
            return f'{path}: {why}; {remedy}'
    if re.search('PytorchStreamWriter failed|iostream error', str(error)):
        return f'the checkpoint cannot be written; {free}'
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and those behind it."""
    while error is not None:
        yield error
        error = error.__context__


def is_interrupt(error: BaseException) -> bool:
    """Whether an interrupt is behind an error, as where mmengine formats a config."""
    return any(isinstance(seen, KeyboardInterrupt) for seen in _chain(error))


def missing_message(error: BaseException) -> str | None:
    """One sentence about a package that is missing, or that lacks its ops."""
    check = f'{shlex.quote(sys.executable)} -m mnv2_mm.check'
    name = getattr(error, 'name', None) if isinstance(error, ImportError) else None
    if name == 'mmcv._ext' or 'operator torchvision::' in str(error):
        return (
            f'{"mmcv" if name else "torchvision"} has no compiled ops that work here; '
            f'run {check} --repair'
        )
    top = (name or 'mnv2_mm').partition('.')[0]
    if isinstance(error, ModuleNotFoundError) and top != 'mnv2_mm':
        if (
            ACTIVATE.is_file()
            and ACTIVATE.parents[1].resolve() != Path(sys.prefix).resolve()
        ):
            place = shlex.quote(str(ACTIVATE))
            return f'{top} is not installed in this environment; run: source {place}'
        return f'{top} is not installed; {check} says how to install it'
    return None


def message_of(error: BaseException) -> str:
    """The message without what mmengine's registry and data loaders put before it."""
    text = str(error)
    if isinstance(error, KeyError) and ' ' in text:  # a sentence, shown in quotes
        text = str(error.args[0])
    if 'Original Traceback' in text:  # raised in a data-loader worker
        text = re.split(r'\n\S*InputError: ', text)[-1]
    # "class `X` in package/module.py: message", once per nested build
    return re.sub(r'^(class `\w+` in \S+?\.py: )+', '', text.strip())


def command(main: Callable[[], int | None]) -> Callable[[], None]:
    """Turn ``main`` into an entry point that ends with a plain message.

    An :class:`InputError`, an error of a disk that refuses a file, and a missing
    package print ``error: <message>`` and exit with 2; an interrupt exits with 130.
    Every other exception is a defect of the program and keeps its traceback.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        """Leave at once while ``main`` imports: torch's C++ aborts at an exception."""
        inner = ''
        while frame is not None:
            if frame.f_code is main.__code__ and inner.startswith('<frozen importlib'):
                os.write(2, b'\ninterrupted\n')
                os._exit(130)
            inner, frame = frame.f_code.co_filename, frame.f_back
        raise KeyboardInterrupt

    @functools.wraps(main)
    def run() -> None:
        # a shell ignores interrupts for what runs in the background; so be it
        before = signal.getsignal(signal.SIGINT)
        if before == signal.default_int_handler:
            signal.signal(signal.SIGINT, interrupt)
        try:
            sys.exit(main())
        except BrokenPipeError:
            if not _is_stdout_closed():
                raise  # a pipe of the program itself
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except Exception as error:
            text = message_of(error) if isinstance(error, InputError) else None
            text = text or disk_message(error) or missing_message(error)
            if is_interrupt(error):
                _interrupted()
            if text is None or os.environ.get(TRACEBACK_VARIABLE) == '1':
                raise
            print(f'\nerror: {text}', file=sys.stderr)
            sys.exit(2)
        except KeyboardInterrupt:
            _interrupted()
        finally:
            if signal.getsignal(signal.SIGINT) == interrupt:
                signal.signal(signal.SIGINT, before)

    return run


def _is_stdout_closed() -> bool:
    """Whether the reader of the output is gone, as `| head` when it has enough."""
    try:
        os.write(sys.stdout.fileno(), b'\n')
    except BrokenPipeError:
        return True
    return False


def _interrupted() -> None:
    """End; a second interrupt would give the clean-up a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.environ.get('RANK', '0') == '0':
        print('\ninterrupted', file=sys.stderr)
    sys.exit(130)
