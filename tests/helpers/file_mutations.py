"""Strategies of hypothesis that damage the bytes of a file."""

from hypothesis import strategies as st

#: Lengths, counts and offsets that readers tend to get wrong.
_EDGES = [
    value.to_bytes(size, 'little', signed=value < 0)
    for size in (1, 2, 4, 8)
    for value in (0, 1, -1, 127, 1 << (8 * size - 2))
    if value < 1 << (8 * size - 1)
]


def mutations(data: bytes) -> st.SearchStrategy[bytes]:
    """``data`` with up to five edits: bytes changed, removed, repeated or inserted."""
    place = st.integers(0, len(data))
    length = st.integers(1, 64)
    piece = st.binary(min_size=1, max_size=8) | st.sampled_from(_EDGES)
    edit = (
        st.tuples(st.just('change'), place, piece)
        | st.tuples(st.just('insert'), place, piece)
        | st.tuples(st.just('remove'), place, length)
        | st.tuples(st.just('copy'), place, place, length)
        | st.tuples(st.just('cut'), place)
    )
    return st.lists(edit, min_size=1, max_size=5).map(lambda edits: _apply(data, edits))


def _apply(data: bytes, edits: list[tuple]) -> bytes:
    for kind, at, *rest in edits:
        if kind == 'change':
            data = data[:at] + rest[0] + data[at + len(rest[0]) :]
        elif kind == 'insert':
            data = data[:at] + rest[0] + data[at:]
        elif kind == 'remove':
            data = data[:at] + data[at + rest[0] :]
        elif kind == 'copy':
            data = data[:at] + data[rest[0] :][: rest[1]] + data[at:]
        else:
            data = data[:at]
    return data
