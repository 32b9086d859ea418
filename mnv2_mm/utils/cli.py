"""What the command lines of tools/ share; imports the standard library only.

A tool parses its arguments first and imports torch after that, so that ``--help`` and a
misspelt flag are answered at once.
"""

import argparse
import functools
import os
import re
import shlex
import sys
from pathlib import Path

from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.files import check_output


def repository_root() -> Path:
    """Folder of configs, tools and requirements: the checkout, or the wheel's copy."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent
    return checkout if (checkout / 'setup.py').is_file() else package / '.mim'


def tool_parser(description: str, *examples: str) -> argparse.ArgumentParser:
    """Argument parser of a tool, with examples at the end of its help."""
    epilog = '\n  '.join(('examples:', *examples))
    if sys.argv[0].startswith('mnv2 '):  # outside of the checkout there is no tools/
        epilog = re.sub(r'python tools/\w+\.py', sys.argv[0], epilog)
    return argparse.ArgumentParser(
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def output_file(
    path: str, *, endings: tuple[str, ...] = (), folder: bool = False
) -> str:
    """Type of a flag that names an output: try it before hours of work."""
    try:
        if not path:
            raise InputError('the name is empty; give the file or the folder to write')
        # without an ending; it may be redirected to a file
        device = re.fullmatch(r'/dev/(null|stdout|stderr|fd/\d+)', path)
        if endings and not device and not path.endswith(endings):
            raise InputError(f'{path}: the name must end in {" or ".join(endings)}')
        check_output(path, folder=folder)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return path


def score(text: str) -> float:
    """Type of a flag for a score."""
    if not 0 <= float(text) <= 1:
        raise argparse.ArgumentTypeError(f'{text} is no score; give 0 to 1')
    return float(text)


def this_command(*more: str) -> str:
    """The command line of this program with further flags, for a shell."""
    program, *flags = sys.argv
    start = program if program.startswith('mnv2 ') else shlex.join(['python', program])
    if count := os.environ.get('LOCAL_WORLD_SIZE'):  # of torchrun
        launch = f'-m torch.distributed.run --standalone --nproc_per_node={count}'
        start = f'python {launch} {shlex.quote(program)}'
    return ' '.join([start, *map(shlex.quote, [*flags, *more])])


output_folder = functools.partial(output_file, folder=True)
#: matplotlib and OpenCV know these.
output_image = functools.partial(output_file, endings=('.png', '.jpg', '.jpeg'))
output_json = functools.partial(output_file, endings=('.json',))


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Add mmengine's ``--cfg-options``, which ``config.apply_options`` reads."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        metavar='KEY=VALUE',
        help='override config keys: optim_wrapper.optimizer.lr=0.1, lists as '
        'key="[a,b]"',
    )


def add_launcher(parser: argparse.ArgumentParser) -> None:
    """Add the flags by which torchrun and Slurm start several processes."""
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how the processes of one run are started (default: none)',
    )
    # torch.distributed.launch passes it with a dash or an underscore
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS
    )
