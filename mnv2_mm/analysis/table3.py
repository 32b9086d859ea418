"""Table 3: the largest tensor at each resolution, from the built networks.

The paper lists channels and kilobytes (1000 bytes, 16 bits a value) of the
tensors between blocks; what is inside of a block is disposable. It leaves
out the 32 channels of the first layer, which are computed in a stream with
the block after it. Three things in the printed table are not what these
networks have, and are counted both ways here:

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
    """A column of Table 3.

    Attributes:
        name: The network.
        config: The file in configs/.
        block: Class of the blocks that are one operation each; '' where
            every layer is one.
        stem: Paths of modules that are computed in one stream.
        paper: (channels, kB) as printed, by resolution; empty for what the
            table does not have.
        paper_largest: The kB that the table names as the maximum, where that is
            not the largest of the column.
        by_input: Count as the paper does MobileNetV2, see the module.
    """

    name: str
    config: str
    block: str = ''
    stem: tuple[str, ...] = ()
    paper: tuple[tuple[int, int], ...] = ()
    paper_largest: int | None = None
    by_input: bool = False


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
    channels = count_columns(str(config_root()), progress=progress)
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
    root: str, *, progress: Callable[[str], object] = lambda name: None
) -> dict[str, dict[int, int]]:
    """Channels of the largest tensor, by column and resolution.

    Args:
        root: Folder of the configs.
        progress: Gets the name of what is counted.
    """
    records: dict[str, tuple[Trace, dict[str, str]]] = {}
    found = {}
    for column in COLUMNS:
        if column.config not in records:
            progress(f'Table 3: {column.config}')
            model = build_network(f'{root}/{column.config}')
            classes = {
                name: type(module).__name__ for name, module in model.named_modules()
            }
            records[column.config] = trace(model, INPUT), classes
        record, classes = records[column.config]
        blocks = {
            name: name
            for name, kind in classes.items()
            if column.block and kind == column.block
        }
        blocks.update(dict.fromkeys(column.stem, 'stem'))
        if column.by_input:
            found[column.name] = _by_input(record, blocks)
        else:
            found[column.name] = {
                row.size[0]: row.channels
                for row in largest_by_resolution(record, blocks=blocks)
            }
    return found


def _by_input(record: Trace, blocks: dict[str, str]) -> dict[int, int]:
    """The most output channels of the blocks that start at a resolution.

    The first row of the paper is an exception, the output of its block, and
    so is the last, which no block makes.
    """
    channels = {
        row.size[0]: row.channels
        for row in largest_by_resolution(record, blocks=blocks)
        if row.size[0] in (max(RESOLUTIONS), min(RESOLUTIONS))
    }
    for source, made in transitions(record, blocks):
        side = source[2]
        if side < max(RESOLUTIONS):
            channels[side] = max(channels.get(side, 0), made[1])
    return channels
