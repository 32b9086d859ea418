"""MobileNetV2 (section 4, Table 2) as a backbone for mmdet, mmseg and mmpretrain.

Differs from the hosts' own backbones of this name:

* taps by TF end-point name too: SSDLite gets the expansion of layer_15 (576
  channels, section 6.2), DeepLab the 320-channel layer_18;
* ``output_stride`` follows TF's rule for atrous rates; mmseg gives the rate to
  the wrong blocks;
* padding can be TF's SAME; BN epsilon and momentum are TF's by default;
* only what the deepest tap needs is built, freezing covers BN statistics, and
  ``train()`` returns the module.

TF counts the stem as layer_1, the blocks as layer_2 to layer_18 and the last
1x1 convolution as layer_19. The expanded tensor inside of a block, after BN and
ReLU6, is ``layer_k/expansion_output``.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from mmengine.model.weight_init import PretrainedInit
from torch import Tensor, nn

from mnv2_mm.models.blocks import (
    BN_CLASSIFICATION,
    ConvNormAct,
    InvertedResidual,
    Padding,
    layer_cfgs,
    make_divisible,
    truncated_normal,
)
from mnv2_mm.models.split_inference import ExpansionSplit
from mnv2_mm.models.tapped_backbone import (
    FeatureInfo,
    StridePlan,
    TappedBackbone,
    check_width,
    tap_names,
)
from mnv2_mm.registry import MODELS
from mnv2_mm.utils.arguments import checked_arguments
from mnv2_mm.utils.errors import InputError


class Row(NamedTuple):
    """A row of Table 2: t, c, n, s."""

    expand_ratio: int
    channels: int
    repeats: int
    stride: int


TABLE_2 = (
    Row(1, 16, 1, 1),
    Row(6, 24, 2, 2),
    Row(6, 32, 3, 2),
    Row(6, 64, 4, 2),
    Row(6, 96, 3, 1),
    Row(6, 160, 3, 2),
    Row(6, 320, 1, 1),
)
STEM_CHANNELS = 32
LAST_CHANNELS = 1280
LAST_LAYER = 2 + sum(row.repeats for row in TABLE_2)  # 19
#: What ``frozen_stages`` counts: the stem, the seven rows of Table 2, layer_19.
STAGES = ('conv1', *(f'layer{i}' for i in range(1, 8)), 'conv2')
#: The end points that stage indices 0 to 7 stand for, as in the hosts.
STAGE_ENDS = tuple(f'layer_{n}' for n in (2, 4, 7, 11, 14, 17, 18, LAST_LAYER))
EXPANSION = '/expansion_output'
#: Number of the layer that computes each end point.
END_POINTS = {
    **{f'layer_{n}': n for n in range(1, LAST_LAYER + 1)},
    **{f'layer_{n}{EXPANSION}': n for n in range(3, LAST_LAYER)},
}


@MODELS.register_module()
@checked_arguments
class MobileNetV2(TappedBackbone):
    """MobileNetV2 with named taps.

    Args:
        widen_factor: Width multiplier; channels are rounded to multiples of
            ``divisor`` and never lose more than 10 %.
        out_indices: The maps to return, in this order: stage indices as in
            the hosts (0..6 are the stages of Table 2, 7 is layer_19) and TF
            end-point names (``'layer_15/expansion_output'``) can be mixed.
        output_stride: 32, 16 or 8: input size over the size of the last
            map. Below 32 the later blocks are dilated instead.
        padding: ``'symmetric'`` (PyTorch) or ``'same'`` (TensorFlow), see
            :func:`~mnv2_mm.models.blocks.layer_cfgs`.
        shrink_last: Let the width multiplier shrink layer_19 below 1280
            channels too, as TF's detection extractor does; classification
            keeps 1280 (section 4.1, "Trade-off hyper parameters").
        divisor: What channels are multiples of: 8, or 1 as TF's DeepLab rounds
            at widths other than 1.
        norm_cfg: Normalization layers; TF's classification scope by default.
        act_cfg: Activation; the paper's ReLU6 by default.
        frozen_stages: -1 freezes nothing, 0 the stem, n the stem and the
            first n stages: parameters and BN statistics; 8 is everything.
        norm_eval: Keep all BN statistics fixed while training.
        with_cp: Save memory by recomputing blocks in the backward pass.
        expansion_split: Save memory at inference: the number of parts in
            which a block computes its expanded tensor (section 5.1), or
            ``'full'`` for one channel at a time. A block whose expansion is
            tapped computes it whole.
        init_cfg: TF's truncated normal of standard deviation 0.09 by default.
            ``dict(type='Pretrained', checkpoint=FILE)`` also reads state
            dicts of other code bases (:mod:`mnv2_mm.checkpoints`).

    Attributes:
        feature_info: Channels and stride of every end point that is built.
        out_channels: Channels of each returned map.
        out_strides: Input size over map size of each returned map.
    """

    stage_names = STAGES
    default_init = truncated_normal(0.09, layer='Conv2d')

    def __init__(
        self,
        widen_factor: float = 1.0,
        out_indices: Sequence[int | str] = (7,),
        *,
        output_stride: int = 32,
        padding: Padding = 'symmetric',
        shrink_last: bool = False,
        divisor: int = 8,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        expansion_split: ExpansionSplit = 1,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(
            frozen_stages=frozen_stages,
            norm_eval=norm_eval,
            init_cfg=_own_pretrained(init_cfg),
        )
        check_width(widen_factor, published='0.35 0.5 0.75 1.0 1.3 1.4')
        if divisor not in (1, 8):
            raise InputError(
                f'divisor={divisor!r} is not offered; use 8 or 1 (DeepLab)'
            )
        self.taps = tap_names(
            out_indices,
            STAGE_ENDS,
            END_POINTS,
            known=f"'layer_1'..'layer_{LAST_LAYER}' or 'layer_3{EXPANSION}'.."
            f"'layer_{LAST_LAYER - 1}{EXPANSION}'",
        )
        self.padding = padding
        layer_cfg = layer_cfgs(padding, norm_cfg or BN_CLASSIFICATION, act_cfg)
        plan = StridePlan(output_stride)
        deepest = max(END_POINTS[tap] for tap in self.taps)

        stride, _ = plan.next(2)
        channels = make_divisible(STEM_CHANNELS * widen_factor, divisor)
        self.conv1 = ConvNormAct(3, channels, 3, stride=stride, padding=1, **layer_cfg)
        layer = 1
        self.feature_info = {'layer_1': FeatureInfo(channels, plan.stride)}
        self.stages: list[str] = []
        for stage, row in zip(STAGES[1:-1], TABLE_2, strict=True):
            blocks = []
            out_channels = make_divisible(row.channels * widen_factor, divisor)
            for repeat in range(min(row.repeats, deepest - layer)):
                layer += 1
                in_stride = plan.stride
                stride, dilation = plan.next(1 if repeat else row.stride)
                block = self._make_block(
                    channels,
                    out_channels,
                    stride=stride,
                    expand_ratio=row.expand_ratio,
                    dilation=dilation,
                    with_cp=with_cp,
                    expansion_split=expansion_split,
                    **layer_cfg,
                )
                blocks.append(block)
                name, channels = f'layer_{layer}', out_channels
                self.feature_info[name] = FeatureInfo(channels, plan.stride)
                if row.expand_ratio > 1:
                    self.feature_info[name + EXPANSION] = FeatureInfo(
                        block.expanded_channels, in_stride
                    )
            if blocks:
                self.stages.append(stage)
                self.add_module(stage, nn.Sequential(*blocks))
        if deepest == LAST_LAYER:
            last = make_divisible(LAST_CHANNELS * widen_factor, divisor)
            last = last if shrink_last else max(last, LAST_CHANNELS)
            self.conv2 = ConvNormAct(channels, last, 1, **layer_cfg)
            self.feature_info[f'layer_{LAST_LAYER}'] = FeatureInfo(last, plan.stride)
        self._freeze()

    @property
    def blocks(self) -> list[InvertedResidual]:
        """The blocks from layer_2 on, as far as they are built."""
        return [block for stage in self.stages for block in getattr(self, stage)]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> the tapped maps, (B, C, H/stride, W/stride)."""
        found: dict[str, Tensor] = {}
        x, expanded = self.conv1(x), None
        if 'layer_1' in self.taps:
            found['layer_1'] = x
        for layer, block in enumerate(self.blocks, start=2):
            name = f'layer_{layer}'
            tapped = name + EXPANSION in self.taps
            expanded, x = self._run_block(block, x, expanded, tapped=tapped)
            if tapped:
                found[name + EXPANSION] = expanded
            if name in self.taps:
                found[name] = x
        if f'layer_{LAST_LAYER}' in self.taps:
            found[f'layer_{LAST_LAYER}'] = self.conv2(x)
        return tuple(found[tap] for tap in self.taps)

    # The two methods that a variant of the network overrides; see ablations.py.
    def _make_block(
        self, in_channels: int, out_channels: int, **kwargs: Any
    ) -> InvertedResidual:
        return InvertedResidual(in_channels, out_channels, **kwargs)

    def _run_block(
        self, block: Any, x: Tensor, previous: Any, *, tapped: bool
    ) -> tuple[Any, Tensor]:
        """The expanded tensor, or None where nothing needs it, and the output.

        ``previous`` is the expanded tensor of the block before.
        """
        return block.forward_with_expansion(x) if tapped else (None, block(x))


def _own_pretrained(init_cfg: dict | list[dict] | None) -> list[dict]:
    """Read ``Pretrained`` weights by our initializer, after all others."""
    configs = [init_cfg] if isinstance(init_cfg, dict) else init_cfg or []
    if not all(isinstance(cfg, dict) and 'type' in cfg for cfg in configs):
        raise InputError(
            f'init_cfg={init_cfg!r} is not offered; give a dict with type, as '
            "dict(type='Pretrained', checkpoint='FILE')"
        )
    pretrained = [cfg for cfg in configs if _is_pretrained(cfg['type'])]
    others = [cfg for cfg in configs if not _is_pretrained(cfg['type'])]
    return others + [cfg | dict(type='mnv2_mm.Pretrained') for cfg in pretrained]


def _is_pretrained(kind: str | type) -> bool:
    """Whether it is mmengine's initializer, by a name or as the class."""
    if isinstance(kind, type):
        return kind is PretrainedInit
    names = ('Pretrained', 'mmengine.Pretrained')
    return kind in names or kind.endswith('.PretrainedInit')
