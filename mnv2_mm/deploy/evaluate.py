"""Evaluate a build on a data set, by the runner that evaluates checkpoints.

The metric, the hooks and the data set are the model config's; only the model
is the build. Its pixels are scaled as build.json says, which for converted
weights is not what the config says.
"""

from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import nn

from mnv2_mm.deploy import require
from mnv2_mm.deploy.export import (
    DEPLOY_CONFIG,
    check_deploy_config,
    filter_warnings,
    remark,
    task_processor,
)
from mnv2_mm.runtime.model import read_info
from mnv2_mm.utils.config import config_meta
from mnv2_mm.utils.config_errors import host_of
from mnv2_mm.utils.console import ToolRunner
from mnv2_mm.utils.errors import InputError


class Evaluation:
    """A build and the config of its model, ready to evaluate.

    Args:
        place: Folder of the build, or a file in it.
        model_cfg: Model config; ``cfg`` is a copy, fitted to the build.
            ``remark`` is what its backend says of the build, or ''.

    Raises:
        InputError: no build, one of another task, or of other classes.
    """

    def __init__(self, place: str | Path, model_cfg: Config) -> None:
        require()
        filter_warnings()
        folder, self.info = read_info(place)
        if not (folder / DEPLOY_CONFIG).is_file():
            raise InputError(
                f'{folder} lacks {DEPLOY_CONFIG}, which evaluation reads; '
                'copy the whole folder of a build'
            )
        deploy_cfg = Config.fromfile(folder / DEPLOY_CONFIG)
        check_deploy_config(deploy_cfg, host_of(model_cfg))
        self._check_classes(folder, model_cfg)
        self.processor = task_processor(model_cfg, deploy_cfg)
        self.cfg = self.processor.model_cfg
        spec = self.info['preprocessing']
        for part in (self.cfg.model.data_preprocessor, self._top_level()):
            part.update(mean=spec['mean'], std=spec['std'])
        if self.info['input']['shape'][0] == 1:  # takes one image a run
            self.cfg.test_dataloader.batch_size = 1
        self.remark = remark(self.info['backend'], folder)
        self.files = [str(folder / name) for name in self.info['files']]

    def _top_level(self) -> dict:
        return self.cfg.get('data_preprocessor') or {}

    def _check_classes(self, folder: Path, model_cfg: Config) -> None:
        names = config_meta(model_cfg).get('classes')
        count = len(self.info['classes'])
        if names is not None and len(names) != count:
            raise InputError(
                f'{folder} is a build with {count} classes, the data set of '
                f'the config has {len(names)}; choose the config that the '
                'build was made of'
            )

    def runner(self, cfg: Config) -> Runner:
        """As :func:`mnv2_mm.engine.launch.build_runner`, of the build.

        Args:
            cfg: ``cfg`` of this object, with what the tool has added to it.
        """
        init_default_scope(cfg.default_scope)
        model = self.processor.build_backend_model(
            self.files,
            data_preprocessor_updater=self.processor.update_data_preprocessor,
        )

        class BuildRunner(ToolRunner):
            """The runner, whose model is the build."""

            def build_model(self, _: object) -> nn.Module:
                """The build, whatever the config describes."""
                return model

        cfg.load_from = None  # nothing to load into a build
        return BuildRunner.from_cfg(cfg)
