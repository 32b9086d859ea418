"""TensorFlow's RMSProp (section 6.1), with the defaults of the official recipes.

This is timm's ``RMSpropTF`` under the name ``mnv2_mm.RMSpropTF``. It differs from
``torch.optim.RMSprop``: epsilon is inside the square root, the mean of squares
starts at one, and the learning rate goes into the momentum buffer. With the
epsilon of 1.0 of the official recipes, a published learning rate has another
meaning in torch's version.
"""

from collections.abc import Iterable

import torch

from mnv2_mm.registry import OPTIMIZERS
from mnv2_mm.utils.errors import InputError

try:
    from timm.optim import RMSpropTF as _RMSpropTF
except ImportError:

    class _RMSpropTF(torch.optim.Optimizer):
        """Says that timm is missing, when it is built."""

        def __init__(self, *args, **kwargs) -> None:
            raise InputError(
                'mnv2_mm.RMSpropTF needs timm, which is not installed; '
                'install it (`pip install timm`) or set '
                "optim_wrapper.optimizer.type to another one such as 'SGD'"
            )


@OPTIMIZERS.register_module()
class RMSpropTF(_RMSpropTF):
    """timm's RMSpropTF with the defaults of the official recipes.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate; 0.045 for ImageNet, 0.004 for SSDLite.
        alpha: Decay of the mean of squares.
        momentum: Decay of the momentum buffer.
        eps: Added to the mean of squares before its root is taken.
        weight_decay: L2 penalty, added to the gradient.
        kwargs: The rest of timm's.

    Raises:
        InputError: timm is not installed.
    """

    def __init__(
        self,
        params: Iterable,
        lr: float = 0.045,
        *,
        alpha: float = 0.9,
        momentum: float = 0.9,
        eps: float = 1.0,
        weight_decay: float = 0.0,
        **kwargs,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            alpha=alpha,
            momentum=momentum,
            eps=eps,
            weight_decay=weight_decay,
            **kwargs,
        )
