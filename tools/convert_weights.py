"""Convert trained weights of other code bases to a checkpoint.

    python tools/convert_weights.py mobilenet_v2_1.0_224_quant.tflite OUT.pth
    python tools/convert_weights.py model.ckpt OUT.pth \
        --config ssdlite_mnv2_coco --labels labels.txt

Reads TFLite files (float and 8 bits), checkpoints and frozen graphs of
TensorFlow, and state dicts of torchvision, timm, mmpretrain, mmdet and mmseg
(.pth, .safetensors). Prints what became of every tensor.
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # see tools/train.py

from mmengine.config import DictAction

from mnv2_mm.checkpoints.convert import (
    convert,
    default_config,
    read_labels,
    read_weights,
    save,
    translate,
)
from mnv2_mm.checkpoints.hub import published_models
from mnv2_mm.checkpoints.source import Source
from mnv2_mm.engine import launch
from mnv2_mm.utils.config import apply_options, get_config
from mnv2_mm.utils.errors import InputError, command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Convert trained weights of other code bases to a checkpoint'
    )
    parser.add_argument('source', help='file of weights')
    parser.add_argument('out', help='checkpoint to write, OUT.pth')
    parser.add_argument(
        '--config',
        help='config of the network, path or name (default: by the heads in the file)',
    )
    parser.add_argument('--labels', help='text file with class names, one per line')
    parser.add_argument(
        '--allow-missing',
        action='store_true',
        help='let tensors of the network without a source, and heads of '
        'another shape, keep their initial values',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='override the config, e.g. model.backbone.widen_factor=0.5',
    )
    parser.add_argument('--quiet', action='store_true', help='print the summary only')
    return parser.parse_args()


def config_of(source: Source) -> str:
    """The config of a published file, or one by the heads that it has."""
    for model in published_models().values():
        if model.sha256 == source.sha256:
            return model.config
    return default_config(translate(source))


@command
def main() -> int:
    """Convert."""
    args = parse_args()
    launch.filter_warnings()
    out = Path(args.out).expanduser()
    if not out.parent.is_dir():
        raise InputError(f'there is no folder {out.parent}; create it first')
    if out.suffix != '.pth':
        raise InputError(f'{out}: the name of a checkpoint ends in .pth')
    source = read_weights(args.source)
    name = args.config or config_of(source)
    cfg = get_config(name)
    launch.print_warnings(apply_options(cfg, args.cfg_options))
    classes = None
    if args.labels is not None:
        classes = read_labels(args.labels)
    checkpoint, report = convert(
        source, cfg, allow_missing=args.allow_missing, classes=classes
    )
    save(checkpoint, out)
    if not args.quiet:
        print(report.table())
        print()
    print(report.summary())
    names = checkpoint['meta']['dataset_meta'].get('classes', ())
    print(f'config {name}, {len(names)} class names; written: {out}')
    return 0


if __name__ == '__main__':
    main()
