"""Time this project against its baselines, side by side.

Every round runs each case once, so that a drift of the machine hits all of
them; what counts is the ratio within a round. Each case has a process of its
own, except on a GPU.
"""

import argparse
import importlib
import itertools
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mnv2_mm.utils.cli import output_image, output_json, tool_parser
from mnv2_mm.utils.errors import InputError, command
from mnv2_mm.utils.files import write_json

#: Sub-command: module of mnv2_mm.benchmark, which has a function SUBJECT_cases.
MODULES = {
    'train': 'throughput',
    'infer': 'infer',
    'data': 'data',
    'deploy': 'deploy',
    'scaling': 'throughput',
    'processes': 'throughput',
    'programs': 'programs',
    'datasets': 'programs',
    'gpu': 'throughput',
}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = tool_parser(
        'Time this project against its baselines',
        'python tools/benchmark.py train --threads 2',
        'python tools/benchmark.py infer --rounds 15 --json times.json --png times.png',
    )
    parser.add_argument(
        'subject',
        choices=MODULES,
        help='train: a step of SSDLite at 320; infer: one photo, its decoding and '
        'NMS alone, networks alone; data: the training pipelines; deploy: exported '
        'models against PyTorch and TFLite; scaling: against batch and resolution; '
        'processes: training in one and in two; programs: from their start to their '
        'end; datasets: from an annotation file of 1000 to 100,000 images to the first '
        'batch; gpu: training and prediction on a GPU',
    )
    parser.add_argument(
        '--rounds', type=int, default=7, help='timings of each case (default: 7)'
    )
    parser.add_argument('--batch-size', type=int, default=8, help='(default: 8)')
    parser.add_argument(
        '--threads', type=int, default=1, help='of each process (default: 1)'
    )
    parser.add_argument('--device', default='cuda:0', help='of gpu (default: cuda:0)')
    parser.add_argument(
        '--json', type=output_json, help='also write the times to this file'
    )
    parser.add_argument(
        '--png', type=output_image, help='also draw the times into this file'
    )
    return parser.parse_args()


@command
def main() -> int:
    """Measure and print."""
    args = parse_args()
    if args.rounds < 1 or args.batch_size < 1 or args.threads < 1:
        raise InputError('--rounds, --batch-size and --threads must be at least 1')
    load = os.getloadavg()  # before this process adds to it
    # before torch is loaded; predictions are timed as users run them, and
    # ncnn's threads would wait like this too
    if args.subject not in ('deploy', 'infer'):
        os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # see tools/train.py

    import torch
    from mmengine.logging import MMLogger

    from mnv2_mm.benchmark import core
    from mnv2_mm.utils.console import filter_warnings, suppress_import_output

    filter_warnings()
    torch.set_num_threads(args.threads)
    with suppress_import_output():  # here, since each needs other packages
        module = importlib.import_module(f'mnv2_mm.benchmark.{MODULES[args.subject]}')
    MMLogger.get_instance('benchmark', log_level='WARNING')  # random starts
    measured: list[core.Case] = []
    with tempfile.TemporaryDirectory(prefix='mnv2_mm_benchmark_') as folder:
        options = core.Options(
            batch_size=args.batch_size,
            threads=args.threads,
            device=args.device,
            folder=Path(folder),
        )
        cases = getattr(module, f'{args.subject}_cases')(options)
        environment = core.environment(
            args.threads, args.device if args.subject == 'gpu' else 'cpu', load=load
        )
        for key, value in environment.items():
            print(f'{key.replace("_", " ") + ":":16} {value}')
        if environment['load_average'][0] > core.BUSY:
            print('warning: other programs run on this machine; end them, or distrust')
            print('the times and compare within a round only')
        for (group, point), some in itertools.groupby(
            cases, lambda case: (case.group, case.point)
        ):
            print(f'\n{group}' + ('' if point is None else f' = {point}'), flush=True)
            try:
                found = core.run_interleaved(
                    list(some), args.rounds, threads=args.threads
                )
            except InputError as error:  # of a large batch, for want of memory
                print(f'left out: {error}', flush=True)
                continue
            if len(found) < 2:
                print('left out: fewer than two cases can run', flush=True)
                continue
            print(core.table(found), flush=True)
            measured += found
    if args.json and measured:
        command = 'python tools/benchmark.py ' + ' '.join(sys.argv[1:])
        results = [case.record() for case in measured]
        content = dict(environment=environment, command=command, results=results)
        write_json(args.json, content)
        print(f'written to {args.json}')
    if args.png and measured:
        title = '{processor}, {threads} threads, {date}'.format(**environment)
        core.plot(measured, args.png, title=title)
        print(f'written to {args.png}')
    return 0 if measured else 1


if __name__ == '__main__':
    main()
