"""Draw loss and metric curves of a training into one image."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mnv2_mm.utils.cli import output_file, tool_parser
from mnv2_mm.utils.errors import command


@command
def main() -> None:
    """Draw."""
    parser = tool_parser(
        'Draw training curves',
        'python tools/plot_curves.py work_dirs/ssdlite_sample',
        'python tools/plot_curves.py work_dirs/ssdlite_sample --out curves.png',
    )
    parser.add_argument('work_dir', help='--work-dir of tools/train.py')
    parser.add_argument(
        '--out', type=output_file, help='default: <work dir>/curves.png'
    )
    args = parser.parse_args()

    from mnv2_mm.utils.curves import plot, read_curves

    work_dir = Path(args.work_dir)
    curves = read_curves(work_dir)
    path = Path(args.out) if args.out else work_dir / 'curves.png'
    shown = plot(curves, path, title=work_dir.resolve().name)
    for key in shown:
        print(f'  {key}: {curves.last[key]:.4g} at the end')
    print(f'curves are in {path}')


if __name__ == '__main__':
    main()
