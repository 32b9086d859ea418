"""Draw figures 1, 5, 6 and 7 of the paper from what is computed here.

1: a spiral through a random embedding, ReLU and back (section 3.2).
5: accuracy against multiply-adds (section 6.1).
6: linear bottlenecks and shortcuts, from the trainings of
   tools/figure6_experiment.py (section 6.4).
7: positive channels of every expansion, at step 0 and after training,
   and Lemma 2 on real images (appendix A).
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mnv2_mm.utils.cli import add_cfg_options, output_folder, tool_parser
from mnv2_mm.utils.errors import InputError, command
from mnv2_mm.utils.files import user_path

if TYPE_CHECKING:
    from mmengine.config import Config

MATRICES = 100  # random T for the means beside figure 1


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = tool_parser(
        "Draw the paper's figures",
        'python tools/figures.py --figure 1 6 --runs work_dirs/figure6_sample',
        'python tools/figures.py --figure 7 --config mnv2_sample --weights FILE.pth',
    )
    parser.add_argument('--figure', type=int, nargs='+', choices=DRAW, required=True)
    parser.add_argument(
        '--out', type=output_folder, default='figures', help='folder of the PNGs'
    )
    parser.add_argument(
        '--seed',
        type=int,
        default=0,
        help='of the random embedding (1) and of the random start (7)',
    )
    six = parser.add_argument_group('figure 6')
    six.add_argument('--runs', help='--out of tools/figure6_experiment.py')
    seven = parser.add_argument_group('figure 7')
    seven.add_argument('--config', help='config file, or the name of one')
    seven.add_argument(
        '--weights', help='checkpoint; without one step 0 alone is drawn'
    )
    seven.add_argument('--images', nargs='+', help="images (default: config's val set)")
    seven.add_argument('--num', type=int, default=32, help='images of the val set')
    add_cfg_options(seven)
    return parser.parse_args()


def draw_1(args: argparse.Namespace, path: Path) -> None:
    """Spiral: points that survive ReLU, by the number of dimensions."""
    from mnv2_mm.analysis.figure1 import embed, plot_figure1, spiral

    x = spiral()
    print(f'          seed {args.seed}        mean of {MATRICES} matrices T')
    print('   n   kept   error      kept   error')
    for found in plot_figure1(path, seed=args.seed):
        n = found.dimensions
        many = [embed(x, n, seed=seed) for seed in range(MATRICES)]
        kept = sum(e.kept for e in many) / MATRICES
        error = sum(e.error for e in many) / MATRICES
        print(f'{n:4}{found.kept:7.1%}{found.error:8.3f}{kept:10.1%}{error:8.3f}')


def draw_5(args: argparse.Namespace, path: Path) -> None:
    """Accuracy against multiply-adds."""
    from mnv2_mm.analysis.figure5 import plot_figure5
    from mnv2_mm.analysis.tables import count_tables

    plot_figure5(count_tables(['figure5'], progress=print), path)


def draw_6(args: argparse.Namespace, path: Path) -> None:
    """Bottlenecks and shortcuts, from finished trainings."""
    if not args.runs:
        raise InputError(
            '--figure 6 is drawn from trainings: give --runs, the --out of '
            'tools/figure6_experiment.py'
        )
    from mnv2_mm.analysis import figure6

    records = figure6.read_records(args.runs)
    print(f'{records["title"]}, top-1 in percent:\n{figure6.summary(records)}')
    figure6.plot_figure6(records, path)


def draw_7(args: argparse.Namespace, path: Path) -> None:
    """Positive channels at step 0 and after training."""
    if not args.config:
        raise InputError(
            '--figure 7 needs --config, for example mnv2_sample, and for '
            'its second panel --weights of a training with it'
        )
    from mmengine.logging import MMLogger

    from mnv2_mm.analysis import figure7
    from mnv2_mm.api import init_model
    from mnv2_mm.engine.launch import preflight
    from mnv2_mm.runtime.read_image import read_image
    from mnv2_mm.utils.config import apply_options, config_name, get_config
    from mnv2_mm.utils.config_errors import host_of, readable_config_errors
    from mnv2_mm.utils.console import filter_warnings, print_warnings

    filter_warnings()
    cfg = get_config(args.config)
    print_warnings(apply_options(cfg, args.cfg_options))
    host_of(cfg)
    images = [user_path(image) for image in args.images or ()]
    for image in images:  # a missing one is named before the networks are built
        read_image(image)
    if not images:
        preflight(cfg, splits=('val',))
        images = figure7.validation_images(cfg, args.num)
    # mmengine logs every parameter that it initializes
    MMLogger.get_current_instance().setLevel('WARNING')
    states = {}
    sources = {'(a) at step 0': None}
    if args.weights:
        sources['(b) after training'] = args.weights
    for title, weights in sources.items():
        print(f'\n{title}, {len(images)} images:', flush=True)
        with readable_config_errors(cfg):
            model = init_model(start_of(cfg, args.seed), weights)
        states[title] = figure7.measure(
            figure7.backbone_of(model),
            figure7.batches_of(model, images),
            batch_statistics=weights is None,
        )
        print(figure7.table(states[title]), flush=True)
    where = 'given' if args.images else 'of the validation set'
    figure7.plot_figure7(
        states, path, source=f'{config_name(cfg)}, {len(images)} images {where}'
    )


def start_of(cfg: 'Config', seed: int) -> 'Config':
    """The config with a random start, without its ``Pretrained``."""
    import torch
    from mmengine.config import Config

    torch.manual_seed(seed)
    cfg = Config(cfg.to_dict(), filename=cfg.filename)
    if 'backbone' in cfg.model:
        cfg.model.backbone.init_cfg = None
    return cfg


DRAW: dict[int, Callable[[argparse.Namespace, Path], None]] = {
    1: draw_1,
    5: draw_5,
    6: draw_6,
    7: draw_7,
}


@command
def main() -> int:
    """Draw."""
    args = parse_args()
    if args.seed < 0:
        raise InputError(f'--seed is {args.seed}; give 0 or more')
    out = user_path(args.out)
    for number in args.figure:
        path = out / f'figure{number}.png'
        DRAW[number](args, path)
        print(f'figure {number} is in {path}')
    return 0


if __name__ == '__main__':
    main()
