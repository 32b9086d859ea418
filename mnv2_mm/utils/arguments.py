"""Refuse a misspelt argument of a config when its object is built.

Python answers one with a TypeError that names the class whose ``__init__``
ran. With inheritance that is often a parent that the user never wrote.
"""

import functools
import inspect
from collections.abc import Collection, Iterable
from difflib import SequenceMatcher
from typing import Any, TypeVar

from mnv2_mm.utils.errors import InputError

_Class = TypeVar('_Class', bound=type)


def check_arguments(owner: str, given: Iterable[str], allowed: Collection[str]) -> None:
    """Raise InputError for the first unknown name, with the nearest right one.

    Args:
        owner: What takes the arguments, as a user writes it.
        given: Names of the arguments.
        allowed: Names that ``owner`` takes.
    """
    for name in given:
        if name in allowed:
            continue
        nearest = max(allowed, key=functools.partial(_likeness, name))
        hint = f'; did you mean {nearest!r}?' if _likeness(name, nearest) > 0.6 else '.'
        raise InputError(
            f'{owner} takes no argument {name!r}{hint} It takes {", ".join(allowed)}'
        )


def checked_arguments(cls: _Class) -> _Class:
    """Class decorator: check the keyword arguments before ``__init__`` runs.

    Allowed are the arguments of ``__init__`` and, where it passes ``**kwargs``
    on, those of the parent classes.
    """
    allowed = _arguments_of(cls)
    init = cls.__init__

    @functools.wraps(init)
    def checked(self: object, *args: Any, **kwargs: Any) -> None:
        check_arguments(type(self).__name__, kwargs, allowed)
        init(self, *args, **kwargs)

    cls.__init__ = checked
    return cls


def _arguments_of(cls: type) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for parent in cls.__mro__:
        if '__init__' not in vars(parent):
            continue
        _, *parameters = inspect.signature(parent.__init__).parameters.values()
        named = [
            p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
        ]
        names |= dict.fromkeys(p.name for p in named)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return tuple(names)


def _likeness(name: str, right: str) -> float:
    """0 to 1; a shortened name (``negs``) is like the start of the right one."""
    return max(
        SequenceMatcher(None, name, other).ratio()
        for other in (right, right[: len(name)])
    )
