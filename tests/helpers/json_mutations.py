"""Strategies of hypothesis that change a JSON value somewhere inside."""

import copy
from typing import Any

from hypothesis import strategies as st

_NUMBERS = st.sampled_from([0, -1, 1, 2, 4096, 10**6, 2**63, 10**400, 1e-300, 1e300])
_PLAIN = (
    st.none()
    | st.booleans()
    | _NUMBERS
    | st.floats()
    | st.integers()
    | st.text(max_size=8)
)


def json_values(*words: str) -> st.SearchStrategy:
    """Any JSON value; ``words`` are drawn often."""
    leaves = st.sampled_from(words) | _PLAIN if words else _PLAIN
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.text(max_size=8), inner, max_size=4)
        ),
        max_leaves=8,
    )


def places(value: Any, front: tuple = ()) -> list[tuple]:
    """Paths of all values inside."""
    pairs: Any = ()
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = enumerate(value)
    found = [front] if front else []
    for key, inner in pairs:
        found += places(inner, (*front, key))
    return found


def json_mutations(original: Any, *words: str) -> st.SearchStrategy:
    """``original`` with one to three values replaced, removed or repeated."""
    values = json_values(*words)
    edit = st.tuples(
        st.sampled_from(places(original)),
        st.sampled_from(['replace', 'replace', 'replace', 'remove', 'repeat']),
        values,
    )
    edits = st.lists(edit, min_size=1, max_size=3)
    return edits.map(lambda changes: _apply(original, changes))


def _apply(original: Any, edits: list[tuple]) -> Any:
    changed = copy.deepcopy(original)
    for (*front, last), kind, value in edits:
        inner = changed
        try:
            for key in front:
                inner = inner[key]
            if kind == 'remove':
                del inner[last]
            elif kind == 'repeat' and isinstance(inner, list):
                inner.append(inner[last])
            else:
                inner[last] = value
        except (LookupError, TypeError):
            continue  # an earlier edit has removed the place
    return changed
