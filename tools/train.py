"""Train any config: detection, segmentation or classification.

The flags are those of mmdet's tools/train.py.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
# Before torch is loaded: threads that wait for each other must not keep the
# cores busy. With more processes than cores (a data loader suffices) a step
# on the CPU takes up to a hundred times as long otherwise.
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

from mnv2_mm.utils.cli import add_cfg_options, add_launcher, output_folder, tool_parser
from mnv2_mm.utils.errors import command


@command
def main() -> None:
    """Train."""
    parser = tool_parser(
        'Train a model',
        'python tools/train.py configs/ssdlite_mnv2_coco.py',
        'python tools/train.py ssdlite_sample --work-dir work_dirs/x --resume',
    )
    parser.add_argument('config', help='config file, or the name of one')
    parser.add_argument(
        '--work-dir',
        type=output_folder,
        help='where logs and checkpoints go (default: work_dirs/<config name>)',
    )
    parser.add_argument(
        '--amp',
        action='store_true',
        help='mixed precision: float16 on a GPU, bfloat16 on a processor that has it',
    )
    parser.add_argument(
        '--fast',
        action='store_true',
        help='--amp where it pays on this machine; on a GPU channels last too',
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate to the real total batch',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='continue from this checkpoint; without a name from the newest '
        'complete one of the work dir, or from the start if there is none',
    )
    for name, service in (
        ('tensorboard', 'TensorBoard files in the work dir'),
        ('wandb', 'Weights & Biases (WANDB_MODE=offline: in the work dir)'),
        ('mlflow', 'MLflow (mlflow.db in the work dir, or MLFLOW_TRACKING_URI)'),
    ):
        parser.add_argument(
            f'--{name}', action='store_true', help=f'record losses for {service} too'
        )
    parser.add_argument('--seed', type=int, help='seed (default: of the config)')
    add_cfg_options(parser)
    add_launcher(parser)
    args = parser.parse_args()

    from mnv2_mm.commands.train import train

    train(args)


if __name__ == '__main__':
    main()
