"""Time this project against its peers, side by side in one process.

    python tools/benchmark.py train
    python tools/benchmark.py infer --rounds 15 --json times.json
    python tools/benchmark.py deploy --threads 2

Every round runs each contestant once, so that a drift of the machine hits all
of them; what counts is the ratio within a round.
"""

import argparse
import datetime
import importlib
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
# ncnn's threads would wait so too, and predictions are timed as users run them
if sys.argv[1:2] not in (['deploy'], ['infer']):
    os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # see tools/train.py

import torch
from mmengine.logging import MMLogger

from mnv2_mm.benchmark.pairs import measure, records, table
from mnv2_mm.engine import launch
from mnv2_mm.runtime.machine import describe
from mnv2_mm.utils.console import suppress_import_output
from mnv2_mm.utils.errors import InputError, command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Time this project against its peers')
    parser.add_argument(
        'what',
        choices=('train', 'infer', 'data', 'deploy', 'growth', 'gpu'),
        help='train: a step of SSDLite at 320; infer: one photo, and its '
        'decoding and NMS alone; data: the training pipelines; deploy: '
        'builds against PyTorch and TFLite; growth: against batch, '
        'resolution and processes; gpu: training and prediction on a GPU',
    )
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--batch-size', type=int, default=8)
    parser.add_argument('--threads', type=int, default=1, help='of each (default: 1)')
    parser.add_argument('--device', default='cuda:0', help='of gpu (default: cuda:0)')
    parser.add_argument(
        '--profile',
        action='store_true',
        help='gpu: also print_rank0 where the time of a step of --batch-size goes',
    )
    parser.add_argument('--json', type=Path, help='also write the times here')
    parser.add_argument('--png', type=Path, help='also draw the times here')
    return parser.parse_args()


@command
def main() -> int:
    """Measure and print."""
    args = parse_args()
    if args.rounds < 1 or args.batch_size < 1 or args.threads < 1:
        raise InputError('--rounds, --batch-size and --threads must be at least 1')
    launch.filter_warnings()
    torch.set_num_threads(args.threads)
    with suppress_import_output():  # here, as each needs other packages
        module = importlib.import_module(f'mnv2_mm.benchmark.{args.what}')
    MMLogger.get_instance('benchmark', log_level='WARNING')  # random starts
    parts = module.parts(args)
    machine = f'{describe()}, {args.threads} threads, torch {torch.__version__}'
    if args.what == 'gpu' and torch.device(args.device).type == 'cuda':
        machine += f', {torch.cuda.get_device_name(args.device)}'
    content = dict(
        machine=machine,
        date=str(datetime.date.today()),
        command='python tools/benchmark.py ' + ' '.join(sys.argv[1:]),
        parts={},
    )
    print(machine)
    measured = {}
    for part in parts:
        print(f'\n{part.title}', flush=True)
        try:
            results = measure(
                part.contestants,
                rounds=args.rounds,
                warmup=part.warmup,
                repeats=part.repeats,
                pause=part.pause,
                wait=part.wait,
                say=lambda text: print(f'  {text}', flush=True),
            )
        except torch.OutOfMemoryError as error:
            print(f'left out: {str(error).partition(". ")[0]}', flush=True)
            continue
        print(table(results, part.images), flush=True)
        measured[part.title] = results
        content['parts'][part.title] = records(results)
    if args.what == 'gpu':
        print('\n' + module.conclude(measured))
        if args.profile:
            device = torch.device(args.device)
            print('\n' + module.account(device, args.batch_size))
    if args.json:
        args.json.write_text(json.dumps(content, indent=1) + '\n')
        print(f'written: {args.json}')
    if args.png:
        from mnv2_mm.benchmark.plot import draw

        draw(content, args.png)
        print(f'written: {args.png}')
    return 0


if __name__ == '__main__':
    main()
