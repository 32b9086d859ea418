"""Error for bad input, and the decorator by which a command line prints it.

A mistake of the user (a config value, a data set, a checkpoint) raises
:class:`InputError`. Its text names the thing and the remedy. The command-line
tools print that text alone; libraries see a ``ValueError``.
"""

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
    """The sentence a user needs, without what the stack added to it.

    mmengine's registry and torch's data loader re-raise an exception under
    the same type with their own lines put before the message.
    """
    text = str(error)
    if 'Original Traceback' in text:  # raised in a data-loader worker
        text = re.split(r'\n\S*InputError: ', text)[-1]
    # "class `X` in package/module.py: message", once per nested build
    text = re.sub(r'^(class `\w+` in \S+?\.py: )+', '', text.strip())
    return text


def command(main: Callable[[], int | None]) -> Callable[[], None]:
    """Turn ``main`` into an entry point that ends with a plain message.

    An :class:`InputError` prints ``error: <message>`` and exits with 2, an
    interrupt exits with 130. Every other exception keeps its traceback: it is a
    defect of the program.
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
