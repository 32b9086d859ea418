"""Refuse a misspelt argument of a config when its object is built.

Python answers one with a TypeError that names the class whose ``__init__``
ran. With inheritance that is often a parent that the user never wrote.
"""

import functools
import inspect
from collections.abc import Collection, Iterable
from difflib import SequenceMatcher
from typing import Any, TypeVar, get_args

from mnv2_mm.utils.errors import InputError

_Class = TypeVar('_Class', bound=type)


def check_arguments(owner: str, given: Iterable[str], allowed: Collection[str]) -> None:
    """Raise InputError for the first unknown name, with the nearest right one."""
    for name in given:
        if name in allowed:
            continue

        def likeness(right: str, name: str = name) -> float:
            # a shortened name (negs) is like the start of the right one
            starts = right, right[: len(name)]
            return max(SequenceMatcher(None, name, s).ratio() for s in starts)

        nearest = max(allowed, key=likeness)
        hint = f'; did you mean {nearest!r}?' if likeness(nearest) > 0.6 else '.'
        raise InputError(
            f'{owner} takes no argument {name!r}{hint} It takes {", ".join(allowed)}'
        )


def check_choice(name: str, value: object, kind: object) -> None:
    """Raise an InputError if an argument is none of those of a ``Literal``."""
    if value not in get_args(kind):
        offered = ', '.join(map(str, get_args(kind)))
        raise InputError(f'{name}={value!r} is not offered; use one of {offered}')


def checked_arguments(cls: _Class) -> _Class:
    """Class decorator: check the keyword arguments before ``__init__`` runs.

    Allowed are the arguments of ``__init__`` and, where it passes ``**kwargs``
    on, those of the parent classes.
    """
    allowed: dict[str, None] = {}
    init = cls.__init__
    for parent in cls.__mro__:
        if '__init__' in vars(parent):
            _, *parameters = inspect.signature(parent.__init__).parameters.values()
            kinds = {p.name: p.kind.name for p in parameters}
            allowed |= dict.fromkeys(n for n, k in kinds.items() if 'VAR_' not in k)
            if 'VAR_KEYWORD' not in kinds.values():
                break

    @functools.wraps(init)
    def checked(self: object, *args: Any, **kwargs: Any) -> None:
        check_arguments(type(self).__name__, kwargs, allowed)
        init(self, *args, **kwargs)

    cls.__init__ = checked
    return cls
