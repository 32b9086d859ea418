"""Give converted weights a batch norm that can be trained.

TFLite files have their batch norm folded into the convolutions. Converted,
such a layer is a batch norm that only adds a bias: right in a network that is
run, wrong in one that is trained, where batch norm divides by the deviation
of the batch, which the folded weights already account for. Here statistics of
real images are taken and counted out of scale and shift again: the output
stays the same, and training finds what it expects.
"""

import itertools
from collections.abc import Iterable

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

from mnv2_mm.registry import HOOKS
from mnv2_mm.utils.modules import unwrap


def is_folded(norm: _BatchNorm) -> bool:
    """Whether a batch norm only adds a bias."""
    return (
        norm.affine
        and norm.track_running_stats
        and bool((norm.weight == 1).all())
        and bool((norm.running_mean == 0).all())
        and bool((norm.running_var == 1 - norm.eps).all())
    )


def folded_norms(model: nn.Module) -> list[_BatchNorm]:
    """The batch norms of a model that only add a bias."""
    return [
        module
        for module in model.modules()
        if isinstance(module, _BatchNorm) and is_folded(module)
    ]


@torch.no_grad()
def unfold_batch_norm(model: nn.Module, batches: Iterable[dict]) -> int:
    """Take the statistics of folded batch norms from images.

    Args:
        model: Of a host; it computes the same before and after.
        batches: As a data loader of the host gives them.

    Returns:
        How many batch norms were unfolded.
    """
    norms = folded_norms(model)
    if not norms:
        return 0
    sums = {norm: [0, 0.0, 0.0] for norm in norms}

    def collect(norm: _BatchNorm, inputs: tuple[Tensor, ...]) -> None:
        """Add the values of a batch, (B, C, H, W), in double precision."""
        x = inputs[0].transpose(0, 1).flatten(1).double()
        entry = sums[norm]
        entry[0] += x.shape[1]
        entry[1] = entry[1] + x.sum(1)
        entry[2] = entry[2] + x.square().sum(1)

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
    unfolded = 0
    for norm, (count, total, squares) in sums.items():
        if not count:
            continue
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=0)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.copy_(norm.bias + mean)
        unfolded += 1
    return unfolded


@HOOKS.register_module()
class UnfuseConvBNHook(Hook):
    """Unfold the batch norm of converted weights before a training.

    Args:
        num_batches: Training batches to take the statistics from.
    """

    # behind what loads weights, before EMAHook copies them
    priority = 'HIGH'

    def __init__(self, num_batches: int = 20) -> None:
        self.num_batches = num_batches

    def before_train(self, runner: Runner) -> None:
        """Take the statistics, unless the training goes on from a stop."""
        if runner.iter:
            return
        loader = runner.train_loop.dataloader
        # of its own: the loop's may be one iterator with its workers
        shuffled = DataLoader(
            loader.dataset,
            loader.batch_size,
            shuffle=True,
            generator=torch.Generator().manual_seed(0),
            collate_fn=loader.collate_fn,
        )
        batches = itertools.islice(shuffled, self.num_batches)
        count = unfold_batch_norm(unwrap(runner.model), batches)
        runner.logger.info(
            f'{count} folded batch norms unfolded from {self.num_batches} '
            'batches of the training set'
        )
