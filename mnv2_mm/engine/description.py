"""Describe a model of a host as model.json does, apart from the exported files."""

from collections.abc import Mapping, Sequence

from mmengine.config import Config
from torch import nn

from mnv2_mm.runtime.drawing import default_palette
from mnv2_mm.utils.config import config_name, evaluation_dataset
from mnv2_mm.utils.errors import InputError
from mnv2_mm.version import __version__

_TASKS = {'mmdet': 'det', 'mmseg': 'seg', 'mmpretrain': 'cls'}

#: Transforms that do not change pixels.
_IGNORED = ('LoadImage', 'LoadAnnotations', 'CheckSegMask', 'Pack')


def describe_model(model: nn.Module, cfg: Config) -> dict:
    """The keys of model.json that do not depend on the backend.

    Args:
        model: A model of a host with the attribute ``dataset_meta``.
        cfg: Its config.

    Raises:
        InputError: the classes have no names, or the test pipeline has a transform that
            :mod:`mnv2_mm.runtime` has not.
    """
    names = list(map(str, model.dataset_meta.get('classes') or ()))
    if not names:
        raise InputError(
            'classes have no names; give the test data set metainfo=dict(classes=(...))'
        )
    colors = model.dataset_meta.get('palette')
    if not isinstance(colors, Sequence) or len(colors) != len(names):
        colors = default_palette(len(names))
    info = {
        'format': 2,
        'mnv2_mm': __version__,
        'task': _TASKS[cfg.default_scope],
        'config': config_name(cfg),
        'classes': names,
        'palette': [list(map(int, color)) for color in colors],
        'preprocessing': preprocessing(evaluation_dataset(cfg)['pipeline'], model),
    }
    rules = getattr(getattr(model, 'bbox_head', None), 'test_cfg', None)
    if rules:
        info['thresholds'] = dict(
            score_thr=float(rules.get('score_thr', 0)),
            nms_iou=float((rules.get('nms') or {}).get('iou_threshold', 0.5)),
            max_per_img=int(rules.get('max_per_img', 100)),
        )
    return info


def rgb(processor: nn.Module) -> bool:
    """Whether the data preprocessor of a host turns images into RGB."""
    # mmengine's, upstream mmseg's and mmpretrain's
    names = ('_channel_conversion', 'channel_conversion', 'to_rgb')
    return any(getattr(processor, name, False) for name in names)


def preprocessing(pipeline: Sequence[Mapping], model: nn.Module) -> dict:
    """Steps and pixel scaling, as in model.json."""
    processor = model.data_preprocessor
    padding = getattr(processor, 'test_cfg', None) or {}  # mmseg's
    size, multiple = padding.get('size'), padding.get('size_divisor')
    return {
        'steps': [s for step in pipeline for s in _steps(step)],
        'color_order': 'RGB' if rgb(processor) else 'BGR',
        'mean': processor.mean.flatten().tolist(),
        'std': processor.std.flatten().tolist(),
        'pad_to': list(size)[::-1] if size else None,
        'pad_multiple': max(
            multiple or 1, getattr(processor, 'pad_size_divisor', 1) or 1
        ),
        # the second name is mmdet's and mmpretrain's
        'pad_value': float(
            getattr(processor, 'pad_val', getattr(processor, 'pad_value', 0))
        ),
    }


def _steps(step: Mapping) -> list[dict]:
    """One transform of the hosts as steps of ``mnv2_mm.runtime``."""
    name = step['type'].rpartition('.')[2]
    if name.startswith(_IGNORED):
        return []
    if step.get('backend', 'cv2') != 'cv2':
        raise InputError(
            f"the test pipeline's {name} has backend={step['backend']!r}; an exported "
            "model needs backend='cv2'"
        )
    how = step.get('interpolation', 'bilinear')

    def resize(size: int | Sequence[int], keep_ratio: bool = False) -> dict:
        how_to = dict(keep_ratio=keep_ratio, interpolation=how)
        return dict(do='resize', size=_pair(size), **how_to)

    if name == 'Resize' and 'scale' in step:
        return [resize(step['scale'], bool(step.get('keep_ratio')))]
    if name == 'ResizeEdge' and step.get('edge', 'short') == 'short':
        return [dict(do='resize_short', side=step['scale'], interpolation=how)]
    if name == 'CenterCrop':
        return [dict(do='crop_middle', size=_pair(step['crop_size']))]
    if name == 'CentralCrop':
        return [dict(do='crop_share', share=step.get('fraction', 0.875))]
    if name == 'EfficientNetCenterCrop':
        side, margin = step['crop_size'], step.get('crop_padding', 32)
        how = step.get('interpolation', 'bicubic')
        return [dict(do='crop_square', share=side / (side + margin)), resize(side)]
    raise InputError(
        f"the test pipeline's {step['type']} cannot be exported; supported "
        'are Resize, ResizeEdge, CenterCrop, EfficientNetCenterCrop and '
        'mnv2_mm.CentralCrop'
    )


def _pair(size: int | Sequence[int]) -> list[int]:
    """(width, height) of a number or a pair."""
    return [size, size] if isinstance(size, int) else list(size)
