"""Refuse pickles that would end the process: tuples nested by the thousand.

Python computes the hash of a tuple, as of a key, by recursion without a limit.
"""

import io
import pickletools

from mnv2_mm.utils.errors import InputError

_DEPTH = 50  # of tuples in tuples


def check_pickle(content: io.BytesIO, source: str) -> None:
    """Follow the depth of tuples over the stack of the unpickler, to the pickle's end.

    Raises:
        InputError: tuples are nested deeply.
        ValueError: this is no pickle.
    """
    stack: list[int | None] = []  # depth of each value, None for a mark
    memo: dict[object, int | None] = {}
    for opcode, argument, _ in pickletools.genops(content):
        name = opcode.name
        if name == 'MARK':
            stack.append(None)
        elif name.endswith('GET'):
            stack.append(memo.get(argument, 0))
        elif name.endswith('PUT') or name == 'MEMOIZE':
            memo[len(memo) if argument is None else argument] = stack[-1]
        else:
            taken = _popped(stack, opcode.stack_before)
            depth = max(taken, default=0) + 1 if name.startswith('TUPLE') else 0
            if depth > _DEPTH:
                raise InputError(f'{source} is damaged: its tuples are nested deeply')
            stack += [depth for _ in opcode.stack_after]


def _popped(stack: list[int | None], before: list) -> list[int]:
    """Take from the stack what an operation of pickle takes."""
    taken: list[int] = []
    for kind in reversed(before):
        if kind is pickletools.stackslice:
            continue  # all down to the mark
        while stack:
            top = stack.pop()
            if top is not None:
                taken.append(top)
            if kind is not pickletools.markobject or top is None:
                break
    return taken
