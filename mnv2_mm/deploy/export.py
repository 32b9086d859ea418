"""From configs and a checkpoint to a build, in this process.

mmdeploy's own tools start a process for each step, in which what the deploy
config imports is not always there. Here its pieces (task processor, export,
backend manager) are called one after the other, into a folder of its own
that takes its place when all has gone well.
"""

import contextlib
import importlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from mmengine.config import Config
from torch import nn

from mnv2_mm.deploy import require
from mnv2_mm.runtime.model import JSON
from mnv2_mm.utils.config import config_name, get_config
from mnv2_mm.utils.config_errors import host_of
from mnv2_mm.utils.errors import InputError

#: The deploy config beside the build, for evaluation and mmdeploy's tools.
DEPLOY_CONFIG = 'deploy_config.py'


class Making:
    """One build in the making.

    Args:
        deploy_cfg: Deploy config, path or name.
        model_cfg: Model config, path or name.
        checkpoint: .pth file of a training.
        image: Image by which the export traces the network.

    Raises:
        InputError: something is missing, or does not go together.
    """

    def __init__(
        self,
        deploy_cfg: str | Config,
        model_cfg: str | Config,
        checkpoint: str,
        image: str,
    ) -> None:
        require()
        filter_warnings()
        self.deploy_cfg = get_config(deploy_cfg)
        self.model_cfg = get_config(model_cfg)
        self.checkpoint, self.image = str(checkpoint), str(image)
        host = host_of(self.model_cfg)
        check_deploy_config(self.deploy_cfg, host)
        self.options = self.deploy_cfg.backend_config
        self.manager = self._manager()
        self.processor = task_processor(self.model_cfg, self.deploy_cfg)
        self.model = self.processor.build_pytorch_model(self.checkpoint)

    def _manager(self) -> type:
        from mmdeploy.backend.base import get_backend_manager

        name = self.options.type
        manager = get_backend_manager(name)
        if manager is None:
            raise InputError(f'backend_config.type is {name!r}: no backend')
        if not manager.is_available():
            needs = getattr(manager, 'needs', name)
            raise InputError(
                f'{needs} is not installed, without which there is no build '
                f'for {name}; `python -m mnv2_mm.check --deploy` says how to '
                'install it'
            )
        return manager

    def write(
        self, folder: Path, calibration: Sequence[np.ndarray] | None = None
    ) -> list[str]:
        """Export into a folder, convert for the backend; names of the files.

        Args:
            folder: Where to.
            calibration: Network inputs (B, 3, H, W) for int8, in place of
                those of training images.

        Raises:
            InputError: int8 without images to calibrate with.
        """
        from mmdeploy.apis import torch2onnx

        from mnv2_mm.deploy.calibrate import calibration_inputs

        name = self.deploy_cfg.ir_config.save_file
        torch2onnx(
            self.image,
            str(folder),
            name,
            self.deploy_cfg,
            self.model_cfg,
            self.checkpoint,
            device='cpu',
        )
        # what a backend may want besides the graph
        more = {'example': network_input(self)[1].numpy()}
        if self.options.get('precision') == 'int8':
            more['calibration'] = calibration or calibration_inputs(
                self.processor, self.model
            )
        files = self.manager.to_backend(
            [str(folder / name)], str(folder), self.deploy_cfg, **more
        )
        self._describe(folder, [Path(file).name for file in files], name)
        return [str(folder / Path(file).name) for file in files]

    def _describe(self, folder: Path, files: list[str], graph: str) -> None:
        import onnx

        from mnv2_mm.deploy.description import describe

        inputs = onnx.load(folder / graph).graph.input
        dims = inputs[0].type.tensor_type.shape.dim
        info = describe(
            self.processor,
            self.model,
            files,
            input_size=[dim.dim_value or None for dim in dims],
            ending=self._ending(),
        )
        text = json.dumps(info, indent=1) + '\n'
        (folder / JSON).write_text(text, encoding='utf-8')
        self.deploy_cfg.dump(folder / DEPLOY_CONFIG)

    def _ending(self) -> dict | None:
        if not hasattr(self.model, 'decode_head'):
            return None
        from mnv2_mm.deploy.segmentation import graph_ending

        resize, argmax = graph_ending(self.deploy_cfg)
        corners = bool(self.model.decode_head.align_corners)
        return dict(resize=resize, argmax=argmax, align_corners=corners)

    def backend_model(self, files: list[str]) -> nn.Module:
        """The build as a model, for the same calls as the PyTorch one."""
        return self.processor.build_backend_model(
            files,
            data_preprocessor_updater=self.processor.update_data_preprocessor,
        )


def remark(backend: str, folder: Path) -> str:
    """What a backend says of a build in a folder, for the user; or ''."""
    from mmdeploy.backend.base import get_backend_manager

    tell = getattr(get_backend_manager(backend), 'remark', None)
    return tell(folder) if tell else ''


def check_deploy_config(deploy_cfg: Config, host: str) -> None:
    """Refuse a config that is no deploy config, or is for another host."""
    name = config_name(deploy_cfg)
    for key in ('ir_config', 'backend_config', 'codebase_config'):
        if key not in deploy_cfg:
            raise InputError(
                f'{name} has no {key}, so it is no deploy config; those of '
                'this project are in configs/deploy'
            )
    found = deploy_cfg.codebase_config.get('type')
    if found != host:
        raise InputError(
            f'{name} is for models of {found}, and the model config is for '
            f'{host}; choose the deploy config of its task'
        )


def task_processor(model_cfg: Config, deploy_cfg: Config) -> object:
    """mmdeploy's task processor, with what this project adds to it."""
    for module in deploy_cfg.codebase_config.get('module', ()):
        importlib.import_module(module)
    from mmdeploy.apis.utils import build_task_processor

    return build_task_processor(model_cfg, deploy_cfg, 'cpu')


def filter_warnings() -> None:
    """Keep what mmdeploy logs about its own doings off the console."""
    from mmdeploy.utils import get_root_logger
    from mmengine.logging import MMLogger

    get_root_logger(log_level=logging.ERROR).setLevel(logging.ERROR)
    logger = MMLogger.get_current_instance()
    if not any(f is _not_of_registries for f in logger.filters):
        logger.addFilter(_not_of_registries)


def _not_of_registries(record: logging.LogRecord) -> bool:
    text = str(record.msg)
    return 'Failed to search registry with scope' not in text


@contextlib.contextmanager
def staging(work_dir: str | os.PathLike) -> Iterator[Path]:
    """A folder whose content moves to ``work_dir`` if all goes well.

    Raises:
        InputError: nothing can be written there.
    """
    target = Path(work_dir)
    try:
        target.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix='.unfinished_', dir=target))
    except OSError as error:
        raise InputError(
            f'--work-dir {work_dir} cannot be written to: {error.strerror}; '
            'choose another folder'
        ) from error
    try:
        yield stage
        for file in sorted(stage.iterdir()):
            os.replace(file, target / file.name)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        with contextlib.suppress(OSError):
            target.rmdir()  # only where this made it, and it stayed empty


def network_input(making: Making) -> tuple[dict, np.ndarray]:
    """The prepared image of a build: data for the models, and its tensor."""
    return making.processor.create_input(
        making.image, data_preprocessor=making.model.data_preprocessor
    )
