"""Time of exported ncnn models by kind of layer, to see which layers are slow.

ncnn's Python package times no layers. Here the network is run up to each layer in turn;
what the layer adds to the smallest time of several runs is its time.
"""

import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mnv2_mm.utils.cli import tool_parser
from mnv2_mm.utils.errors import InputError, command


@command
def main() -> None:
    """Time and print."""
    parser = tool_parser(
        'Time exported ncnn models by kind of layer',
        'python tools/ncnn_layers.py exported',
        'python tools/ncnn_layers.py exported_fp32 exported_int8 --threads 2',
    )
    parser.add_argument('folders', nargs='+', metavar='FOLDER', help='exported models')
    parser.add_argument('--threads', type=int, default=1, help='default: 1')
    parser.add_argument('--rounds', type=int, default=15, help='runs a layer, 15')
    args = parser.parse_args()
    if min(args.threads, args.rounds) < 1:
        raise InputError('--threads and --rounds must be at least 1')

    from mnv2_mm.runtime.description import read_info
    from mnv2_mm.runtime.machine import describe

    models = [read_info(folder) for folder in args.folders]
    for (_, info), folder in zip(models, args.folders, strict=True):
        if info['backend'] != 'ncnn':
            raise InputError(f'{folder} is a model of {info["backend"]}, not of ncnn')
    print(f'{describe()}; {args.threads} thread{"s" * (args.threads > 1)}, ms')
    for path, info in models:
        files = [Path(path, file['name']) for file in info['files']]
        times = layer_times(
            files, info['input']['shape'][1:], args.threads, args.rounds
        )
        print(f'{path}: {sum(times.values()):.2f}')
        for kind, milliseconds in times.most_common():
            print(f'  {kind:<24}{milliseconds:8.2f}')


def layer_times(
    files: list[Path], shape: list[int], threads: int, rounds: int
) -> Counter[str]:
    """Milliseconds by kind of layer, for an input of zeros."""
    import numpy as np

    from mnv2_mm.runtime.ncnn import Ncnn

    net = Ncnn(files, threads=threads).net  # says how to install ncnn
    import ncnn

    image = ncnn.Mat(np.zeros(shape, np.float32))
    blobs = net.blobs()
    layers = [layer for layer in net.layers() if layer.type != 'Input']
    ends = {blobs[layer.tops[0]].name: layer.type for layer in layers}
    least = dict.fromkeys(ends, float('inf'))
    for _ in range(rounds):
        for name in ends:
            extractor = net.create_extractor()
            extractor.input(net.input_names()[0], image)
            start = time.perf_counter()
            extractor.extract(name)
            least[name] = min(least[name], time.perf_counter() - start)
    times: Counter[str] = Counter()
    before = 0.0
    for name, kind in ends.items():
        times[kind] += max(least[name] - before, 0) * 1e3
        before = max(least[name], before)
    return times


if __name__ == '__main__':
    main()
