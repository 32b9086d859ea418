"""What the command lines of tools/ share; imports the standard library only.

A tool parses its arguments first and imports torch after that, so that ``--help`` and a
misspelt flag are answered at once.
"""

import argparse
from pathlib import Path


def repository_root() -> Path:
    """Folder of configs, tools and requirements: the checkout, or the wheel's copy."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent
    return checkout if (checkout / 'setup.py').is_file() else package / '.mim'


def tool_parser(description: str, *examples: str) -> argparse.ArgumentParser:
    """Argument parser of a tool, with examples at the end of its help."""
    return argparse.ArgumentParser(
        description=description,
        epilog='\n  '.join(('examples:', *examples)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


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
