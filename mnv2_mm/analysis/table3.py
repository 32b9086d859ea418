"""Table 3: the largest tensor at each resolution, from the built networks.

The paper lists channels and kilobytes (1000 bytes, 16 bits a value) of the
tensors between blocks, without the 32 channels of the first layer, which are
computed in a stream with the block after it. Three things in the printed table
are not what these networks have, and are counted both ways here:

* MobileNetV2, 56 to 7: the channels of the *next* resolution's blocks (32,
  64, 160, 320) at the resolution of their input. There, tensors have 24,
  32, 96 and 320. The first row, and so the maximum of 400K, is unaffected.
* ShuffleNet: captioned 2x with g=3, listed 400/800/1600, which is g=2.
* MobileNetV1 at 7x7: 199 kB, twice what 1024 channels take.
"""

from collections.abc import Callable
from dataclasses import dataclass

from mnv2_mm.analysis.memory import largest_by_resolution, transitions
from mnv2_mm.analysis.network import build_network
from mnv2_mm.analysis.trace import Trace, trace
from mnv2_mm.utils.config import config_root

BYTES_PER_VALUE = 2
RESOLUTIONS = (112, 56, 28, 14, 7, 1)
INPUT = (224, 224)


@dataclass(frozen=True)
class Column:
    """A column of Table 3."""

    name: str
    config: str
    block: str = ''  # class of the blocks that are one operation each
    stem: tuple[str, ...] = ()  # paths of modules that are computed in one stream
    paper: tuple[tuple[int, int], ...] = ()  # (channels, kB) by resolution
    paper_largest: int | None = None  # where it is not the largest of the column
    by_input: bool = False  # count as the paper does MobileNetV2, see the module


_V1 = ((64, 1600), (128, 800), (256, 400), (512, 200), (1024, 199), (1024, 2))
_V2 = ((16, 400), (32, 200), (64, 100), (160, 62), (320, 32), (1280, 2))
_SHUFFLE = ((32, 800), (48, 300), (400, 600), (800, 310), (1600, 156), (1600, 3))
_V1_CONFIG, _V2_CONFIG = 'table4/mobilenet_v1.py', 'table4/mobilenet_v2.py'
_STREAM = ('backbone.conv1', 'backbone.layer1.0')
_V2_STREAM = dict(config=_V2_CONFIG, block='InvertedResidual', stem=_STREAM)
_UNITS = dict(block='ShuffleUnit', stem=('backbone.conv1', 'backbone.maxpool'))
_G2, _G3 = 'table3/shufflenet_w200_g2.py', 'table4/shufflenet_w200_g3.py'
COLUMNS = (
    Column('MobileNetV1', _V1_CONFIG, paper=_V1),
    Column('MobileNetV2, as the paper counts', **_V2_STREAM, paper=_V2, by_input=True),
    Column('MobileNetV2, between blocks', **_V2_STREAM),
    Column('MobileNetV2, first layer kept', _V2_CONFIG, block='InvertedResidual'),
    Column('MobileNetV2, inside of blocks too', _V2_CONFIG),
    Column('ShuffleNet 2x, g=2', _G2, **_UNITS, paper=_SHUFFLE, paper_largest=600),
    Column('ShuffleNet 2x, g=3', _G3, **_UNITS),
)


def kilobytes(resolution: int, channels: int) -> float:
    """Of a square map; 1000 bytes, 16 bits a value."""
    return resolution**2 * channels * BYTES_PER_VALUE / 1000


def count_table3(progress: Callable[[str], object]) -> list[dict[str, object]]:
    """One dictionary for each column and resolution, counted and printed."""
    channels = count_columns(progress)
    results = []
    for column in COLUMNS:
        paper = dict(zip(RESOLUTIONS, column.paper, strict=False))
        for side in RESOLUTIONS:
            counted = channels[column.name].get(side)
            paper_channels, paper_kilobytes = paper.get(side, (None, None))
            results.append(
                dict(
                    table='3',
                    row=f'{column.name}, {side}x{side}',
                    config=f'configs/{column.config}',
                    column=column.name,
                    resolution=side,
                    channels=counted,
                    kilobytes=counted and kilobytes(side, counted),
                    paper_channels=paper_channels,
                    paper_kilobytes=paper_kilobytes,
                    convention='largest tensor, 2 bytes a value, kB of 1000',
                    source='quoted from the paper',
                )
            )
    return results


def count_columns(
    progress: Callable[[str], object] = lambda name: None,
) -> dict[str, dict[int, int]]:
    """Channels of the largest tensor, by column and resolution."""
    records: dict[str, tuple[Trace, dict[str, str]]] = {}
    found = {}
    for column in COLUMNS:
        if column.config not in records:
            progress(f'Table 3: {column.config}')
            model = build_network(config_root() / column.config)
            kinds = {name: type(part).__name__ for name, part in model.named_modules()}
            records[column.config] = trace(model, INPUT), kinds
        record, kinds = records[column.config]
        blocks = {name: name for name, kind in kinds.items() if kind == column.block}
        blocks |= dict.fromkeys(column.stem, 'stem')
        rows = largest_by_resolution(record, blocks=blocks)
        channels = {row.size[0]: row.channels for row in rows}
        if column.by_input:
            channels = _by_input(record, blocks, channels)
        found[column.name] = channels
    return found


def _by_input(
    record: Trace, blocks: dict[str, str], largest: dict[int, int]
) -> dict[int, int]:
    """The most output channels of the blocks that start at a resolution.

    The first row of the paper is an exception, the output of its block, and
    so is the last, which no block makes.
    """
    first, *_, last = RESOLUTIONS
    channels = {side: largest[side] for side in (first, last)}
    for source, made in transitions(record, blocks):
        side = source[2]
        if side < first:
            channels[side] = max(channels.get(side, 0), made[1])
    return channels
