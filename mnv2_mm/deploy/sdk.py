"""Dump deploy.json, pipeline.json and detail.json for mmdeploy's SDK.

mmdeploy writes them from a config. Here the config has the checkpoint's scaling of
pixels, and only transforms and heads that the SDK knows.
"""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmdeploy.backend.sdk.export_info import export2SDK
from mmengine.config import Config

from mnv2_mm.deploy.export import Exporter
from mnv2_mm.utils.config_errors import host_of
from mnv2_mm.utils.errors import InputError


def check(deploy_cfg: Config, model_cfg: Config) -> None:
    """Raise an InputError for what the SDK cannot run as PyTorch does."""
    backend = deploy_cfg.backend_config.type
    if backend != 'onnxruntime':
        raise InputError(
            f'--dump-info is for deploy configs of onnxruntime, not of {backend}: the '
            'package mmdeploy_runtime has no other backend that reads these files'
        )
    if host_of(model_cfg) == 'mmseg':
        raise InputError(
            "--dump-info is not for segmentation: mmdeploy's SDK stretches the mask of "
            'the whole network input to the image, and cannot remove the padding; run '
            'the exported model by tools/run_exported.py'
        )


def dump_info(exporter: Exporter, folder: Path, info: Mapping) -> None:
    """Write the three files into the folder of an exported model.

    Args:
        exporter: Has exported the model.
        folder: Folder of the exported model.
        info: Content of its model.json.
    """
    cfg = copy.deepcopy(exporter.processor.model_cfg)
    cfg.test_pipeline = [
        dict(type='LoadImageFromFile'),
        *transforms(info['preprocessing']['steps']),
        dict(type='PackDetInputs' if info['task'] == 'det' else 'PackInputs'),
    ]
    cfg.test_dataloader.dataset.pipeline = cfg.test_pipeline
    if info['task'] == 'cls':
        cfg.model.head.type = 'LinearClsHead'
    export2SDK(exporter.deploy_cfg, cfg, str(folder), exporter.checkpoint, 'cpu')


def transforms(steps: Sequence[Mapping]) -> list[dict]:
    """Steps of model.json as transforms of the hosts that the SDK knows.

    It cannot crop a share of an image. That and the resize after it become a resize of
    the whole image and a crop, by which the crop's border moves by up to one pixel.
    """
    found: list[dict] = []
    share, square = 1.0, False

    def crop(size: Sequence[int]) -> dict:
        # the SDK reads height, width; mmcv's has width, height
        return dict(type='CenterCrop', crop_size=tuple(size)[::-1])

    for step in steps:
        how = dict(interpolation=step.get('interpolation'))
        if step['do'].startswith('crop_s'):
            share, square = step['share'], step['do'] == 'crop_square'
        elif step['do'] == 'crop_middle':
            found.append(crop(step['size']))
        elif step['do'] == 'resize_short':
            found.append(dict(type='ResizeEdge', scale=step['side'], **how))
        elif share < 1:
            whole = [round(side / share) for side in step['size']]
            found.append(
                dict(type='ResizeEdge', scale=whole[0], **how)
                if square
                else dict(type='Resize', scale=whole, keep_ratio=False, **how)
            )
            found.append(crop(step['size']))
        else:
            how |= dict(scale=step['size'], keep_ratio=step['keep_ratio'])
            found.append(dict(type='Resize', **how))
    return found
