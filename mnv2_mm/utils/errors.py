"""Error for bad input, and the decorator by which a command line prints it."""

import functools
import os
import re
import sys
from collections.abc import Callable

#: Set to 1 to see the Python traceback below an error message.
TRACEBACK_VARIABLE = 'MNV2_MM_TRACEBACK'


class InputError(ValueError):
    """Bad input; the message names the thing and the remedy."""


def message_of(error: BaseException) -> str:
    """The message without what mmengine's registry and data loaders put before it."""
    text = str(error)
    if 'Original Traceback' in text:  # raised in a data-loader worker
        text = re.split(r'\n\S*InputError: ', text)[-1]
    # "class `X` in package/module.py: message", once per nested build
    return re.sub(r'^(class `\w+` in \S+?\.py: )+', '', text.strip())


def command(main: Callable[[], int | None]) -> Callable[[], None]:
    """Turn ``main`` into an entry point that ends with a plain message.

    An :class:`InputError` prints ``error: <message>`` and exits with 2, an interrupt
    exits with 130. Every other exception is a defect of the program and keeps its
    traceback.
    """

    @functools.wraps(main)
    def run() -> None:
        try:
            sys.exit(main())
        except InputError as error:
            if os.environ.get(TRACEBACK_VARIABLE) == '1':
                raise
            print(f'\nerror: {message_of(error)}', file=sys.stderr)
            sys.exit(2)
        except KeyboardInterrupt:
            print('\ninterrupted', file=sys.stderr)
            sys.exit(130)

    return run
