"""Export a model with its configs and checkpoint, in this process.

mmdeploy's own tools start a process per step, in which the deploy config's
``custom_imports`` are not always loaded.
"""

import importlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from mmengine.config import Config
from torch import Tensor, nn

from mnv2_mm.deploy import require
from mnv2_mm.runtime.description import JSON, LARGEST_SIDE, parse
from mnv2_mm.runtime.web.page import PAGE, WORKER
from mnv2_mm.utils.config import config_name, get_config
from mnv2_mm.utils.config_errors import host_of
from mnv2_mm.utils.config_names import DEPLOY_CONFIG
from mnv2_mm.utils.console import print_warnings
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.files import write_json, write_text

if TYPE_CHECKING:
    from mmdeploy.backend.base import BaseBackendManager
    from mmdeploy.codebase.base import BaseTask

#: What an export adds to the files of the backend on request, or for one backend.
_ADDED = (
    *('benchmark.json', 'deploy.json', 'pipeline.json', 'detail.json'),
    *('end2end.trt.json', 'build_engine.py'),
)


class Exporter:
    """Exports one model for one backend.

    Configs may be paths or names; the network is traced with the image.

    Raises:
        InputError: a config or the checkpoint cannot be used, or a package is
            missing.
    """

    def __init__(
        self,
        deploy_cfg: str | Config,
        model_cfg: str | Config,
        checkpoint: str,
        image: str,
    ) -> None:
        require()
        from mmdeploy.utils import is_dynamic_shape

        from mnv2_mm.deploy.tasks import warnings_of_sizes
        from mnv2_mm.engine.description import preprocessing

        filter_warnings()
        self.deploy_cfg = get_config(deploy_cfg)
        self.model_cfg = get_config(model_cfg)
        self.checkpoint, self.image = str(checkpoint), str(image)
        check_deploy_config(self.deploy_cfg, host_of(self.model_cfg))
        self.manager = _available_manager(self.deploy_cfg.backend_config.type)
        self.processor = task_processor(self.model_cfg, self.deploy_cfg)
        self.model = self.processor.build_pytorch_model(self.checkpoint)
        spec = preprocessing(self.processor.model_cfg.test_pipeline, self.model)
        if not is_dynamic_shape(self.deploy_cfg):
            print_warnings(warnings_of_sizes(spec))

    def export(
        self, folder: Path, calibration: Sequence[np.ndarray] | None = None
    ) -> list[str]:
        """Export into a folder, convert for the backend, describe the files.

        Args:
            folder: Folder for the files.
            calibration: Network inputs (B, 3, H, W) for int8, instead of
                training images.

        Returns:
            Paths of the backend's files.

        Raises:
            InputError: no images for int8, or the graph cannot be converted.
        """
        import onnx
        from mmdeploy.apis import torch2onnx

        from mnv2_mm.deploy.calibrate import calibration_inputs
        from mnv2_mm.deploy.description import describe
        from mnv2_mm.deploy.readme import README, readme

        graph = folder / self.deploy_cfg.ir_config.save_file
        configs = self.deploy_cfg, self.model_cfg
        torch2onnx(
            self.image, str(folder), graph.name, *configs, self.checkpoint, device='cpu'
        )
        if self.deploy_cfg.backend_config.get('precision') == 'int8':
            calibration = calibration or calibration_inputs(self.processor, self.model)
        files = self.manager.to_backend(
            [str(graph)],
            str(folder),
            self.deploy_cfg,
            calibration=calibration,
            example=self.network_input()[1].numpy(),
            processor=self.processor,
            model=self.model,
        )
        exported = onnx.load(graph)
        info = describe(self.processor, self.model, files, graph=exported)
        if str(graph) not in files:  # of ncnn and LiteRT, which do not read it
            graph.unlink()
        write_json(folder / JSON, info)
        write_text(folder / README, readme(info))
        self.deploy_cfg.dump(folder / DEPLOY_CONFIG)
        return list(files)

    def network_input(self) -> tuple[dict, Tensor]:
        """The prepared image: data for the models, and (1, 3, H, W) of it."""
        return self.processor.create_input(
            self.image, data_preprocessor=self.model.data_preprocessor
        )


def _available_manager(name: str) -> type['BaseBackendManager']:
    from mmdeploy.backend.base import get_backend_manager

    manager = get_backend_manager(name)
    if manager is None:
        raise InputError(f'backend_config.type is {name!r}, which is no backend')
    if not manager.is_available():
        raise InputError(
            f'{getattr(manager, "needs", name)} is not installed; the export for '
            f'{name} needs it; see `python -m mnv2_mm.check --deploy`'
        )
    return manager


def earlier_files(folder: Path) -> set[str]:
    """Names of the files of an earlier export, which are not of the next one.

    Another program, or the times of the next model, would take them for its own.
    """
    try:
        info = parse((folder / JSON).read_bytes())
    except (OSError, InputError):
        return set()  # what is there is of somebody else
    names = {*_ADDED, *(PAGE if (folder / WORKER).is_file() else ())}
    for file in info.files:
        stem = Path(file.name).stem
        names |= {file.name, f'{stem}.onnx', f'{stem}.reference.npz'}
        names |= {path.name for path in folder.glob(f'{stem}.*.engine')}
    return names


def backend_note(backend: str, folder: Path) -> str:
    """What a backend tells the user about an exported model; '' for nothing."""
    from mmdeploy.backend.base import get_backend_manager

    note = getattr(get_backend_manager(backend), 'note', None)
    return note(folder) if note else ''


def check_deploy_config(deploy_cfg: Config, host: str) -> None:
    """Raise an InputError for no deploy config, one for another host, or a bad size."""
    name = config_name(deploy_cfg)
    for key in ('ir_config', 'backend_config', 'codebase_config'):
        if key not in deploy_cfg:
            raise InputError(f'{name} has no {key}; choose a file of configs/deploy')
    size = deploy_cfg.ir_config.get('input_shape')
    good = isinstance(size, list | tuple) and len(size) == 2
    if size is not None and not (good and all(map(_is_side, size))):
        raise InputError(
            f'ir_config.input_shape is {size!r}; give "[width,height]", each of 1 to '
            f'{LARGEST_SIDE} pixels'
        )
    found = deploy_cfg.codebase_config.get('type')
    if found != host:
        raise InputError(
            f'{name} is for models of {found}, and the model config is for {host}; '
            'choose the deploy config of its task'
        )


def _is_side(value: object) -> bool:
    return isinstance(value, int) and 1 <= value <= LARGEST_SIDE


def task_processor(model_cfg: Config, deploy_cfg: Config) -> 'BaseTask':
    """The task processor of this project, see :mod:`mnv2_mm.deploy.tasks`."""
    for module in deploy_cfg.codebase_config.get('module', ()):
        importlib.import_module(module)
    from mmdeploy.apis.utils import build_task_processor

    return build_task_processor(model_cfg, deploy_cfg, 'cpu')


def backend_model(processor: 'BaseTask', files: list[str]) -> nn.Module:
    """The exported model, callable like the PyTorch model."""
    return processor.build_backend_model(
        files, data_preprocessor_updater=processor.update_data_preprocessor
    )


def filter_warnings() -> None:
    """Suppress what mmdeploy logs about its own work."""
    from mmdeploy.utils import get_root_logger
    from mmengine.logging import MMLogger

    get_root_logger(log_level=logging.ERROR).setLevel(logging.ERROR)
    MMLogger.get_current_instance().addFilter(_not_of_registries)


def _not_of_registries(record: logging.LogRecord) -> bool:
    return 'Failed to search registry with scope' not in str(record.msg)
