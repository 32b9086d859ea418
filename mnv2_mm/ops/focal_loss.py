"""Sigmoid focal loss with the arguments of mmcv's compiled op.

The functions of mmdet and torchvision take no index of the class and no weights by
class, and give their gradient by autograd, which mmcv's call does not use.
"""

import torch
from torch import Tensor


def sigmoid_focal_loss_forward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    output: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Fill ``output`` (N, C) with the loss of each class.

    Args:
        input: Logits (N, C).
        target: Class of each row (N,); C is the background.
        weight: Weight of each class (C,), or empty.
        output: Result, changed in place.
        gamma: Exponent of the probability.
        alpha: Weight of the class against 1 - alpha of the others.
    """
    chance, other, sign = _chances(input, target, alpha)
    log = chance.clamp(min=torch.finfo(torch.float32).tiny).log()
    output.copy_(_weighted(-sign.abs() * other.pow(gamma) * log, target, weight))


def sigmoid_focal_loss_backward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Fill ``grad_input`` (N, C) with the gradient of the sum of the losses."""
    chance, other, sign = _chances(input, target, alpha)
    log = chance.clamp(min=torch.finfo(torch.float32).tiny).log()
    slope = -sign * other.pow(gamma) * (other - gamma * chance * log)
    grad_input.copy_(_weighted(slope, target, weight))


def _chances(logits: Tensor, target: Tensor, alpha: float) -> tuple[Tensor, ...]:
    """Probability of the right answer, of the wrong one, and alpha with a sign.

    The sign is that of the derivative of the right answer's probability.
    """
    is_class = target[:, None] == torch.arange(logits.shape[1], device=target.device)
    turned = torch.where(is_class, logits, -logits).float()
    sign = torch.where(is_class, alpha, alpha - 1)
    return turned.sigmoid(), (-turned).sigmoid(), sign


def _weighted(values: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    return values * weight[target, None] if len(weight) else values
