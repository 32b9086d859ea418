"""What tools/train.py and tools/test.py share: from a config to a runner."""

import os
from collections.abc import Sequence

import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import RUNNERS, init_default_scope
from mmengine.runner import Runner

from mnv2_mm.datasets.checks.preflight import check as check_data
from mnv2_mm.engine.tool_runner import EvaluationRunner, ToolRunner
from mnv2_mm.utils.config import config_name, is_of_mmengine
from mnv2_mm.utils.console import print_warnings
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.files import check_output

_OWN_HOOKS = ('finite_loss', 'progress', 'exact_resume')


def set_work_dir(cfg: Config, work_dir: str | None) -> None:
    """Command line before config before ``work_dirs/<config name>``."""
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = os.path.join('work_dirs', config_name(cfg))
    check_output(cfg.work_dir, folder=True)


def set_launcher(cfg: Config, launcher: str, local_rank: int = 0) -> None:
    """Choose how the processes of one training find each other.

    Without a GPU gloo joins them; mmengine would ask for the CUDA device of each rank.
    """
    cfg.launcher = launcher
    os.environ.setdefault('LOCAL_RANK', str(local_rank))
    if launcher == 'none' or torch.cuda.is_available():
        return
    if launcher != 'pytorch':
        raise InputError(
            f'--launcher {launcher} needs GPUs and there is none here; use torchrun '
            'with --launcher pytorch (tools/dist_train.sh does)'
        )
    if 'RANK' not in os.environ or 'WORLD_SIZE' not in os.environ:
        raise InputError(
            '--launcher pytorch needs torchrun: use tools/dist_train.sh CONFIG '
            'NUMBER_OF_PROCESSES, or leave --launcher out for a single process'
        )
    env = dict(cfg.get('env_cfg') or {})
    cfg.env_cfg = env | dict(dist_cfg=dict(env.get('dist_cfg') or {}, backend='gloo'))
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group(backend='gloo')
    cfg.model_wrapper_cfg = dict(
        type='MMDistributedDataParallel',
        device_ids=None,  # none for modules on the CPU
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    ) | dict(cfg.get('model_wrapper_cfg') or {})


def preflight(cfg: Config, *, splits: Sequence[str]) -> None:
    """Check the data sets before the model is built, and print the warnings."""
    print_warnings(check_data(cfg, splits=splits))


def build_runner(cfg: Config, *, training: bool = False) -> Runner:
    """Build the runner; call it inside of ``readable_config_errors``."""
    _add_hooks(cfg, training=training)
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    runner = ToolRunner if training else EvaluationRunner
    return RUNNERS.build(cfg) if 'runner_type' in cfg else runner.from_cfg(cfg)


def _add_hooks(cfg: Config, *, training: bool) -> None:
    """Let any config report, save and resume as those of this project."""
    hooks = ConfigDict(cfg.get('default_hooks') or {})
    hooks.setdefault('finite_loss', dict(type='mnv2_mm.FiniteLossHook'))
    hooks.setdefault('progress', dict(type='mnv2_mm.ProgressHook'))
    if training:
        exact = hooks.setdefault('exact_resume', ConfigDict())
        if exact is not None:
            exact.setdefault('type', 'mnv2_mm.ExactResumeHook')
        saving = hooks.setdefault('checkpoint', ConfigDict(interval=1))
        if saving and is_of_mmengine(saving.get('type'), 'CheckpointHook'):
            saving.type = 'mnv2_mm.AtomicCheckpointHook'
    for name in _OWN_HOOKS:  # None turns one off; mmengine takes it for its own alone
        if hooks.get(name, True) is None:
            del hooks[name]
    cfg.default_hooks = hooks
