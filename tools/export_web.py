"""Write the web page that runs an exported model in a phone's browser, offline too."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mnv2_mm.utils.cli import output_folder, tool_parser
from mnv2_mm.utils.errors import command


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = tool_parser(
        'Write the web page that runs an exported model in a browser.',
        'python tools/export_web.py work_dirs/exported --out page',
        'python tools/export_web.py work_dirs/exported --out page '
        '--onnxruntime-web onnxruntime-web-1.30.0.tgz',
    )
    text = 'folder of a model that was exported for ONNX Runtime'
    parser.add_argument('model', help=text)
    text = 'folder of the page'
    parser.add_argument('--out', type=output_folder, required=True, help=text)
    text = "onnxruntime-web's archive (default: npm fetches it)"
    parser.add_argument('--onnxruntime-web', metavar='FILE', help=text)
    return parser.parse_args()


@command
def main() -> None:
    """Check the model, write the page."""
    args = parse_args()

    from mnv2_mm.runtime.web.page import in_words, write_page

    size = write_page(args.model, args.out, archive=args.onnxruntime_web)
    print(in_words(args.out, size))


if __name__ == '__main__':
    main()
