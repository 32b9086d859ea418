"""The layers of MobileNetV2: Table 2, and the names TensorFlow gives them.

TF counts the stem as layer_1, the blocks as layer_2 to layer_18 and the last
1x1 convolution as layer_19. The expanded tensor inside of a block is
``layer_k/expansion_output``.
"""

import re
from typing import NamedTuple

from mnv2_mm.utils.errors import InputError


class Row(NamedTuple):
    """A row of Table 2: t, c, n, s."""

    expand_ratio: int
    channels: int
    repeats: int
    stride: int


TABLE_2 = (
    Row(1, 16, 1, 1),
    Row(6, 24, 2, 2),
    Row(6, 32, 3, 2),
    Row(6, 64, 4, 2),
    Row(6, 96, 3, 1),
    Row(6, 160, 3, 2),
    Row(6, 320, 1, 1),
)
STEM_CHANNELS = 32
LAST_CHANNELS = 1280
LAST_LAYER = 2 + sum(row.repeats for row in TABLE_2)  # 19
#: TF layer number of the last block of each stage, then of layer_19: what
#: the hosts' ``out_indices`` 0..7 mean.
STAGE_ENDS = (
    *(1 + sum(r.repeats for r in TABLE_2[: i + 1]) for i in range(7)),
    LAST_LAYER,
)
EXPANSION = '/expansion_output'
#: What ``frozen_stages`` counts: the stem, seven stages, layer_19.
PARTS = ('conv1', *(f'layer{i}' for i in range(1, 8)), 'conv2')


def parse_tap(tap: int | str) -> tuple[int, bool]:
    """Return the TF layer number of a tap and whether it is an expansion.

    >>> parse_tap('layer_15/expansion_output'), parse_tap(6)
    ((15, True), (18, False))
    """
    if isinstance(tap, int) and 0 <= tap < len(STAGE_ENDS):
        return STAGE_ENDS[tap], False
    match = re.fullmatch(rf'layer_(\d+)(/output|{EXPANSION})?', str(tap))
    if match:
        layer, expansion = int(match[1]), match[2] == EXPANSION
        first, last = (3, LAST_LAYER - 1) if expansion else (1, LAST_LAYER)
        if first <= layer <= last:
            return layer, expansion
    raise InputError(
        f'out_indices: the tap {tap!r} does not exist; use a stage index '
        f"0..{len(STAGE_ENDS) - 1}, 'layer_1'..'layer_{LAST_LAYER}' or "
        f"'layer_3{EXPANSION}'..'layer_{LAST_LAYER - 1}{EXPANSION}'"
    )
