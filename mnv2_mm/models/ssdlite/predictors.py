"""SSDLite's predictors (section 6.2): box codes and class logits a level.

Depthwise 3x3 and 1x1 (or plain SSD's 3x3), for boxes and classes apart,
nothing shared between levels: TF's convolutional box predictor.
"""

from collections.abc import Sequence

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.registry import TASK_UTILS
from torch import Tensor, nn

from mnv2_mm.models.blocks import (
    BN_DETECTION,
    Padding,
    depthwise,
    padding_conv_cfg,
    truncated_normal,
)
from mnv2_mm.models.ssdlite.loss import ClassSlotLoss
from mnv2_mm.utils.errors import InputError

#: TF's FasterRcnnBoxCoder with scales 10, 10, 5, 5, in mmdet's x, y, w, h.
BOX_CODER = dict(
    type='mmdet.DeltaXYWHBBoxCoder',
    target_means=(0.0, 0.0, 0.0, 0.0),
    target_stds=(0.1, 0.1, 0.2, 0.2),
)


class SSDLitePredictors(BaseDenseHead):
    """Box and class predictors on every level, with their anchors.

    Args:
        num_classes: Classes without the background.
        in_channels: Channels of each level, as ``SSDLiteNeck.out_channels``.
        use_depthwise: Depthwise 3x3 + 1x1 (SSDLite) or a full 3x3 (SSD).
        loss: ``'sigmoid'`` or ``'softmax'``, over the classes and the
            background.
        background_slot: False for a sigmoid head without a slot for the
            background, as some of Google's detectors.
        anchor_generator: Default boxes.
        bbox_coder: Box coder.
        padding: As the backbone's; without effect on these stride-1 layers
            but stated once for all parts.
        norm_cfg: Normalization; TF's detection scope by default.
        act_cfg: Activation; ReLU6 by default.
        init_cfg: Initialization; truncated normal 0.03 by default.

    Raises:
        InputError: as many channel counts as levels are needed.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int],
        *,
        use_depthwise: bool = True,
        loss: str = 'sigmoid',
        background_slot: bool = True,
        anchor_generator: dict | None = None,
        bbox_coder: dict | None = None,
        padding: Padding = 'symmetric',
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or truncated_normal(0.03, layer='Conv2d'))
        self.num_classes = num_classes
        self.in_channels = tuple(in_channels)
        self.use_depthwise = use_depthwise
        self.prior_generator = TASK_UTILS.build(
            anchor_generator or dict(type='mnv2_mm.SSDLiteAnchorGenerator')
        )
        self.bbox_coder = TASK_UTILS.build(bbox_coder or BOX_CODER)
        self.loss_cls = ClassSlotLoss(
            num_classes, loss, background_slot=background_slot
        )
        self.background_slot = background_slot
        self.cls_out_channels = self.loss_cls.slots
        self.use_sigmoid_cls = loss == 'sigmoid'
        self._priors: tuple[tuple, Tensor] | None = None
        levels = self.prior_generator.num_levels
        if len(self.in_channels) != levels:
            raise InputError(
                f'SSDLiteHead has in_channels={self.in_channels}, its anchor '
                f'generator makes {levels} levels; give one channel count a '
                'level (SSDLiteNeck.out_channels)'
            )
        self._init_layers(
            conv_cfg=padding_conv_cfg(padding),
            norm_cfg=norm_cfg or dict(BN_DETECTION),
            act_cfg=act_cfg or dict(type='ReLU6'),
        )

    def _init_layers(self, **common) -> None:
        self.cls_convs = nn.ModuleList()
        self.reg_convs = nn.ModuleList()
        for channels, anchors in zip(
            self.in_channels, self.prior_generator.num_base_priors, strict=True
        ):
            for convs, outputs in (
                (self.cls_convs, self.cls_out_channels),
                (self.reg_convs, self.bbox_coder.encode_size),
            ):
                if self.use_depthwise:
                    predictor = nn.Sequential(
                        depthwise(channels, **common),
                        nn.Conv2d(channels, anchors * outputs, 1),
                    )
                else:
                    predictor = nn.Conv2d(channels, anchors * outputs, 3, padding=1)
                convs.append(predictor)

    def forward(self, feats: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Levels (B, C_k, H_k, W_k) -> class logits and box codes.

        Returns:
            Per level (B, A_k * slots, H_k, W_k), the background (if it has
            a slot) last, and (B, A_k * 4, H_k, W_k), coded as dx, dy, dw, dh.
        """
        channels = tuple(x.shape[1] for x in feats)
        if channels != self.in_channels:
            raise InputError(
                f'SSDLiteHead has in_channels={self.in_channels}, the neck '
                f'gives {channels}; set model.bbox_head.in_channels='
                f'{channels}'
            )
        cls_scores = [conv(x) for conv, x in zip(self.cls_convs, feats, strict=True)]
        bbox_preds = [conv(x) for conv, x in zip(self.reg_convs, feats, strict=True)]
        return cls_scores, bbox_preds

    def flatten(self, maps: Sequence[Tensor], size: int) -> Tensor:
        """Levels (B, A_k * size, H_k, W_k) -> (B, anchors, size)."""
        return torch.cat(
            [x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, size) for x in maps],
            dim=1,
        )

    def priors(self, maps: Sequence[Tensor]) -> Tensor:
        """All default boxes (anchors, 4) in pixels, levels in order.

        They are kept, since making them takes as long as a third of the rest
        of the prediction.
        """
        sizes = tuple(tuple(x.shape[-2:]) for x in maps)
        key = sizes, maps[0].device
        if self._priors is None or self._priors[0] != key:
            made = self.prior_generator.grid_priors(sizes, device=key[1])
            self._priors = key, torch.cat(made)
        return self._priors[1]

    def check_input_size(self, batch_img_metas: list[dict] | None) -> None:
        """Refuse images of another size than the anchors were made for."""
        for meta in batch_img_metas or []:
            shape = meta.get('batch_input_shape')
            if shape is not None and hasattr(self.prior_generator, 'check'):
                self.prior_generator.check(shape)
