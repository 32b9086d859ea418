"""Figure 7 and Lemma 2 of the paper: how many channels ReLU6 leaves positive.

Appendix A: y = ReLU(B x) with x of n dimensions and B expanding to k n of
them can be inverted where at least n of the k n channels are positive (and
their rows of B independent, which generic rows are). With the expansion
k = 6 that is a sixth of the channels, Figure 7's threshold. The figure shows
for each layer the least, the mean and the largest share of positive channels
at step 0 and after training.

Measured is the tensor behind the expansion's ReLU6, at every position of
real images: layers 3 to 18, as layer 2 has no expansion. At step 0 batch
norm takes the statistics of the batch, as it does in that training step;
after training the running ones.

What the paper leaves out: a channel that ReLU6 has cut at 6 tells nothing of
its input either. :attr:`LayerShare.open` counts strictly, between 0 and 6.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from torch import Tensor, nn

from mnv2_mm.api import prepare
from mnv2_mm.datasets.checks.source import evenly
from mnv2_mm.models.mobilenet_v2 import MobileNetV2
from mnv2_mm.utils.errors import InputError

BATCH = 16  # images at once


@dataclass
class LayerShare:
    """Positive channels of one expansion, over positions and images."""

    layer: int  # TF layer number
    inputs: int  # n, channels before the expansion
    channels: int  # k n, after it
    cap: float = 6.0  # where the activation cuts, inf for plain ReLU
    positions: int = 0
    total: float = 0.0  # sum of shares, and of their squares
    squares: float = 0.0
    least: float = 1.0
    most: float = 0.0
    invertible: float = 0.0  # positions with n or more positive channels
    open: float = 0.0  # the same, strictly between 0 and the cap

    @property
    def mean(self) -> float:
        """Mean share of positive channels."""
        return self.total / self.positions

    @property
    def deviation(self) -> float:
        """Standard deviation of the share over positions and images."""
        variance = self.squares / self.positions - self.mean**2
        return max(variance, 0.0) ** 0.5

    def add(self, expanded: Tensor) -> None:
        """Count in a tensor (B, k n, H, W) after ReLU6."""
        positive = (expanded > 0).sum(1)
        between = positive - (expanded >= self.cap).sum(1)
        share = positive.double() / self.channels
        self.positions += share.numel()
        self.total += share.sum().item()
        self.squares += share.square().sum().item()
        self.least = min(self.least, share.min().item())
        self.most = max(self.most, share.max().item())
        self.invertible += (positive >= self.inputs).sum().item()
        self.open += (between >= self.inputs).sum().item()


def backbone_of(model: nn.Module) -> MobileNetV2:
    """The MobileNetV2 in a model.

    Raises:
        InputError: there is none.
    """
    for module in model.modules():
        if isinstance(module, MobileNetV2):
            return module
    raise InputError(
        f'{type(model).__name__} has no backbone mnv2_mm.MobileNetV2, whose '
        'expansions Figure 7 looks at'
    )


@torch.no_grad()
def measure(
    backbone: MobileNetV2,
    batches: Iterable[Tensor],
    *,
    batch_statistics: bool = False,
) -> list[LayerShare]:
    """Count positive channels behind each expansion.

    Args:
        backbone: Its mode is restored, its statistics are not touched.
        batches: Images as the network takes them, (B, 3, H, W).
        batch_statistics: Normalize by the batch, as in training.

    Raises:
        InputError: there are no images.
    """
    shares, handles = [], []

    def count(share: LayerShare, _: object, __: object, out: Tensor) -> None:
        share.add(out)

    for layer, block in enumerate(backbone.blocks, start=2):
        if isinstance(block.expand_conv, nn.Identity):
            continue
        conv = block.expand_conv.conv
        is_cut = isinstance(block.expand_conv.activate, nn.ReLU6)
        shares.append(
            LayerShare(
                layer,
                conv.in_channels,
                conv.out_channels,
                cap=6.0 if is_cut else math.inf,
            )
        )
        hook = partial(count, shares[-1])
        handles.append(block.expand_conv.register_forward_hook(hook))
    training = backbone.training
    state = {k: v.clone() for k, v in backbone.state_dict().items()}
    try:
        backbone.train(batch_statistics)
        for batch in batches:
            backbone(batch)
    finally:
        for handle in handles:
            handle.remove()
        backbone.train(training)
        backbone.load_state_dict(state)
    if not shares or not shares[0].positions:
        raise InputError(
            'no expansion was seen: there are no images, the network ends '
            'before layer 3, or it never computes its expansions whole'
        )
    return shares


def validation_images(cfg: Config, count: int) -> list[Path]:
    """Paths of images of the validation set, evenly picked."""
    if count < 1:
        raise InputError(f'{count} images were asked for; give 1 or more')
    init_default_scope(cfg.default_scope)
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    return [
        Path(dataset.get_data_info(index)['img_path'])
        for index in evenly(range(len(dataset)), count)
    ]


def batches_of(model: nn.Module, images: Sequence[Path]) -> Iterator[Tensor]:
    """Prepare images as the model's test pipeline does.

    Neighbors of the same size share a batch, so that none is padded: the
    padding is no real image.

    Args:
        model: Of :func:`mnv2_mm.api.init_model`.
        images: Files.

    Raises:
        InputError: a file is no image.
    """
    ready = []
    for path in images:
        image = cv2.imread(str(path))
        if image is None:
            raise InputError(f'{path} is not there or is no image')
        ready.append(prepare(model, image))
    groups = itertools.groupby(ready, lambda data: data['inputs'].shape)
    for _, group in groups:
        same = list(group)
        for start in range(0, len(same), BATCH):
            batch = same[start : start + BATCH]
            data = {key: [item[key] for item in batch] for key in batch[0]}
            yield model.data_preprocessor(data, False)['inputs']
