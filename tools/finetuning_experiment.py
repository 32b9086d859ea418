"""Train a prepared data set from published and from random weights, with seeds.

Three kinds of training times the seeds, one process of tools/train.py each, with the
same images, steps, batch and optimizer:

- published: the config as `mnv2 data --weights FILE` wrote it.
- random: the same network from random weights.
- host: mmdet's SSDLite at its 320 pixels, mmseg's DeepLabv3 or mmpretrain's
  MobileNetV2, each with MobileNetV2 as backbone and from random weights.

Interrupted or repeated, the command goes on with what is there. Started twice at once
with different --kinds, the two share the work.
"""

import argparse
import datetime
import importlib
import json
import re
import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mnv2_mm.utils.cli import output_folder, tool_parser
from mnv2_mm.utils.errors import InputError, command
from mnv2_mm.utils.files import save_figure, write_json, write_text

KINDS = ('published', 'random', 'host')
#: Configs that the hosts ship.
HOSTS = {
    'mmdet': 'ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py',
    'mmseg': 'mobilenet_v2/mobilenet-v2-d8_deeplabv3_4xb4-160k_ade20k-512x512.py',
    'mmpretrain': 'mobilenet_v2/mobilenet-v2_8xb32_in1k.py',
}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = tool_parser(
        'Compare trainings from published and from random weights',
        'python tools/finetuning_experiment.py data/mine',
        'python tools/finetuning_experiment.py data/mine --epochs 10 --kinds published',
    )
    parser.add_argument('data', type=Path, help='folder that `mnv2 data` wrote')
    parser.add_argument('--seeds', type=int, default=3, help='0, 1, ...')
    parser.add_argument('--epochs', type=int, help="default: the config's")
    parser.add_argument('--kinds', nargs='+', choices=KINDS, default=list(KINDS))
    parser.add_argument(
        '--out', type=output_folder, help='default: work_dirs/finetuning_<data>'
    )
    args = parser.parse_args()
    if args.seeds < 1 or (args.epochs is not None and args.epochs < 1):
        raise InputError('--seeds and --epochs must be at least 1')
    args.out = Path(args.out or f'work_dirs/finetuning_{args.data.resolve().name}')
    return args


def write_configs(args: argparse.Namespace) -> None:
    """Write a config for each kind into ``args.out``."""
    from mnv2_mm.analysis.trainings import holds_training
    from mnv2_mm.datasets.own.recipe import of_length
    from mnv2_mm.datasets.own.writer import fill_block
    from mnv2_mm.utils.config import get_config

    data = args.data.resolve()
    try:
        (path,) = data.glob('*.py')
    except ValueError as error:
        raise InputError(
            f'{data} must hold one config, as `mnv2 data SOURCE --out {args.data}` '
            'writes it'
        ) from error
    text = path.read_text('utf-8').replace('{{ fileDirname }}', str(data))
    cfg = get_config(path)
    if 'start' not in cfg:
        raise InputError(
            f'{path} is not of `mnv2 data`, which writes a config with `start`; give '
            'the folder that it wrote'
        )
    if cfg.start is None and 'published' in args.kinds:
        raise InputError(f'{path} starts from random weights: mnv2 data --weights FILE')
    if args.epochs:
        steps = images(cfg) // cfg.batch_size
        text = fill_block(text, of_length(args.epochs, steps))
    plain = {'start': None} | ({'backbone_lr': 1} if 'backbone_lr' in cfg else {})
    texts = {'published': text, 'random': fill_block(text, plain)}
    if cfg.default_scope == 'mmdet':
        plain['input_size'] = (320, 320)
    model = host_model(cfg)
    texts['host'] = f'{fill_block(text, plain)}\nmodel = {model!r}\n'
    files = {args.out / f'{kind}.py': text for kind, text in texts.items()}
    other = [
        f.name for f, t in files.items() if f.is_file() and f.read_text('utf-8') != t
    ]
    if other and holds_training(args.out):  # their results do not compare with new ones
        raise InputError(
            f'{args.out} holds trainings with another {other[0]} (--epochs, or the '
            'data); give another --out'
        )
    for file, text in files.items():
        write_text(file, text)


def images(cfg: dict) -> int:
    """Training images of a config."""
    from mmengine.registry import DATASETS, init_default_scope

    from mnv2_mm.utils.config_errors import host_of

    init_default_scope(host_of(cfg))
    return len(DATASETS.build(cfg.train_dataloader.dataset))


def host_model(cfg: dict) -> dict:
    """The host's own network for the classes of a config, from random weights."""
    from mmengine.config import Config

    package = importlib.import_module(cfg.default_scope)
    folder = Path(package.__file__).parent / '.mim/configs'
    model = Config.fromfile(folder / HOSTS[cfg.default_scope]).model
    classes = len(cfg.classes)
    norm = cfg.model.backbone.norm_cfg
    model.backbone.norm_cfg = norm
    if cfg.default_scope == 'mmdet':
        # mmdet's, which cannot predict
        model.bbox_head.update(type='mnv2_mm.SSDHead', num_classes=classes)
        model.neck.norm_cfg = model.bbox_head.norm_cfg = norm
    elif cfg.default_scope == 'mmseg':
        model.pretrained = None
        model.data_preprocessor = cfg.model.data_preprocessor
        for head in (model.decode_head, model.auxiliary_head):
            head.update(num_classes=classes, norm_cfg=norm)
    else:
        model.data_preprocessor = cfg.model.data_preprocessor
        model.head.update(num_classes=classes, topk=cfg.topk)
    return model.to_dict()


def train(out: Path, kind: str, seed: int) -> dict[str, object]:
    """Train one kind with one seed; returns its record.

    Raises:
        InputError: the training ended with an error, which it has printed.
    """
    from mnv2_mm.analysis.trainings import run_training
    from mnv2_mm.utils.config import get_config

    config = out / f'{kind}.py'
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    curves = run_training(config, out / f'{kind}_seed{seed}', seed)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    key = get_config(config).default_hooks.checkpoint.save_best
    curve = curves.metrics[key]
    return dict(
        kind=kind,
        seed=seed,
        metric=key,
        best=max(value for _, value in curve),
        last=curve[-1][1],
        curve=curve,
        last_metrics=curves.last,
        resumed_at=curves.resumed,  # the processor time is that since the last
        processor_seconds=round(seconds),
        date=datetime.date.today().isoformat(),
    )


def summary(runs: list[dict]) -> str:
    """A Markdown table, a line a kind."""
    seeds = sorted({run['seed'] for run in runs})
    lines = [
        f'| start | {" | ".join(f"seed {seed}" for seed in seeds)} | mean (range) '
        '| processor time |',
        '|---' * (len(seeds) + 3) + '|',
    ]
    for kind in KINDS:
        own = {run['seed']: run for run in runs if run['kind'] == kind}
        if not own:
            continue
        best = [run['best'] for run in own.values()]
        minutes = sum(run['processor_seconds'] for run in own.values()) / len(own) / 60
        cells = [f'{own[seed]["best"]:.3f}' if seed in own else '' for seed in seeds]
        mean = f'{sum(best) / len(best):.3f} ({min(best):.3f} to {max(best):.3f})'
        lines.append(f'| {kind} | {" | ".join(cells)} | {mean} | {minutes:.1f} min |')
    return '\n'.join(lines)


def draw(runs: list[dict], path: Path) -> None:
    """Draw the curves: mean of the seeds, and their range."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for kind in KINDS:
        curves = [np.array(run['curve']) for run in runs if run['kind'] == kind]
        if not curves:
            continue
        # early stopping may end one before the others
        curves = [curve[: min(map(len, curves))] for curve in curves]
        steps, values = curves[0][:, 0], np.array(curves)[:, :, 1]
        (line,) = axes.plot(steps, values.mean(0), marker='o', label=kind)
        span = values.min(0), values.max(0)
        axes.fill_between(steps, *span, alpha=0.2, color=line.get_color())
    axes.set(xlabel='training step', ylabel=re.sub('.*/', '', runs[0]['metric']))
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(figure, path, dpi=110)


@command
def main() -> None:
    """Train what is missing, and print the results."""
    args = parse_args()

    from mnv2_mm.analysis.trainings import RESULT

    write_configs(args)
    # seed by seed, so that an unfinished experiment compares something too
    for seed in range(args.seeds):
        for kind in args.kinds:
            result = args.out / f'{kind}_seed{seed}' / RESULT
            if not result.is_file():
                print(f'\n== {kind}, seed {seed}', flush=True)
                write_json(result, train(args.out, kind, seed))
    files = sorted(args.out.glob(f'*_seed*/{RESULT}'))
    runs = [json.loads(file.read_text('utf-8')) for file in files]
    draw(runs, args.out / 'curves.png')
    print(f'\nbest {runs[0]["metric"]} of each training\n{summary(runs)}')
    print(f'curves are in {args.out / "curves.png"}')


if __name__ == '__main__':
    main()
