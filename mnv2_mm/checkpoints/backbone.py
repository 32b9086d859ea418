"""Load trained weights into the backbone, with an account of every tensor.

``init_cfg=dict(type='Pretrained', checkpoint=FILE)`` of the backbone comes
here. The hosts load such a file non-strictly, so that weights of another
code base or another width leave the network at its random start in silence.
"""

import logging
from dataclasses import dataclass, field

from mmengine.logging import print_log
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mnv2_mm.checkpoints.key_maps.backbones import key_map_of, known_key_maps
from mnv2_mm.checkpoints.source import SCHEME
from mnv2_mm.registry import WEIGHT_INITIALIZERS
from mnv2_mm.utils.errors import InputError

_SHOWN = 5  # keys named in a message


@dataclass
class Report:
    """What became of the tensors of a file and of the backbone."""

    source: str
    key_map: str
    matched: list[str] = field(default_factory=list)
    #: In the file only: a classifier, or layers beyond the deepest tap.
    unused: list[str] = field(default_factory=list)
    #: In the backbone only; they keep their initial values.
    missing: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [
            f'{self.source} ({self.key_map} names): '
            f'{len(self.matched)} tensors loaded into the backbone'
        ]
        for what, keys in (
            ('not used', self.unused),
            ('left at their initial values', self.missing),
        ):
            if keys:
                shown = ', '.join(keys[:_SHOWN])
                more = len(keys) - _SHOWN
                shown += f' and {more} more' if more > 0 else ''
                lines.append(f'{len(keys)} {what}: {shown}')
        return '; '.join(lines)


def load_backbone(
    backbone: nn.Module, source: str, *, prefix: str | None = None
) -> Report:
    """Fill a :class:`~mnv2_mm.models.MobileNetV2` from a state dict file.

    Names of torchvision, timm, d-li14, mmpretrain, mmseg and mmdet are
    converted.

    Args:
        backbone: The network.
        source: A file, an address that mmengine can read, or
            ``mnv2_mm://NAME`` for a network of configs/official.
        prefix: Take only keys below this prefix, and strip it.

    Raises:
        InputError: nothing in the file fits by name, or a shape differs.
    """
    from mnv2_mm.checkpoints.file import read, state_dict_of

    if source.startswith(SCHEME):
        from mnv2_mm.checkpoints.hub import published_checkpoint

        source = str(published_checkpoint(source))
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
            f'{source} holds no MobileNetV2 with names of {known_key_maps()}'
            f'{below} (its first key is {example!r}); give the weights of a '
            'MobileNetV2, or the prefix its keys begin with: '
            'init_cfg=dict(type="Pretrained", checkpoint=FILE, '
            'prefix="backbone.")'
        )
    own = backbone.state_dict()
    report = Report(source, key_map.name)
    fitting: dict[str, Tensor] = {}
    for key, value in weights.items():
        ours = key_map.convert(key)
        if ours not in own:
            report.unused.append(key)
            continue
        if value.shape != own[ours].shape:
            raise InputError(
                f'{source}: {key} has shape {tuple(value.shape)}, the '
                f'backbone needs {tuple(own[ours].shape)} for {ours}; set '
                'widen_factor (and shrink_last) to the width that the '
                'weights were trained with'
            )
        fitting[ours] = value
        report.matched.append(ours)
    report.missing = [
        key
        for key in own
        if key not in fitting and not key.endswith('num_batches_tracked')
    ]
    backbone.load_state_dict(fitting, strict=False)
    incomplete = logging.WARNING if report.missing else logging.INFO
    print_log(str(report), 'current', incomplete)
    _warn_of_epsilon(backbone, key_map.bn_eps, source)
    return report


@WEIGHT_INITIALIZERS.register_module(name='Pretrained')
class PretrainedBackbone:
    """Start a backbone from a trained file: ``type='mnv2_mm.Pretrained'``.

    MobileNetV2 takes it for mmengine's ``Pretrained`` too. The registry
    connects the two, so that the networks import nothing of this package.

    Args:
        checkpoint: As ``source`` of :func:`load_backbone`.
        prefix: Take only keys below this prefix, and strip it.
    """

    def __init__(self, checkpoint: str, prefix: str | None = None) -> None:
        self.checkpoint = checkpoint
        self.prefix = prefix

    def __call__(self, module: nn.Module) -> None:
        """Fill the module; see :func:`load_backbone`."""
        load_backbone(module, self.checkpoint, prefix=self.prefix)


def _warn_of_epsilon(backbone: nn.Module, trained_with: float, source: str) -> None:
    used = {m.eps for m in backbone.modules() if isinstance(m, _BatchNorm)}
    if used - {trained_with}:
        print_log(
            f'{source}: weights with these names were usually trained with '
            f'BN eps={trained_with}, the backbone uses {used.pop()}; with '
            f'frozen statistics set norm_cfg=dict(type="BN", '
            f'eps={trained_with})',
            'current',
            logging.WARNING,
        )
