"""Task processors that check the checkpoint and use its pixel scaling.

mmdeploy loads any part of a checkpoint that fits, without a warning. Here a
checkpoint is checked as in the rest of this project, and converted weights
bring the pixel scaling that they were trained with.
"""

import copy
from collections.abc import Sequence

import numpy as np
from mmdeploy.utils import get_input_shape, is_dynamic_shape
from mmengine.config import Config
from torch import Tensor, nn

from mnv2_mm.api import init_model
from mnv2_mm.utils.config import evaluation_dataset
from mnv2_mm.utils.errors import InputError


class CheckedTask:
    """Mixin of mmdeploy's task processors.

    Args:
        model_cfg: Model config; it is copied, and the test pipeline of the
            copy is adapted to the input of the graph.
        deploy_cfg: Deploy config.
        device: 'cpu', 'cuda:0', ...
    """

    def __init__(self, model_cfg: Config, deploy_cfg: Config, device: str) -> None:
        model_cfg = copy.deepcopy(model_cfg)
        fit_pipeline(model_cfg, deploy_cfg)
        # mmdeploy reads it there for mmseg and mmpretrain
        if model_cfg.get('data_preprocessor') is None:
            model_cfg.data_preprocessor = copy.deepcopy(
                model_cfg.model.data_preprocessor
            )
        super().__init__(model_cfg, deploy_cfg, device)

    def build_pytorch_model(
        self, model_checkpoint: str | None = None, *_: object, **__: object
    ) -> nn.Module:
        """The model with its checked weights, ready for prediction.

        Raises:
            InputError: the checkpoint does not fit the config.
        """
        model = init_model(self.model_cfg, model_checkpoint, device=self.device)
        processor = model.data_preprocessor
        if getattr(processor, 'mean', None) is not None:
            pixels = {
                name: getattr(processor, name).flatten().tolist()
                for name in ('mean', 'std')
            }
            self.model_cfg.model.data_preprocessor.update(pixels)
            self.model_cfg.data_preprocessor.update(pixels)
        return model

    def create_input(
        self,
        imgs: str | np.ndarray | Sequence,
        input_shape: Sequence[int] | None = None,
        data_preprocessor: nn.Module | None = None,
    ) -> tuple[dict, Tensor]:
        """Data and network input of images, by the adapted pipeline."""
        return super().create_input(imgs, None, data_preprocessor=data_preprocessor)


def fit_pipeline(model_cfg: Config, deploy_cfg: Config) -> None:
    """Adapt the test pipeline to the input size of the graph.

    For a graph of fixed size the images are stretched, as mmdeploy does,
    unless the model pads them to that size. Export, calibration and
    evaluation all use this pipeline.

    Raises:
        InputError: no transform of the pipeline resizes.
    """
    dataset = evaluation_dataset(model_cfg)
    size = get_input_shape(deploy_cfg)
    if size is not None and not is_dynamic_shape(deploy_cfg):
        _fix_size(model_cfg, dataset['pipeline'], tuple(size))
    model_cfg.test_pipeline = copy.deepcopy(dataset['pipeline'])


def _fix_size(model_cfg: Config, pipeline: list[dict], size: tuple[int, int]) -> None:
    processor = model_cfg.model.get('data_preprocessor') or {}
    padded = (processor.get('test_cfg') or {}).get('size')
    if padded is not None and tuple(padded)[::-1] == size:
        return
    steps = [s for s in pipeline if s['type'].rpartition('.')[2] == 'Resize']
    if not steps:
        raise InputError(
            f'the deploy config asks for {size[0]}x{size[1]} pixels, and the '
            "model's test pipeline has no Resize; leave out "
            'ir_config.input_shape, or use a pipeline with Resize'
        )
    for step in steps:
        step.update(scale=size, keep_ratio=False)
