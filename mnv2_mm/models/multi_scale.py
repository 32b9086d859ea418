"""DeepLab's evaluation at several scales, for the rows "MF" of Table 7.

mmseg's test-time augmentation resizes the image and pads afterwards. The DeepLab code
(``predict_labels_multi_scale``) pads to 513x513 first and resizes the padded image, so
that all scales see the same border.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmseg.models.segmentors import EncoderDecoder
from torch import Tensor
from torch.nn.functional import interpolate

from mnv2_mm.registry import MODELS


@MODELS.register_module()
class MultiScaleSegmentor(EncoderDecoder):
    """Average the softmax over scales of the padded image and their mirror images.

    Args:
        scales: Of the padded image: 513 becomes int(512 * scale + 1). Table 7 has
            0.5 to 1.75 in steps of 0.25.
        flip: Whether each scale is computed for the mirror image too.
        **kwargs: Of mmseg's EncoderDecoder.
    """

    def __init__(
        self,
        *,
        scales: Sequence[float] = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75),
        flip: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.scales, self.flip = tuple(scales), flip

    def whole_inference(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Return mean probabilities (B, classes, H, W) for inputs (B, 3, H, W)."""
        height, width = inputs.shape[2:]
        total = inputs.new_zeros(())
        for scale in self.scales:
            size = [int((side - 1) * scale + 1) for side in (height, width)]
            scaled = _resize(inputs, size)
            total = total + self._probabilities(scaled, (height, width))
            if self.flip:
                mirrored = self._probabilities(scaled.flip(3), (height, width))
                total = total + mirrored.flip(3)
        return total / (len(self.scales) * (1 + self.flip))

    def _probabilities(self, inputs: Tensor, size: tuple[int, int]) -> Tensor:
        logits = self.decode_head.forward(self.extract_feat(inputs))
        return torch.softmax(_resize(logits, size), dim=1)


def _resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    """TensorFlow's resize_bilinear with align_corners."""
    return interpolate(maps, list(size), mode='bilinear', align_corners=True)
