"""MobileNetV2 (section 4, Table 2) as a backbone for every OpenMMLab host.

What differs from the backbone of the same name in mmdet, mmseg and
mmpretrain, because trained weights and published numbers need it:

* taps by TF end-point name too, so that SSDLite gets the expansion of
  layer_15 (576 channels, section 6.2) and DeepLab the 320-channel layer_18;
* ``output_stride`` follows TF's rule for atrous rates; mmseg gives the rate
  to the wrong blocks;
* padding can be TF's SAME; BN epsilon and momentum are TF's by default;
* only what the deepest tap needs is built, freezing covers BN statistics,
  and ``train()`` returns the module.
"""

from collections.abc import Sequence

from mmengine.model import initialize
from torch import Tensor, nn

from mnv2_mm.models.ablations import (
    ResidualVariant,
    Shortcut,
    join_expansions,
    variant_options,
)
from mnv2_mm.models.blocks import (
    BN_CLASSIFICATION,
    ConvNormAct,
    InvertedResidual,
    Padding,
    make_divisible,
    padding_conv_cfg,
    truncated_normal,
)
from mnv2_mm.models.layout import (
    LAST_CHANNELS,
    LAST_LAYER,
    PARTS,
    STEM_CHANNELS,
    TABLE_2,
    parse_tap,
)
from mnv2_mm.models.split_inference import ExpansionSplit
from mnv2_mm.models.tapped_backbone import (
    StridePlan,
    TappedBackbone,
    check_taps,
    check_width,
)
from mnv2_mm.registry import MODELS


@MODELS.register_module()
class MobileNetV2(TappedBackbone):
    """MobileNetV2 with named taps.

    Args:
        widen_factor: Width multiplier; channels are rounded to multiples of
            8 and never lose more than 10 %.
        out_indices: The maps to return, in this order. Stage indices as in
            the hosts (0..6 are the seven stages of Table 2, 7 is layer_19)
            and TF end-point names (``'layer_15/expansion_output'``,
            ``'layer_18'``) can be mixed.
        output_stride: 32, 16 or 8: input size over the size of the last
            map. Below 32 the later blocks are dilated instead.
        padding: ``'symmetric'`` (PyTorch) or ``'same'`` (TensorFlow), see
            :func:`~mnv2_mm.models.blocks.padding_conv_cfg`.
        shrink_last: Let the width multiplier shrink layer_19 below 1280
            channels too, as TF's detection extractor does; classification
            keeps 1280 (section 4.1, "Trade-off hyper parameters").
        norm_cfg: Normalization layers.
        act_cfg: Activation; the paper's is ReLU6.
        frozen_stages: -1 freezes nothing, 0 the stem, n the stem and the
            first n stages: parameters and BN statistics; 8 is everything.
        norm_eval: Keep all BN statistics fixed while training.
        with_cp: Trade time for memory by recomputing blocks backwards.
        expansion_split: Trade time for memory at inference: the parts in
            which a block computes its expanded tensor (section 5.1), or
            ``'full'`` for one channel at a time. A block whose expansion
            is tapped computes it whole.
        bottleneck_act: Activation after the projections, for Figure 6a;
            None is the paper's linear bottleneck.
        shortcut: ``'bottleneck'`` (the paper's network), ``'expansion'`` or
            ``'none'``, for Figure 6b; see
            :mod:`mnv2_mm.models.ablations`.
        init_cfg: Initialization; the default is TF's truncated normal of
            standard deviation 0.09. ``dict(type='Pretrained',
            checkpoint=FILE)`` also reads state dicts of torchvision and
            mmpretrain (:mod:`mnv2_mm.checkpoints`).

    Attributes:
        out_channels: Channels of each returned map.
        out_strides: Input size over map size of each returned map.
    """

    def __init__(
        self,
        widen_factor: float = 1.0,
        out_indices: Sequence[int | str] = (7,),
        *,
        output_stride: int = 32,
        padding: Padding = 'symmetric',
        shrink_last: bool = False,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        expansion_split: ExpansionSplit = 1,
        bottleneck_act: dict | None = None,
        shortcut: Shortcut = 'bottleneck',
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(
            PARTS,
            frozen_stages=frozen_stages,
            norm_eval=norm_eval,
            init_cfg=init_cfg or truncated_normal(0.09, layer='Conv2d'),
        )
        check_width(widen_factor, published='0.35 0.5 0.75 1.0 1.3 1.4')
        check_taps(out_indices, example="(6,) or ('layer_18',)")
        self.taps = tuple(parse_tap(tap) for tap in out_indices)
        self.padding = padding
        self.norm_cfg = norm_cfg or dict(BN_CLASSIFICATION)
        common = dict(
            conv_cfg=padding_conv_cfg(padding),
            norm_cfg=self.norm_cfg,
            act_cfg=act_cfg or dict(type='ReLU6'),
        )
        variant = variant_options(bottleneck_act, shortcut)
        block_type = ResidualVariant if variant else InvertedResidual
        self.joins_expansions = shortcut == 'expansion'
        # (channels, stride) of every end point, by (TF layer, is expansion)
        facts: dict[tuple[int, bool], tuple[int, int]] = {}
        deepest = max(layer for layer, _ in self.taps)

        plan = StridePlan(output_stride)
        stride, _ = plan.next(2)
        channels = make_divisible(STEM_CHANNELS * widen_factor)
        self.conv1 = ConvNormAct(3, channels, 3, stride=stride, padding=1, **common)
        layer = 1
        facts[layer, False] = channels, plan.stride
        self.stages: list[str] = []
        for index, row in enumerate(TABLE_2, start=1):
            blocks = []
            out_channels = make_divisible(row.channels * widen_factor)
            for repeat in range(row.repeats):
                if layer == deepest:
                    break
                layer += 1
                stride_in = plan.stride
                stride, dilation = plan.next(row.stride if not repeat else 1)
                block = block_type(
                    channels,
                    out_channels,
                    stride=stride,
                    expand_ratio=row.expand_ratio,
                    dilation=dilation,
                    with_cp=with_cp,
                    expansion_split=expansion_split,
                    **variant,
                    **common,
                )
                blocks.append(block)
                facts[layer, True] = block.expanded_channels, stride_in
                facts[layer, False] = out_channels, plan.stride
                channels = out_channels
            if blocks:
                self.stages.append(f'layer{index}')
                self.add_module(self.stages[-1], nn.Sequential(*blocks))
        if self.joins_expansions:
            join_expansions([b for s in self.stages for b in getattr(self, s)])
        if deepest == LAST_LAYER:
            last = make_divisible(LAST_CHANNELS * widen_factor)
            last = last if shrink_last else max(last, LAST_CHANNELS)
            self.conv2 = ConvNormAct(channels, last, 1, **common)
            facts[LAST_LAYER, False] = last, plan.stride
        self.out_channels = tuple(facts[tap][0] for tap in self.taps)
        self.out_strides = tuple(facts[tap][1] for tap in self.taps)
        self._freeze()

    def init_weights(self) -> None:
        """Initialize; ``Pretrained`` goes through the name conversion."""
        configs = self.init_cfg
        configs = [configs] if isinstance(configs, dict) else list(configs)
        pretrained = [c for c in configs if c['type'] == 'Pretrained']
        if not pretrained or self._is_init:
            super().init_weights()
            return
        self.init_cfg = [c for c in configs if c['type'] != 'Pretrained']
        self.init_cfg = self.init_cfg or None
        super().init_weights()
        self.init_cfg = configs
        # our own knows the names of other code bases
        initialize(self, [c | dict(type='mnv2_mm.Pretrained') for c in pretrained])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> the tapped maps, (B, C, H/stride, W/stride)."""
        wanted = set(self.taps)
        found: dict[tuple[int, bool], Tensor] = {}
        layer = 1
        x = self.conv1(x)
        if (layer, False) in wanted:
            found[layer, False] = x
        expanded = None
        for stage in self.stages:
            for block in getattr(self, stage):
                layer += 1
                if self.joins_expansions:
                    expanded, x = block.forward_with_expansion(x, expanded)
                elif (layer, True) in wanted:
                    expanded, x = block.forward_with_expansion(x)
                else:
                    x = block(x)
                if (layer, True) in wanted:
                    found[layer, True] = expanded
                if (layer, False) in wanted:
                    found[layer, False] = x
        if (LAST_LAYER, False) in wanted:
            found[LAST_LAYER, False] = self.conv2(x)
        return tuple(found[tap] for tap in self.taps)
