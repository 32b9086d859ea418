"""What computing expanded tensors in parts saves and costs (section 5.1).

For each number of parts: the peak of the backbone's activations computed
from a recorded pass (equation 2), the peak measured by following torch's
storages on the CPU, and the time. The variants take turns, and the time is
the processor's, so that other work on the machine does not count.
"""

import argparse
import copy
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mnv2_mm.utils.cli import tool_parser
from mnv2_mm.utils.errors import InputError, command

if TYPE_CHECKING:
    import torch
    from torch import nn

BACKBONE = 'MobileNetV2'


def split(text: str) -> int | str:
    """A number of parts from the command line."""
    return int(text) if text.lstrip('-').isdigit() else text


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = tool_parser(
        'Memory and time of expansion_split',
        'python tools/memory_split.py',
        'python tools/memory_split.py mnv2_in1k --shape 320 --split 1 4 full',
    )
    parser.add_argument(
        'config',
        nargs='?',
        default='mnv2_in1k',
        help=f'config file or name, with the backbone {BACKBONE} (default: mnv2_in1k)',
    )
    parser.add_argument(
        '--shape',
        nargs='+',
        type=int,
        metavar='PIXELS',
        help='height and width, or one side (default: of the test pipeline)',
    )
    parser.add_argument(
        '--split',
        nargs='+',
        type=split,
        default=[1, 2, 3, 5, 'full'],
        help='numbers of parts, or full for one channel at a time (default: 1 2 3 5 '
        'full)',
    )
    parser.add_argument(
        '--rounds',
        type=int,
        default=11,
        help='passes of each, interleaved (default: 11)',
    )
    parser.add_argument(
        '--keep-norm',
        action='store_true',
        help='leave batch norm as layers; by default it is folded into the '
        'convolutions, as for deployment',
    )
    return parser.parse_args()


def build(backbone: dict, parts: int | str, keep_norm: bool) -> 'nn.Module':
    """The backbone with random weights, in eval mode."""
    import torch
    from mmcv.cnn import fuse_conv_bn
    from mmengine.registry import MODELS, DefaultScope

    backbone = dict(copy.deepcopy(backbone), expansion_split=parts)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mnv2_mm'):
        model = MODELS.build(backbone)
    model.eval()
    return model if keep_norm else fuse_conv_bn(model)


def times(
    models: dict[int | str, 'nn.Module'], image: 'torch.Tensor', rounds: int
) -> dict[int | str, list[float]]:
    """Milliseconds of processor time of each pass, after one to warm up."""
    import torch

    found: dict[int | str, list[float]] = {key: [] for key in models}
    for turn in range(rounds + 1):
        if sys.stderr.isatty():
            print(f'\r  round {turn} of {rounds} ', end='', file=sys.stderr)
        for key, model in models.items():
            start = time.process_time()
            with torch.no_grad():
                model(image)
            if turn:
                seconds = time.process_time() - start
                found[key].append(1000 * seconds)
    if sys.stderr.isatty():
        print('\r' + ' ' * 24 + '\r', end='', file=sys.stderr, flush=True)
    return found


@command
def main() -> int:
    """Measure and print."""
    args = parse_args()

    import torch

    from mnv2_mm.analysis.memory import measured_peak, peak_memory
    from mnv2_mm.analysis.network import checked_size, input_size
    from mnv2_mm.models.split_inference import checked_split
    from mnv2_mm.utils.config import get_config
    from mnv2_mm.utils.console import filter_warnings

    filter_warnings()
    if args.rounds < 1:
        raise InputError(f'--rounds {args.rounds}: give at least 1')
    parts = [checked_split(p) for p in dict.fromkeys(args.split)]
    cfg = get_config(args.config)
    backbone = dict((cfg.get('model') or {}).get('backbone') or {})
    kind = str(backbone.get('type'))
    if kind.rpartition('.')[2] != BACKBONE or not kind.startswith('mnv2_mm'):
        raise InputError(
            f'config {args.config} has the backbone {kind}; expansion_split '
            f'is an option of mnv2_mm.{BACKBONE}'
        )
    size = checked_size(args.shape) if args.shape else input_size(cfg)
    torch.set_num_threads(1)
    models = {p: build(backbone, p, args.keep_norm) for p in parts}
    image = torch.rand(1, 3, *size)
    print(
        f'{args.config}, backbone alone, {size[0]}x{size[1]}, float32, one '
        f'thread, {args.rounds} passes; MB of 10^6 bytes, without the image'
    )
    measured = {p: measured_peak(models[p], image) for p in parts}
    taken = times(models, image, args.rounds)
    print('  parts  computed MB  measured MB  processor ms: median (quartiles)')
    for p in parts:
        computed = peak_memory(copy.deepcopy(models[p]).to('meta'), size)
        ms = taken[p]
        low, _, high = statistics.quantiles(ms, n=4) if len(ms) > 1 else ms * 3
        print(
            f'  {p!s:>5}  {computed.bytes / 1e6:>11.2f}'
            f'  {measured[p] / 1e6:>11.2f}'
            f'  {statistics.median(ms):>8.1f} ({low:.1f} to {high:.1f})'
            f'   peak in {computed.layer}',
            flush=True,
        )
    return 0


if __name__ == '__main__':
    main()
