"""Exponential moving average (EMA) of the weights, as TensorFlow computes it.

With the number of steps, ``tf.train.ExponentialMovingAverage`` lets the decay rise:
min(decay, (1 + step) / (10 + step)), 0.9999 after 89 990 steps. The two official
trainings use it differently (DeepLab keeps no average):

- slim (ImageNet): the decay rises (``warmup=True``), and the moving averages of BN are
  averaged too (``update_buffers=True``).
- Object Detection API (SSDLite): the decay is fixed (``warmup=False``); evaluation
  takes BN's own moving averages (``update_buffers=False``).

mmengine's ExponentialMovingAverage is the second alone; its MomentumAnnealingEMA with
``gamma=9`` is the first one step late, and it waits for the device at every tensor;
mmdet's ExpMomentumEMA lets the share of the new weights fall exponentially, TF's falls
as 9 / step.
"""

import torch
from mmengine.model import BaseAveragedModel
from torch import Tensor, nn

from mnv2_mm.registry import MODELS
from mnv2_mm.utils.errors import InputError


@MODELS.register_module()
class TFExponentialMovingAverage(BaseAveragedModel):
    """Average for mmengine's EMAHook with TensorFlow's rising decay.

    In a config::

        dict(
            type='EMAHook', ema_type='mnv2_mm.TFExponentialMovingAverage', decay=0.9999
        )

    The first update copies the weights. TF mixes 0.1 of the random start into them,
    of which 1e-5 is left after ten steps.

    Args:
        model: The network to average.
        decay: Share of the average that an update keeps, at most; above 0 and below 1.
        warmup: Let the decay rise to this value; False has it from the start.
        interval: Steps between two updates.
        device: Where the average is kept; the model's if None.
        update_buffers: Average BN's running statistics too. Otherwise the average has
            the network's current ones.
    """

    def __init__(
        self,
        model: nn.Module,
        decay: float = 0.9999,
        *,
        warmup: bool = True,
        interval: int = 1,
        device: torch.device | None = None,
        update_buffers: bool = True,
    ) -> None:
        if not 0 < decay < 1:
            raise InputError(
                f'TFExponentialMovingAverage: decay={decay!r} must be above 0 and '
                "below 1, e.g. 0.9999 (1 minus the momentum of mmengine's classes)"
            )
        super().__init__(model, interval, device, update_buffers)
        self.decay = decay
        self.warmup = warmup
        self._share = 1.0

    def decay_at(self, step: int) -> float:
        """Share of the average that the update after ``step`` steps keeps."""
        return min(self.decay, (1 + step) / (10 + step)) if self.warmup else self.decay

    def update_parameters(self, model: nn.Module) -> None:
        """Update the average with the weights of ``model``."""
        # once for all tensors: reading the counter waits for the device
        self._share = 1 - self.decay_at(int(self.steps))
        super().update_parameters(model)

    def avg_func(
        self, averaged_param: Tensor, source_param: Tensor, steps: int
    ) -> None:
        """Move one averaged tensor towards its source, in place."""
        averaged_param.lerp_(source_param, self._share)
