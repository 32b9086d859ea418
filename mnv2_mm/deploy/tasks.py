"""Task processors that check the checkpoint and use its pixel scaling.

mmdeploy loads any part of a checkpoint that fits, without a warning.
"""

import copy
from collections.abc import Mapping, Sequence

import numpy as np
from mmdeploy.utils import get_input_shape, is_dynamic_shape
from mmengine.config import Config
from torch import Tensor, nn

from mnv2_mm.api import init_model
from mnv2_mm.runtime.preprocess import prepare
from mnv2_mm.utils.config import evaluation_dataset
from mnv2_mm.utils.errors import InputError

_PIXELS = ('mean', 'std')


def set_pixel_scaling(cfg: Config, values: Mapping) -> None:
    """Set mean and std, where the hosts and where mmdeploy read them."""
    pixels = {key: values[key] for key in _PIXELS}
    cfg.model.data_preprocessor.update(pixels)
    cfg.data_preprocessor.update(pixels)


class CheckedTask:
    """Mixin of mmdeploy's task processors; adapts a copy of the model config."""

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
        """The model; raises an InputError for a checkpoint that does not fit."""
        model = init_model(self.model_cfg, model_checkpoint, device=self.device)
        processor = model.data_preprocessor  # converted weights have their own
        values = {key: getattr(processor, key).flatten().tolist() for key in _PIXELS}
        set_pixel_scaling(self.model_cfg, values)
        return model

    def create_input(
        self,
        imgs: str | np.ndarray | Sequence,
        input_shape: Sequence[int] | None = None,
        data_preprocessor: nn.Module | None = None,
    ) -> tuple[dict, Tensor]:
        """Data and network input of images, by the adapted pipeline."""
        return super().create_input(imgs, None, data_preprocessor=data_preprocessor)


def warnings_of_sizes(spec: Mapping) -> list[str]:
    """A warning where images become inputs of several sizes.

    A graph of fixed size refuses all but one. ``spec`` is ``preprocessing`` of
    model.json.
    """
    images = np.zeros((480, 640, 3), np.uint8), np.zeros((640, 480, 3), np.uint8)
    (_, _, *first), (_, _, *second) = (prepare(x, spec)[0].shape for x in images)
    if first == second or spec['pad_to']:
        return []
    return [
        'the test pipeline gives network inputs of several sizes, as '
        f'{first[1]}x{first[0]} and {second[1]}x{second[0]}, and a static export takes '
        'one alone; others need a dynamic deploy config, ir_config.input_shape, or a '
        'pipeline that resizes to a fixed size'
    ]


def fit_pipeline(model_cfg: Config, deploy_cfg: Config) -> None:
    """Adapt the test pipeline to the input size of the graph.

    For a graph of fixed size the images are stretched, as mmdeploy does,
    unless the model pads them to that size.

    Raises:
        InputError: no transform of the pipeline resizes.
    """
    pipeline = evaluation_dataset(model_cfg)['pipeline']
    size = get_input_shape(deploy_cfg)
    processor = model_cfg.model.get('data_preprocessor') or {}
    padded = (processor.get('test_cfg') or {}).get('size') or ()
    if size and not is_dynamic_shape(deploy_cfg) and [*padded][::-1] != [*size]:
        steps = [s for s in pipeline if s['type'].rpartition('.')[2] == 'Resize']
        if not steps:
            raise InputError(
                f'the deploy config asks for {size[0]}x{size[1]} pixels, and the '
                "model's test pipeline has no Resize; leave out "
                'ir_config.input_shape, or use a pipeline with Resize'
            )
        for step in steps:
            step.update(scale=tuple(size), keep_ratio=False)
    model_cfg.test_pipeline = copy.deepcopy(pipeline)
