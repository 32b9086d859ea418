"""Evaluate an exported model on a data set, with the runner of checkpoints.

The pixel scaling is that of model.json, not of the model config, from which it
differs for converted weights.
"""

from collections.abc import Mapping
from pathlib import Path

from mmengine.config import Config
from mmengine.hooks import Hook, IterTimerHook, LoggerHook, RuntimeInfoHook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.utils import is_method_overridden
from torch import nn

from mnv2_mm.deploy import require
from mnv2_mm.deploy.export import (
    backend_model,
    backend_note,
    filter_warnings,
    task_processor,
)
from mnv2_mm.deploy.tasks import set_pixel_scaling
from mnv2_mm.engine.progress import ProgressHook
from mnv2_mm.engine.tool_runner import EvaluationRunner
from mnv2_mm.runtime.description import output_names, read_info
from mnv2_mm.utils.config import (
    config_meta,
    config_root,
    evaluation_dataset,
    get_config,
)
from mnv2_mm.utils.config_errors import host_of
from mnv2_mm.utils.errors import InputError

#: Hooks of every run, which act in a training too.
_OF_EVERY_RUN = (IterTimerHook, LoggerHook, ProgressHook, RuntimeInfoHook)


class Evaluation:
    """An exported model and the config of its model, ready to evaluate.

    Args:
        place: Folder of the exported model, or a file in it.
        model_cfg: Config of the model.

    Attributes:
        cfg: A copy of the model config, adapted to the exported model.
        note: What its backend tells the user, or ''.

    Raises:
        InputError: no exported model, or one of another task or other classes.
    """

    def __init__(self, place: str | Path, model_cfg: Config) -> None:
        require()
        filter_warnings()
        folder, info = read_info(place)
        deploy_cfg = deploy_config(info, model_cfg)
        if deploy_cfg.codebase_config.type != host_of(model_cfg):
            raise InputError(
                f'{folder} is a model for the task {info["task"]}, and the config is '
                f'for {host_of(model_cfg)}; choose the config of the export'
            )
        names = config_meta(model_cfg).get('classes')
        if names is not None and len(names) != len(info['classes']):
            raise InputError(
                f'{folder} is a model with {len(info["classes"])} classes, the data '
                f'set of the config has {len(names)}; choose the config of the export'
            )
        self.processor = task_processor(model_cfg, deploy_cfg)
        self.cfg = self.processor.model_cfg
        set_pixel_scaling(self.cfg, info['preprocessing'])
        if info['input']['shape'][0] == 1:  # takes one image per run
            self.cfg.test_dataloader.batch_size = 1
        self.note = backend_note(info['backend'], folder)
        self.files = [str(folder / file['name']) for file in info['files']]
        self.input_shape = info['input']['shape']

    def runner(self, cfg: Config) -> Runner:
        """Runner of the exported model for ``self.cfg``, changed by the tool."""
        init_default_scope(cfg.default_scope)
        model = backend_model(self.processor, self.files)
        model.wrapper.input_shape = self.input_shape

        class ExportedRunner(EvaluationRunner):
            """A runner whose model is the exported one."""

            def build_model(self, _: dict) -> nn.Module:
                """The exported model, whatever the config describes."""
                return model

            def register_hooks(self, *args: object, **kwargs: object) -> None:
                """Leave out hooks that act in a training."""
                super().register_hooks(*args, **kwargs)
                self._hooks = [h for h in self._hooks if not _is_for_training(h)]

        cfg.load_from = None  # there is no checkpoint to load
        return ExportedRunner.from_cfg(cfg)


def deploy_config(info: Mapping, model_cfg: Config) -> Config:
    """What mmdeploy has to know of an exported model, from its model.json.

    The deploy config in the folder is Python, and the folder may be a stranger's.
    """
    cfg = get_config(config_root() / f'deploy/_base_/{info["task"]}.py')
    cfg.backend_config = dict(type=info['backend'], precision=info['precision'])
    if ending := info['ending']:
        cfg.codebase_config.update(
            with_resize=ending['resize'], with_argmax=ending['argmax']
        )
    steps = evaluation_dataset(model_cfg)['pipeline']
    resizes = any(step['type'].rpartition('.')[2] == 'Resize' for step in steps)
    stretched = {
        tuple(step['size'])
        for step in info['preprocessing']['steps']
        if step['do'] == 'resize' and not step['keep_ratio']
    }
    cfg.ir_config.update(
        input_names=[info['input']['name']],
        output_names=output_names(info),
        input_shape=stretched.pop() if resizes and len(stretched) == 1 else None,
    )
    return cfg


def _is_for_training(hook: Hook) -> bool:
    """Whether a hook acts in a training, and may expect a network with weights."""
    training = ('train', 'save_checkpoint', 'load_checkpoint')
    stages = (x for x in Hook.stages if any(word in x for word in training))
    acts = any(is_method_overridden(stage, Hook, hook) for stage in stages)
    return acts and not isinstance(hook, _OF_EVERY_RUN)
