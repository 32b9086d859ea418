"""A config's network without weights and without data, and how to run it.

Counting needs shapes alone. Here a model of mmdet, mmseg or mmpretrain is
built, moved to torch's meta device (tensors that have a shape and no
contents) and run once, heads included and post-processing not. A pass of 100
billion multiply-adds then takes a fraction of a second and no memory.
"""

import copy
import os
from collections.abc import Sequence

import torch
from mmengine.config import Config
from mmengine.model import BaseModel, revert_sync_batchnorm
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn

from mnv2_mm.utils.config import get_config
from mnv2_mm.utils.config_errors import host_of, readable_config_errors
from mnv2_mm.utils.errors import InputError

#: (height, width) in pixels.
Size = tuple[int, int]


def build_network(config: str | os.PathLike | Config) -> nn.Module:
    """Build the model of a config on the meta device, in eval mode.

    Raises:
        InputError: there is no such config, or its model cannot be built.
    """
    cfg = copy.deepcopy(get_config(config))
    if cfg.get('model') is None:
        raise InputError(
            f'config {cfg.filename or config} has no model; give one of '
            'configs/ that trains'
        )
    # Built on the CPU: the hosts' anchor generators compute while they are
    # built, and that needs numbers.
    scope = DefaultScope.overwrite_default_scope(host_of(cfg))
    with scope, readable_config_errors(cfg):
        model = revert_sync_batchnorm(MODELS.build(cfg.model))
    return model.to('meta').eval()


def checked_size(size: object) -> Size:
    """(height, width) of an input, from one side or two.

    Raises:
        InputError: it is not one or two whole numbers of at least 1.
    """
    if isinstance(size, int):
        sides = [size]
    else:
        sides = list(size) if isinstance(size, Sequence) else []
    whole = all(isinstance(s, int) and s > 0 for s in sides)
    if len(sides) not in (1, 2) or not whole:
        raise InputError(
            f'the input size {size!r} cannot be used; give a height and a '
            'width of at least 1 pixel each, for example 320 320'
        )
    return sides[0], sides[-1]


@torch.no_grad()
def run(model: nn.Module, size: Size) -> object:
    """One forward pass of one image, up to the heads' raw outputs.

    Args:
        model: Any module that takes (B, 3, H, W). Models of the hosts run
            in their ``tensor`` mode: without NMS and resizing to the
            image. Of a two-stage detector the box head runs on as many
            regions as its ``test_cfg`` lets pass at most.
        size: Height and width of the input.

    Raises:
        InputError: the model cannot run at this size.
    """
    height, width = checked_size(size)
    device = next(model.parameters()).device
    image = torch.empty(1, 3, height, width, device=device)
    try:
        if not isinstance(model, BaseModel):
            return model(image)
        if getattr(model, 'roi_head', None) is not None:
            return _run_two_stage(model, image)
        return model(image, mode='tensor')
    except InputError:
        raise  # the network says it better
    except (RuntimeError, ValueError) as error:
        text = str(error).partition('\n')[0]
        raise InputError(
            f'the network cannot run on an input of {height}x{width}: {text} '
            '(a multiple of its stride, 32 for most, that is not too small '
            'will do)'
        ) from error


def _run_two_stage(model: nn.Module, image: Tensor) -> tuple:
    """As :func:`run`; the crops of the regions are taken as given.

    Their number depends on the image, and cropping has no multiply-adds.
    """
    maps = model.extract_feat(image)
    extractor = model.roi_head.bbox_roi_extractor
    regions = image.new_empty(
        model.test_cfg.rpn.max_per_img,
        extractor.out_channels,
        *extractor.roi_layers[0].output_size,
    )
    return model.rpn_head(maps), model.roi_head.bbox_head(regions)
