"""Figure 7 and Lemma 2 of the paper: how many channels ReLU6 leaves positive.

Appendix A: y = ReLU(B x) with x of n dimensions and B expanding to k n of
them can be inverted where at least n of the k n channels are positive: with
k = 6 a sixth of the channels, Figure 7's threshold. The figure shows for each
layer the minimum, the mean and the maximum share of positive channels at step 0
and after training.

The measured tensor is the output of the expansion's ReLU6, at every position
of real images: layers 3 to 18, since layer 2 has no expansion. At step 0
batch norm takes the statistics of the batch, after training the running ones.

Not in the paper: a channel that ReLU6 has cut at 6 does not determine its
input either. :attr:`LayerShare.open` counts channels between 0 and 6.
"""

import itertools
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from torch import Tensor, nn

from mnv2_mm.datasets.checks.source import evenly
from mnv2_mm.engine.predictor import prepare
from mnv2_mm.models.mobilenet_v2 import MobileNetV2
from mnv2_mm.runtime.read_image import read_image
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.files import save_figure

BATCH = 16  # images in a pass


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
        f'{type(model).__name__} has no backbone mnv2_mm.MobileNetV2; give '
        'another --config'
    )


@torch.no_grad()
def measure(
    backbone: MobileNetV2, batches: Iterable[Tensor], *, batch_statistics: bool = False
) -> list[LayerShare]:
    """Count the positive channels of each expansion.

    Args:
        backbone: Its mode and its statistics are restored.
        batches: Images as the network takes them, (B, 3, H, W).
        batch_statistics: Normalize by the batch, as in training.

    Raises:
        InputError: there are no images.
    """
    shares, handles = [], []

    def count(share: LayerShare, _: object, __: object, out: Tensor) -> None:
        share.add(out)

    for layer, block in enumerate(backbone.blocks, start=2):
        expand = block.expand_conv
        if not isinstance(expand, nn.Identity):
            cap = 6.0 if isinstance(expand.activate, nn.ReLU6) else math.inf
            channels = expand.conv.in_channels, expand.conv.out_channels
            shares.append(LayerShare(layer, *channels, cap))
            handles.append(expand.register_forward_hook(partial(count, shares[-1])))
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
            'no expansion was found: there are no images, the network ends '
            'before layer 3, or it has an expansion_split'
        )
    return shares


def validation_images(cfg: Config, count: int) -> list[Path]:
    """Paths of evenly spaced images of the validation set."""
    if count < 1:
        raise InputError(f'{count} images were asked for; give 1 or more')
    init_default_scope(cfg.default_scope)
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    infos = map(dataset.get_data_info, evenly(range(len(dataset)), count))
    return [Path(info['img_path']) for info in infos]


def batches_of(model: nn.Module, images: Sequence[Path]) -> Iterator[Tensor]:
    """Prepare images as the model's test pipeline does.

    Neighbors of the same size share a batch, so that none is padded.

    Raises:
        InputError: a file is no image.
    """
    ready = [prepare(model, read_image(path)) for path in images]
    for _, group in itertools.groupby(ready, lambda data: data['inputs'].shape):
        while batch := list(itertools.islice(group, BATCH)):
            data = {key: [item[key] for item in batch] for key in batch[0]}
            yield model.data_preprocessor(data, False)['inputs']


def table(shares: Sequence[LayerShare]) -> str:
    """Shares and Lemma 2's condition for each layer, in percent."""
    lines = [
        'layer  channels   positive channels, %           positions with n or more, %',
        '         n -> kn    mean     sd  least   most     positive  between 0 and 6',
    ]
    for s in shares:
        holds, strict = s.invertible / s.positions, s.open / s.positions
        lines.append(
            f'{s.layer:5}{s.inputs:5} -> {s.channels:<5}{100 * s.mean:6.1f}'
            f'{100 * s.deviation:7.1f}{100 * s.least:7.1f}'
            f'{100 * s.most:7.1f}{100 * holds:13.2f}{100 * strict:17.2f}'
        )
    return '\n'.join(lines)


def plot_figure7(
    states: Mapping[str, Sequence[LayerShare]], path: str | os.PathLike, *, source: str
) -> None:
    """Draw a panel for each state: mean, deviation, range, and the threshold.

    The paper draws numbers of channels. Shares have one line as threshold.

    Args:
        states: Counts by the panel's title.
        path: Image to write.
        source: Network and images, for the title.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6 * len(states), 4.5), layout='constrained')
    panels = figure.subplots(1, len(states), sharey=True, squeeze=False)[0]
    for axes, (title, shares) in zip(panels, states.items(), strict=True):
        layer = [s.layer for s in shares]
        band = [s.least for s in shares], [s.most for s in shares]
        axes.fill_between(layer, *band, alpha=0.12, lw=0, label='least to most')
        mean = [s.mean for s in shares], [s.deviation for s in shares]
        style = dict(color='C0', marker='o', ms=4, capsize=3)
        axes.errorbar(layer, *mean, **style, label='mean ± standard deviation')
        threshold = [s.inputs / s.channels for s in shares]
        label = 'invertible from here: n of k n channels'
        axes.plot(layer, threshold, color='tab:red', ls='--', label=label)
        axes.set_title(title)
        axes.set_xlabel('layer (TF number) of the expansion')
        axes.set_xticks(layer)
        axes.set_ylim(0, 1)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel('share of positive channels at a position')
    panels[-1].legend(fontsize=8, loc='upper right')
    figure.suptitle(
        f"Figure 7: channels that the expansions' ReLU6 leaves positive\n{source}",
        fontsize=10,
    )
    save_figure(figure, path, dpi=130)
