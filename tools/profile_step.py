"""What a training step of SSDLite consists of, by torch.profiler.

`tools/benchmark.py train` times whole steps. This adds up the time inside of the
operators, which says where a change would pay.
"""

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mnv2_mm.utils.cli import tool_parser
from mnv2_mm.utils.errors import InputError, command

if TYPE_CHECKING:
    from torch.autograd.profiler_util import FunctionEventAvg

#: Kinds of operators, by the beginnings of their names.
KINDS = {
    'batch norm': ('native_batch_norm',),
    'ReLU6': ('hardtanh', 'clamp', '_ReLU6InPlace'),
    'copies, new memory': ('copy_', 'fill_', 'zero_', 'empty', 'clone'),
    'optimizer': ('_foreach', '_fused', 'Optimizer'),
}


@command
def main() -> None:
    """Profile and print."""
    parser = tool_parser(
        'Profile a training step of SSDLite',
        'python tools/profile_step.py',
        'python tools/profile_step.py --batch-size 2 --threads 1 --fast',
    )
    parser.add_argument('--batch-size', type=int, default=8, help='default: 8')
    parser.add_argument('--side', type=int, default=320, help='pixels, default: 320')
    parser.add_argument('--threads', type=int, default=2, help='default: 2')
    parser.add_argument('--steps', type=int, default=5, help='default: 5')
    parser.add_argument('--fast', action='store_true', help='as tools/train.py --fast')
    args = parser.parse_args()
    if min(args.batch_size, args.threads, args.steps) < 1:
        raise InputError('--batch-size, --threads and --steps must be at least 1')

    import logging

    import torch
    from torch.profiler import ProfilerActivity, profile

    from mnv2_mm.benchmark.detectors import training_step
    from mnv2_mm.runtime.machine import describe

    logging.disable(logging.INFO)
    torch.set_num_threads(args.threads)
    how = dict(channels_last=True, keep_memory=True, fast=args.fast)
    step = training_step(args.batch_size, args.side, **how)
    step()
    step()
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiler:
        for _ in range(args.steps):
            step()
    times: Counter[str] = Counter()
    for event in profiler.key_averages(group_by_input_shape=True):
        times[kind_of(event)] += event.self_cpu_time_total / 1e3 / args.steps
    total = sum(times.values())
    threads = f'{args.threads} thread{"s" * (args.threads > 1)}'
    print(f'{describe()}; {threads}, batch {args.batch_size}, {args.side} px')
    print(f'{"a step":<38}{total:8.0f} ms')
    for kind, milliseconds in times.most_common():
        print(f'{kind:<38}{milliseconds:8.0f} ms {milliseconds / total:5.0%}')


def kind_of(event: 'FunctionEventAvg') -> str:
    """Kind of an operator; that of a convolution by the shape of its weight."""
    name = event.key.removeprefix('aten::')
    weights = [x for x in event.input_shapes if len(x) == 4 and x[2] == x[3] <= 3]
    weights = [x for x in weights if x[0] > 16]  # no map of the smallest levels
    if 'conv' in name and weights:
        direction = 'backward' if 'backward' in name else 'forward'
        _, inputs, side, _ = weights[0]
        kind = 'depthwise 3x3' if (inputs, side) == (1, 3) else f'{side}x{side}'
        return f'{kind} convolution, {direction}'
    for kind, beginnings in KINDS.items():
        if name.startswith(beginnings):
            return kind
    return 'loss, mining, all else'


if __name__ == '__main__':
    main()
