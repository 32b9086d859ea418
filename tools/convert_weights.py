"""Convert trained weights of other code bases to a checkpoint.

Reads TFLite files (float and 8 bits), checkpoints and frozen graphs of TensorFlow, and
state dicts of torchvision, timm, d-li14, mmpretrain, mmdet and mmseg (.pth,
.safetensors). Prints what became of every tensor.
"""

import os
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # see tools/train.py

from mnv2_mm.utils.cli import add_cfg_options, output_file, tool_parser
from mnv2_mm.utils.errors import command
from mnv2_mm.utils.files import user_path


@command
def main() -> None:
    """Convert."""
    parser = tool_parser(
        'Convert trained weights of other code bases to a checkpoint',
        'python tools/convert_weights.py mobilenet_v2_1.0_224_quant.tflite OUT.pth',
        'python tools/convert_weights.py model.ckpt OUT.pth --config '
        'ssdlite_mnv2_coco --labels labels.txt',
    )
    parser.add_argument('source', help='file of weights')
    out_pth = partial(output_file, endings=('.pth',))
    parser.add_argument('out', type=out_pth, help='checkpoint to write, OUT.pth')
    parser.add_argument(
        '--config',
        help='config of the network, path or name (default: by the heads in the file)',
    )
    parser.add_argument('--labels', help='text file with class names, one per line')
    parser.add_argument(
        '--allow-missing',
        action='store_true',
        help='let tensors of the network without a source, and heads of another '
        'shape, keep their initial values',
    )
    parser.add_argument(
        '--trust',
        action='store_true',
        help='let the file run code while it is read, as a file of your own that is '
        'refused otherwise',
    )
    add_cfg_options(parser)
    parser.add_argument('--quiet', action='store_true', help='print the summary only')
    args = parser.parse_args()
    out = user_path(args.out)

    from mnv2_mm.checkpoints.convert import convert, read_labels, read_weights, save
    from mnv2_mm.checkpoints.hub import config_for
    from mnv2_mm.utils.config import apply_options, get_config
    from mnv2_mm.utils.console import filter_warnings, print_warnings

    filter_warnings()
    source = read_weights(args.source, trust=args.trust)
    name = args.config or config_for(source)
    cfg = get_config(name)
    print_warnings(apply_options(cfg, args.cfg_options))
    classes = read_labels(args.labels) if args.labels is not None else None
    checkpoint, report = convert(
        source, cfg, allow_missing=args.allow_missing, classes=classes
    )
    save(checkpoint, out)
    if not args.quiet:
        print(f'{report.table()}\n')
    print(report.summary())
    names = checkpoint['meta']['dataset_meta'].get('classes', ())
    print(f'config {name}, {len(names)} class names; written: {out}')


if __name__ == '__main__':
    main()
