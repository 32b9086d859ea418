"""What the command lines of tools/ share; imports the standard library only.

A tool parses its arguments first and imports torch after that, so that
``--help`` and a misspelt flag are answered at once.
"""

import argparse


def tool_parser(description: str, *examples: str) -> argparse.ArgumentParser:
    """Argument parser of a tool, with examples at the end of its help."""
    lines = '\n'.join(f'  {example}' for example in examples)
    return argparse.ArgumentParser(
        description=description,
        epilog=f'examples:\n{lines}',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Add mmengine's ``--cfg-options``.

    :func:`mnv2_mm.utils.config.apply_options` reads the values, with mmengine.
    """
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
