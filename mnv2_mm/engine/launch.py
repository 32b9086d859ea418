"""What tools/train.py and tools/test.py share: from a config to a runner.

mmengine's own launcher does the work. Added are the checks that turn a stack
of registry internals into one sentence, and processes on machines without a
GPU, where mmengine asks for CUDA devices.
"""

import contextlib
import difflib
import importlib
import inspect
import io
import logging
import os
import re
import traceback
import warnings
from collections.abc import Iterator, Sequence

import torch
from mmengine.config import Config
from mmengine.dist import is_distributed, is_main_process
from mmengine.logging import MMLogger
from mmengine.registry import RUNNERS, Registry, init_default_scope
from mmengine.runner import Runner

from mnv2_mm.config_files import config_name, unknown_type
from mnv2_mm.datasets.preflight import check as check_data
from mnv2_mm.errors import InputError, message_of

HOSTS = ('mmdet', 'mmseg', 'mmpretrain')


def say(text: str) -> None:
    """Print on the first process only."""
    # before the processes are joined only the launcher knows the rank
    rank = os.environ.get('RANK') or os.environ.get('SLURM_PROCID') or '0'
    if is_main_process() and (is_distributed() or rank == '0'):
        print(text, flush=True)


def warn(messages: list[str]) -> None:
    """Print warnings on the first process only."""
    for message in messages:
        say(f'warning: {message}')


#: Log records that the console is spared; the log file has them all.
_FILE_ONLY = (
    # screens full of text that nobody reads while a training starts
    'System environment:',
    'Config:\n',
    'Hooks will be executed in the following order',
    'all SyncBatchNorm (SyncBN) layers in the model will be automatically',
    'paramwise_options -- ',  # three lines for each layer
    # mmengine about its own calls
    '"FileClient" will be deprecated',
    '"HardDiskBackend" is the alias',
    # a recipe without a schedule has none to save
    '`save_param_scheduler` is True but `self.param_schedulers` is None',
)
_WARNINGS = (
    # torch.meshgrid without indexing=, in mmdet's anchor generators
    (r'torch\.meshgrid: in an upcoming release', UserWarning),
    # mmseg says so whenever pictures are not asked for
    (r'The draw is False, it means that the hook', UserWarning),
    # mmdet and mmseg about what drawing and resizing do at the edges
    (r'Warning: The (bbox|polygon|circle|line) is out of bounds', UserWarning),
    (r'When align_corners=True, the output would more', UserWarning),
    # mmengine calls the older of two torch interfaces for mixed precision
    (r'.*torch\.cuda\.amp\..* is deprecated', FutureWarning),
    # setuptools to packages that the hosts import
    (r'.*pkg_resources.*', UserWarning),
    (r'.*', DeprecationWarning),
    # only a matter of speed; there is no accelerator to be fast for
    (r"'pin_memory' argument is set as true", UserWarning),
)


def quiet() -> None:
    """Hide warnings that are known, harmless and not the user's to mend.

    For command lines only: a library leaves the filters to its user.
    """
    for text, category in _WARNINGS:
        warnings.filterwarnings('ignore', text, category)


class ToolRunner(Runner):
    """mmengine's runner, with a console that a person can read."""

    def build_logger(self, *args: object, **kwargs: object) -> MMLogger:
        """Send the long and the known records to the log file only."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.addFilter(_for_console)
        return logger


def _for_console(record: logging.LogRecord) -> bool:
    text = str(record.msg)
    return not any(known in text for known in _FILE_ONLY)


def host_of(cfg: Config) -> str:
    """Name of the package whose runner conventions the config follows.

    Raises:
        InputError: the config's default_scope is none of the three.
    """
    scope = cfg.get('default_scope')
    if scope not in HOSTS:
        raise InputError(
            f'config {config_name(cfg)} has default_scope={scope!r}; give '
            f'one of {", ".join(HOSTS)}'
        )
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            importlib.import_module(f'{scope}.datasets')
    except ModuleNotFoundError as error:
        raise InputError(
            f'config {config_name(cfg)} needs {scope}, but {error.name} is '
            'not installed; run `python -m mnv2_mm.check` to see what is '
            'missing and how to install it'
        ) from error
    for line in printed.getvalue().splitlines():
        # an optional package of the onedl family, about which it prints
        if 'Could not import OneDL' not in line:
            say(line)
    return scope


def set_work_dir(cfg: Config, work_dir: str | None) -> None:
    """Command line before config before ``work_dirs/<config name>``."""
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = os.path.join('work_dirs', config_name(cfg))


def set_launcher(cfg: Config, launcher: str, local_rank: int = 0) -> None:
    """Choose how the processes of one training find each other.

    Without a GPU the processes are joined here, by gloo: mmengine would ask
    for the CUDA device of each rank.

    Raises:
        InputError: this launcher cannot run on this machine.
    """
    cfg.launcher = launcher
    os.environ.setdefault('LOCAL_RANK', str(local_rank))
    if launcher == 'none' or torch.cuda.is_available():
        return
    if launcher != 'pytorch':
        raise InputError(
            f'--launcher {launcher} needs GPUs and there is none here; use '
            'torchrun with --launcher pytorch (tools/dist_train.sh does)'
        )
    if 'RANK' not in os.environ or 'WORLD_SIZE' not in os.environ:
        raise InputError(
            '--launcher pytorch is for processes started by torchrun; use '
            'tools/dist_train.sh CONFIG NUMBER_OF_PROCESSES, or leave '
            '--launcher out for a single process'
        )
    cfg.setdefault('env_cfg', {}).setdefault('dist_cfg', {})
    cfg.env_cfg.dist_cfg.backend = 'gloo'
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group(backend='gloo')
    wrapper = dict(
        type='MMDistributedDataParallel',
        device_ids=None,  # none for modules on the CPU
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    wrapper.update(cfg.get('model_wrapper_cfg') or {})
    cfg.model_wrapper_cfg = wrapper


def preflight(cfg: Config, *, splits: Sequence[str]) -> None:
    """Look at the data before anything is built; see the data package."""
    warn(check_data(cfg, splits=splits))


def build_runner(cfg: Config) -> Runner:
    """Build the runner; call it inside of :func:`explained`."""
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    if 'runner_type' in cfg:
        return RUNNERS.build(cfg)
    return ToolRunner.from_cfg(cfg)


@contextlib.contextmanager
def explained(cfg: Config) -> Iterator[None]:
    """Turn a mistake in the config into one sentence.

    mmengine builds the model at once, and loops, optimizer and data loaders
    when the run starts; both belong inside.

    Raises:
        InputError: a type that no registry knows, or an argument that a
            type does not take.
    """
    try:
        yield
    except (KeyError, TypeError) as error:
        frames = traceback.extract_tb(error.__traceback__)
        building = any(frame.name == 'build_from_cfg' for frame in frames)
        text = explain(error) if building else None
        if text is None:
            raise
        raise InputError(f'config {config_name(cfg)}: {text}') from error


def explain(error: Exception) -> str | None:
    """The user's mistake behind an exception of mmengine's registry."""
    if isinstance(error, KeyError):
        found = unknown_type(error)
        if found is None:
            return None
        name, scope, registry = found
        return (
            f"type='{name}' is not known among the {registry}s of "
            f'{scope or "mmengine"}. {_where(name, scope, registry)}'
        )
    text = message_of(error)
    match = re.search(r"(\w+)\.__init__\(\) got an .*argument '(\w+)'", text)
    if match:
        return f"type='{match[1]}' takes no argument '{match[2]}'"
    match = re.search(r'(\w+)\.__init__\(\) missing .*: (.+)$', text)
    if match:
        return f"type='{match[1]}' needs the argument {match[2]}"
    return None


def _where(name: str, scope: str, registry: str) -> str:
    """Where the type may be found, or what it may have been meant to be."""
    bare = name.rpartition('.')[2]
    known: list[str] = []
    for package in ('mnv2_mm', *HOSTS):
        try:
            module = importlib.import_module(f'{package}.registry')
        except ImportError:
            if name.startswith(f'{package}.') or scope == package:
                return (
                    f'{package} is not installed; `python -m mnv2_mm.check` '
                    'says how to install it.'
                )
            continue
        for _, table in inspect.getmembers(
            module, lambda member: isinstance(member, Registry)
        ):
            if table.name == registry and table.scope == package:
                table.import_from_location()
                prefix = '' if package == scope else f'{package}.'
                known += [prefix + key for key in table.module_dict]
    same = [key for key in known if key.rpartition('.')[2] == bare]
    near = same or difflib.get_close_matches(bare, known, n=3, cutoff=0.7)
    near = [key for key in near if key != name]
    if near:
        return 'Did you mean ' + ' or '.join(f"'{key}'" for key in near) + '?'
    return (
        'Check the spelling; a type of your own must be imported by '
        'custom_imports in the config.'
    )
