"""Report any error of a backend as an InputError; theirs have no common class."""

import contextlib
from collections.abc import Iterator

from mnv2_mm.utils.errors import InputError


@contextlib.contextmanager
def backend_errors(backend: str, what: str) -> Iterator[None]:
    """Within it, an error becomes "BACKEND WHAT; export the model again (REASON)"."""
    try:
        yield
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        reason = lines[0].strip()[:300] if lines else type(error).__name__
        text = f'{backend} {what}; export the model again ({reason})'
        raise InputError(text) from error
