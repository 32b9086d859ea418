"""Evaluate an exported model on a data set, with the runner of checkpoints.

The pixel scaling is that of model.json, not of the model config, from which it
differs for converted weights.
"""

from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import nn

from mnv2_mm.deploy import require
from mnv2_mm.deploy.export import (
    DEPLOY_CONFIG,
    backend_model,
    backend_note,
    check_deploy_config,
    filter_warnings,
    task_processor,
)
from mnv2_mm.deploy.tasks import set_pixel_scaling
from mnv2_mm.runtime.model import read_info
from mnv2_mm.utils.config import config_meta
from mnv2_mm.utils.config_errors import host_of
from mnv2_mm.utils.console import ToolRunner
from mnv2_mm.utils.errors import InputError


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
        if not (folder / DEPLOY_CONFIG).is_file():
            raise InputError(f'{folder} lacks {DEPLOY_CONFIG}; copy the whole folder')
        deploy_cfg = Config.fromfile(folder / DEPLOY_CONFIG)
        check_deploy_config(deploy_cfg, host_of(model_cfg))
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
        self.files = [str(folder / name) for name in info['files']]

    def runner(self, cfg: Config) -> Runner:
        """Runner of the exported model for ``self.cfg``, changed by the tool."""
        init_default_scope(cfg.default_scope)
        model = backend_model(self.processor, self.files)

        class ExportedRunner(ToolRunner):
            """A runner whose model is the exported one."""

            def build_model(self, _: dict) -> nn.Module:
                """The exported model, whatever the config describes."""
                return model

        cfg.load_from = None  # there is no checkpoint to load
        return ExportedRunner.from_cfg(cfg)
