"""Stop a training whose loss is NaN or inf, before its checkpoints are replaced.

mmdet's CheckInvalidLossHook looks at every 50th step, is not in the other hosts, and
ends in an AssertionError.
"""

import math

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from mnv2_mm.registry import HOOKS
from mnv2_mm.utils.errors import InputError


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Raise an InputError after ``patience`` steps in a row with a loss of NaN or inf.

    One such step is enough if the weights or the statistics of batch norm are no longer
    finite, as they stay so. With float16 the scaler leaves the step out, so a single
    batch may overflow; ten in a row are no accident, and cost seconds. Gradients, which
    the scaler lets overflow on purpose, are not looked at.
    """

    priority = 'NORMAL'  # before CheckpointHook

    def __init__(self, patience: int = 10) -> None:
        if patience < 1:
            raise InputError(f'FiniteLossHook: patience is {patience}; give 1 or more')
        self.patience = patience
        self._count = 0

    def after_train_iter(
        self, runner: Runner, *args: object, outputs: dict | None = None, **_: object
    ) -> None:
        """Look at the total loss; mmengine's logger has copied it from a GPU anyway."""
        loss = (outputs or {}).get('loss', 0.0)
        loss = loss.item() if isinstance(loss, Tensor) else loss
        self._count = 0 if math.isfinite(loss) else self._count + 1
        if self._count == 0:
            return
        tensors = [*runner.model.parameters()]
        tensors += [b for key, b in runner.model.named_buffers() if 'running_' in key]
        broken = not all(bool(t.isfinite().all()) for t in tensors)
        if broken or self._count >= self.patience:
            raise InputError(
                f'the loss is {loss} in iteration {runner.iter + 1}, and '
                f'{"the weights are no longer finite" if broken else "it stays so"}. '
                'Likely causes: a learning rate that is too high (try a tenth), mixed '
                'precision (leave out --amp and --fast), wrong boxes or labels '
                '(tools/browse_dataset.py draws them), or the weights at the start. '
                f'Earlier checkpoints in {runner.work_dir} stay as they are'
            )
