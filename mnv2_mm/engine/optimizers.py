"""TensorFlow's RMSProp (section 6.1), with the defaults of the official recipes.

This is timm's ``RMSpropTF`` under the name ``mnv2_mm.RMSpropTF``. It differs from
``torch.optim.RMSprop``: epsilon is inside the square root, the mean of squares starts
at one, and the learning rate goes into the momentum buffer. With the epsilon of 1.0 of
the official recipes, a published learning rate has another meaning in torch's version.
"""

from collections.abc import Iterable

from torch.optim import Optimizer

from mnv2_mm.registry import OPTIMIZERS
from mnv2_mm.utils.compat import required


@OPTIMIZERS.register_module()
def RMSpropTF(  # noqa: N802  named as the class it builds
    params: Iterable,
    lr: float = 0.045,
    *,
    alpha: float = 0.9,
    momentum: float = 0.9,
    eps: float = 1.0,
    **kwargs,
) -> Optimizer:
    """Build timm's RMSpropTF with the defaults of the official recipes.

    A function, so that timm (and torchvision with it) is imported when a config uses
    the optimizer.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate; 0.045 for ImageNet, 0.004 for SSDLite.
        alpha: Decay of the mean of squares.
        momentum: Decay of the momentum buffer.
        eps: Added to the mean of squares before its root is taken.
        kwargs: The rest of timm's, such as ``weight_decay``.
    """
    timm = required('timm.optim', 'mnv2_mm.RMSpropTF')
    return timm.RMSpropTF(
        params, lr=lr, alpha=alpha, momentum=momentum, eps=eps, **kwargs
    )
