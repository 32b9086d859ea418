"""Give converted weights a batch norm that can be trained (unfuse conv and BN).

TFLite files have batch norm fused into the convolutions. After the conversion such a
batch norm only adds a bias. That is right for prediction and wrong for training: batch
norm divides by the deviation of the batch, and the fused weights contain that division
already. This hook measures the statistics on training images and takes them out of
scale and shift: the output stays the same, and training starts from a usual batch norm.
"""

import itertools
from collections.abc import Iterable

import torch
from mmengine.dist import broadcast
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

from mnv2_mm.registry import HOOKS
from mnv2_mm.utils.modules import unwrap


def fused_norms(model: nn.Module) -> list[_BatchNorm]:
    """The batch norms of a model that only add a bias."""
    return [
        m
        for m in model.modules()
        if isinstance(m, _BatchNorm)
        and m.affine
        and m.track_running_stats
        and bool((m.weight == 1).all())
        and bool((m.running_mean == 0).all())
        and bool((m.running_var == 1 - m.eps).all())
    ]


@torch.no_grad()
def unfuse_batch_norm(model: nn.Module, batches: Iterable[dict]) -> int:
    """Measure the statistics of fused batch norms on batches of a host's data loader.

    The model computes the same before and after. Returns the number of batch norms.
    """
    norms = fused_norms(model)
    if not norms:
        return 0
    sums: dict[_BatchNorm, tuple] = {}

    def collect(norm: _BatchNorm, inputs: tuple[Tensor, ...]) -> None:
        """Add the values of a batch, (B, C, H, W), in double precision."""
        x = inputs[0].transpose(0, 1).flatten(1).double()
        count, total, squares = sums.get(norm, (0, 0.0, 0.0))
        sums[norm] = (count + x.shape[1], total + x.sum(1), squares + x.square().sum(1))

    handles = [norm.register_forward_pre_hook(collect) for norm in norms]
    training = model.training
    model.eval()
    try:
        for batch in batches:
            # as in training, where images are padded to one size
            data = model.data_preprocessor(batch, True)
            model(data['inputs'], data.get('data_samples'), mode='tensor')
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    for norm, (count, total, squares) in sums.items():
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=0)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.copy_(norm.bias + mean)
        # each process measures other augmented images; the gradients are shared
        for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
            broadcast(tensor)
    return len(sums)


@HOOKS.register_module()
class UnfuseConvBNHook(Hook):
    """Unfuse batch norm of converted weights, with ``num_batches`` training batches."""

    # after the hooks that load weights, before EMAHook copies them
    priority = 'HIGH'

    def __init__(self, num_batches: int = 20) -> None:
        self.num_batches = num_batches

    def before_train(self, runner: Runner) -> None:
        """Measure the statistics, unless a training is resumed."""
        if runner.iter:
            return
        loader = runner.train_loop.dataloader
        # a second loader: that of the loop may share one iterator with its workers
        shuffled = DataLoader(
            loader.dataset,
            # None where the loader has a batch sampler of its own
            loader.batch_size or loader.batch_sampler.batch_size,
            shuffle=True,
            generator=torch.Generator().manual_seed(0),
            collate_fn=loader.collate_fn,
        )
        batches = itertools.islice(shuffled, self.num_batches)
        if count := unfuse_batch_norm(unwrap(runner.model), batches):
            runner.logger.info(
                f'{count} fused batch norms unfused with the statistics of '
                f'{self.num_batches} training batches'
            )
