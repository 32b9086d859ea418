"""Load trained weights into the backbone: ``init_cfg=dict(type='Pretrained', ...)``.

The hosts load such a file non-strictly and say nothing: weights of another code base or
another width leave the network at its random start. Here every tensor is reported.
"""

import logging

from mmengine.logging import print_log
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mnv2_mm.checkpoints.content import check_values
from mnv2_mm.checkpoints.file import read, state_dict_of
from mnv2_mm.checkpoints.hub import local_checkpoint
from mnv2_mm.checkpoints.key_maps.backbones import key_map_of, known_key_maps
from mnv2_mm.checkpoints.report import WeightReport
from mnv2_mm.registry import WEIGHT_INITIALIZERS
from mnv2_mm.utils.errors import InputError


@WEIGHT_INITIALIZERS.register_module(name='Pretrained')
class PretrainedBackbone:
    """Start a backbone from a trained file: ``type='mnv2_mm.Pretrained'``.

    ``MobileNetV2.init_weights`` finds it in the registry for mmengine's ``Pretrained``
    too, since the networks must not import this package. For the arguments see
    :func:`load_backbone`; ``map_location`` is mmengine's and has no effect, since all
    is read on the CPU.
    """

    def __init__(
        self, checkpoint: str, prefix: str | None = None, map_location: object = 'cpu'
    ) -> None:
        self.checkpoint, self.prefix = checkpoint, prefix

    def __call__(self, module: nn.Module) -> None:
        """Load the weights; see :func:`load_backbone`."""
        load_backbone(module, self.checkpoint, prefix=self.prefix)


def load_backbone(
    backbone: nn.Module, source: str, *, prefix: str | None = None
) -> WeightReport:
    """Load a file of weights into a :class:`~mnv2_mm.models.MobileNetV2`.

    Keys of torchvision, timm, d-li14, mmpretrain, mmseg and mmdet are converted.

    Args:
        backbone: The network; it needs every shape of the file.
        source: A file, an address that mmengine can read, or ``mnv2_mm://NAME``.
        prefix: Take only keys below this prefix, and strip it.
    """
    source = local_checkpoint(source)
    weights = state_dict_of(read(source), source)
    if prefix:
        start = prefix.rstrip('.') + '.'
        weights = {
            key.removeprefix(start): value
            for key, value in weights.items()
            if key.startswith(start)
        }
    key_map = key_map_of(weights)
    if key_map is None:
        below = f' below {prefix!r}' if prefix else ''
        example = next(iter(weights), 'none')
        raise InputError(
            f'{source} holds no MobileNetV2 with names of {known_key_maps()}{below} '
            f'(its first key is {example!r}); give the weights of a MobileNetV2, or '
            'the prefix of its keys: init_cfg=dict(..., prefix="backbone.")'
        )
    names = {key_map.convert(key) or key: key for key in weights}
    weights = {ours: weights[theirs] for ours, theirs in names.items()}
    own = backbone.state_dict()
    check_values(weights, own, source)
    report = WeightReport.compare(weights, own, source=source, names=names)
    report.key_map = key_map.name
    for key, (theirs, ours) in report.reshaped.items():
        raise InputError(
            f'{source}: {names[key]} has shape {theirs}, the backbone needs {ours} for '
            f'{key}; set widen_factor (and shrink_last) to the width that the weights '
            'were trained with'
        )
    backbone.load_state_dict(weights, strict=False)
    level = logging.WARNING if report.missing else logging.INFO
    print_log(str(report), 'current', level)
    used = {m.eps for m in backbone.modules() if isinstance(m, _BatchNorm)}
    if used - {key_map.bn_eps}:
        print_log(
            f'{source}: weights with these names were usually trained with BN '
            f'eps={key_map.bn_eps}, the backbone uses {used.pop()}; with frozen '
            f'statistics set norm_cfg=dict(type="BN", eps={key_map.bn_eps})',
            'current',
            logging.WARNING,
        )
    return report
