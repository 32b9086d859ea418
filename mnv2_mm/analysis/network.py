"""Build a config's network without weights and data, and run it at its input size.

Counting needs shapes alone: a model runs once on torch's meta device (tensors
that have a shape and no contents), with its heads and without post-processing.
"""

import copy
import itertools
import os
import re
from collections.abc import Callable, Mapping, Sequence

import torch
from mmengine.config import Config
from mmengine.model import BaseModel, revert_sync_batchnorm
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mnv2_mm.utils.config import config_name, get_config
from mnv2_mm.utils.config_errors import host_of, readable_config_errors
from mnv2_mm.utils.errors import InputError

#: (height, width) in pixels.
Size = tuple[int, int]
#: Steps that end with an image of a stated size, and the argument of it.
#: Two numbers are width and height in all of them.
_SIZED = {
    'Resize': 'scale',
    'CenterCrop': 'crop_size',
    'EfficientNetCenterCrop': 'crop_size',
}
#: Parts of a second stage that run on regions.
_REGION_HEADS = ('bbox_head', 'mask_head', 'shared_head')
_COUNTABLE = (
    'what can be counted are classifiers, segmentors and detectors of one stage, '
    'R-CNNs with boxes and masks, and cascades of them'
)
#: What the hosts raise for a network that needs more than an image.
_HOSTS_ERRORS = RuntimeError, ValueError, AttributeError, AssertionError, TypeError


def build_network(config: str | os.PathLike | Config) -> nn.Module:
    """Build the model of a config on the meta device, in eval mode.

    Raises:
        InputError: there is no such config, or its model cannot be built.
    """
    cfg = copy.deepcopy(get_config(config))
    if cfg.get('model') is None:
        raise InputError(f'config {cfg.filename or config} has no model; give another')
    # on the CPU, since the hosts' anchor generators compute while they are built
    scope = DefaultScope.overwrite_default_scope(host_of(cfg))
    with scope, _NoRandomStart(), readable_config_errors(cfg):
        model = revert_sync_batchnorm(MODELS.build(cfg.model))
    return model.to('meta').eval()


class _NoRandomStart(TorchFunctionMode):
    """Leave weights as they are allocated, since their values are not needed.

    Random numbers take most of the time that a large network needs to be built.
    """

    def __torch_function__(
        self,
        func: Callable,
        types: Sequence[type],
        args: tuple = (),
        kwargs: Mapping | None = None,
    ) -> object:
        kwargs = kwargs or {}
        if func.__name__.endswith(('uniform_', 'normal_')):  # of Tensor, of nn.init
            return args[0] if args else kwargs['tensor']
        return func(*args, **kwargs)


def checked_size(size: object) -> Size:
    """(height, width) of an input, from one side or two.

    Raises:
        InputError: it is not one or two whole numbers of at least 1.
    """
    sides = size if isinstance(size, Sequence) else [size]
    valid = all(isinstance(s, int) and s > 0 for s in sides)
    if len(sides) not in (1, 2) or not valid:
        raise InputError(
            f'the input size {size!r} cannot be used; give a height and a '
            'width of at least 1 pixel each, for example 320 320'
        )
    return sides[0], sides[-1]


@torch.no_grad()
def run(model: nn.Module, size: Size) -> object:
    """One forward pass of one image, up to the heads' raw outputs.

    Args:
        model: Takes (B, 3, H, W). Models of the hosts run in their ``tensor``
            mode: without NMS and resizing to the image.
        size: Height and width of the input.

    Raises:
        InputError: the model cannot run at this size, or not from an image alone.
    """
    image = torch.empty(1, 3, *size, device=next(model.parameters()).device)
    try:
        if not isinstance(model, BaseModel):
            return model(image)
        if getattr(model, 'roi_head', None) is not None:
            return _run_two_stage(model, image)
        return model(image, mode='tensor')
    except InputError:
        raise  # its message is better
    except _HOSTS_ERRORS as error:
        text = str(error).partition('\n')[0]
        if re.search('size|shape', text, re.I):
            raise InputError(
                f'the network cannot run on an input of {size[0]}x{size[1]}: {text}; '
                'give a larger multiple of its stride, 32 for most'
            ) from error
        raise InputError(
            f'{type(model).__name__} cannot be counted ({text or type(error).__name__})'
            f'; {_COUNTABLE}'
        ) from error


def _run_two_stage(model: nn.Module, image: Tensor) -> list:
    """Run the heads on as many regions as ``test_cfg`` lets pass at most.

    Their crops are taken as given: cropping has no multiply-adds.
    """
    head, limits = model.roi_head, model.test_cfg
    for name, module in head.named_children():
        if name not in _REGION_HEADS and any(True for _ in module.parameters()):
            raise InputError(
                f'{type(head).__name__} has a {name}, which is not counted; '
                + _COUNTABLE
            )
    maps = model.extract_feat(image)
    found = [model.rpn_head(maps)]
    counts = {'bbox': limits.rpn.max_per_img}
    if head.with_mask:
        counts['mask'] = limits.rcnn.max_per_img
    for kind, count in counts.items():
        stages = [getattr(head, f'{kind}_{part}') for part in ('roi_extractor', 'head')]
        if not isinstance(stages[0], nn.ModuleList):  # a cascade has several
            stages = [[stage] for stage in stages]
        for extractor, own in zip(*stages, strict=True):
            shape = extractor.out_channels, *extractor.roi_layers[0].output_size
            regions = image.new_empty(count, *shape)
            found.append(
                own(head.shared_head(regions) if head.with_shared_head else regions)
            )
    return found


def input_size(cfg: Config) -> Size:
    """(height, width) of the largest image after the test pipeline.

    Raises:
        InputError: the config has no test pipeline that states a size.
    """
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader')
    dataset = loader['dataset'] if loader else {}
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    size = _size_after(dataset.get('pipeline', ()), None)
    if size is None:
        raise InputError(
            f'config {config_name(cfg)} does not say its input size in a '
            'test pipeline; give it: --shape HEIGHT WIDTH'
        )
    return size


def tta_sizes(cfg: Config) -> list[Size]:
    """(height, width) of each pass of a config's ``tta_pipeline``, in its order.

    Raises:
        InputError: the config has no ``tta_pipeline`` with a TestTimeAug.
    """
    steps = cfg.get('tta_pipeline') or ()
    kinds = [_kind(step) for step in steps]
    if 'TestTimeAug' not in kinds:
        raise InputError(
            f'config {config_name(cfg)} has no tta_pipeline with a TestTimeAug; '
            'leave out --tta, or inherit _base_/datasets/voc_seg.py, which has one'
        )
    index = kinds.index('TestTimeAug')
    before = _size_after(steps[:index], None) or input_size(cfg)
    views = itertools.product(*steps[index]['transforms'])
    return [_size_after(view, before) for view in views]


def _kind(step: Mapping) -> str:
    """Type of a step, without its scope."""
    return str(step['type']).rpartition('.')[2]


def _size_after(steps: Sequence[Mapping], size: Size | None) -> Size | None:
    """(height, width) after some steps of a pipeline."""
    for step in steps:
        stated = step.get(_SIZED.get(_kind(step)))
        if stated is not None:
            size = checked_size(stated if isinstance(stated, int) else stated[::-1])
        elif size and _kind(step) in _SIZED and step.get('scale_factor'):
            size = tuple(int(side * step['scale_factor'] + 0.5) for side in size)
    return size
