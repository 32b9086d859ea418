"""Count parameters and multiply-adds of a config's network.

One image, heads included, without NMS and resizing to the image. The
count needs no weights and no data, and is exact for any input size.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mnv2_mm.utils.cli import add_cfg_options, output_json, tool_parser
from mnv2_mm.utils.errors import InputError, command
from mnv2_mm.utils.files import write_json

if TYPE_CHECKING:
    from mnv2_mm.analysis.complexity import Complexity


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = tool_parser(
        'Parameters and multiply-adds of a network',
        'python tools/get_flops.py mnv2_in1k --shape 192 192 --per-layer',
        'python tools/get_flops.py deeplabv3_mnv2_voc --tta --convention s2b',
    )
    parser.add_argument('config', help='config file, or the name of one')
    parser.add_argument(
        '--shape',
        nargs='+',
        type=int,
        metavar='PIXELS',
        help='height and width of the input, or one side of a square '
        "(default: what the config's test pipeline leads to)",
    )
    parser.add_argument(
        '--tta',
        action='store_true',
        help="sum over the passes of the config's test-time augmentation",
    )
    parser.add_argument(
        '--convention',
        default='madds',
        help='madds: multiply-adds; flops: two per multiply-add; s2b: multiply-adds '
        "of TF's SpaceToBatch; madds+outputs, s2b+outputs: and one operation per "
        'output value (default: madds)',
    )
    parser.add_argument(
        '--per-layer', action='store_true', help='a line for each layer too'
    )
    parser.add_argument(
        '--json', type=output_json, metavar='FILE', help='write the numbers'
    )
    add_cfg_options(parser)
    return parser.parse_args()


def summary(counted: 'Complexity', convention: str) -> dict[str, object]:
    """What is printed and written."""
    from mnv2_mm.analysis.complexity import named_convention

    rule = named_convention(convention)
    return dict(
        sizes=counted.sizes,
        params=counted.num_params(),
        params_without_norm=counted.num_params(norm=False),
        convention=convention,
        operations=counted.cost(convention),
        madds=counted.cost(),
        layers=[
            dict(
                name=op.layer,
                output=op.shape,
                params=counted.params.get(op.layer, 0),
                operations=rule.cost(op),
            )
            for op in counted.passes[0]
        ],
    )


def show(found: dict[str, object], text: str, per_layer: bool) -> None:
    """Print the numbers."""
    sizes = found['sizes']
    if per_layer:
        print(f'{"layer":<52}{"output":<20}{"params":>12}{"ops":>16}')
        for layer in found['layers']:
            shape = 'x'.join(map(str, layer['output'][1:]))
            print(
                f'{layer["name"]:<52}{shape:<20}{layer["params"]:>12,}'
                f'{layer["operations"]:>16,}'
            )
        if len(sizes) > 1:
            print(f'(layers of the first of {len(sizes)} passes)')
        print()
    height, width = sizes[0]
    passes = f'{len(sizes)} passes from ' if len(sizes) > 1 else ''
    print(f'input:       {passes}{height}x{width} (height x width), batch 1')
    print(
        f'parameters:  {found["params"]:,} '
        f'({found["params_without_norm"]:,} without batch norm)'
    )
    print(f'cost:        {found["operations"]:,} ({text})')


@command
def main() -> int:
    """Count and print."""
    args = parse_args()

    from mnv2_mm.analysis.complexity import count_config, named_convention
    from mnv2_mm.analysis.network import checked_size
    from mnv2_mm.utils.config import apply_options, get_config
    from mnv2_mm.utils.console import filter_warnings, print_warnings

    filter_warnings()
    rule = named_convention(args.convention)
    size = None if args.shape is None else checked_size(args.shape)
    cfg = get_config(args.config)
    print_warnings(apply_options(cfg, args.cfg_options))
    if cfg.get('model') is None:
        raise InputError(f'config {args.config} has no model to count')
    counted = count_config(cfg, size=size, tta=args.tta)
    found = summary(counted, args.convention)
    show(found, rule.text, args.per_layer)
    if args.json:
        write_json(args.json, found)
        print(f'written to {args.json}')
    return 0


if __name__ == '__main__':
    main()
