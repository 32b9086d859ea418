"""What tools/train.py and tools/test.py share: from a config to a runner.

mmengine's own launcher does the work. Added are the checks before it starts,
and processes on machines without a GPU, where mmengine asks for CUDA devices.
"""

import importlib
import os
from collections.abc import Sequence

import torch
from mmengine.config import Config
from mmengine.registry import RUNNERS, init_default_scope
from mmengine.runner import Runner

from mnv2_mm import compat
from mnv2_mm.config_files import config_name
from mnv2_mm.datasets.preflight import check as check_data
from mnv2_mm.engine.console import (
    ToolRunner,
    hushed_imports,
    quiet,
    say,
    warn,
)
from mnv2_mm.engine.explain import HOSTS, explained
from mnv2_mm.errors import InputError

__all__ = [
    'build_runner',
    'explained',
    'host_of',
    'preflight',
    'quiet',
    'say',
    'set_launcher',
    'set_work_dir',
    'warn',
]


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
    try:
        with hushed_imports():
            importlib.import_module(f'{scope}.datasets')
    except ModuleNotFoundError as error:
        raise InputError(
            f'config {config_name(cfg)} needs {scope}, but {error.name} is '
            'not installed; run `python -m mnv2_mm.check` to see what is '
            'missing and how to install it'
        ) from error
    if scope == 'mmdet':
        compat.mend_ssd_head()
    elif scope == 'mmseg':
        compat.mend_seg_cross_entropy()
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
