"""Put translated weights into the network of a config.

What may differ between the source and the network, and still is the same
function of the image: a folded batch norm, the epsilon of a batch norm,
classes that the data set never had. These are converted. What cannot be the
same (other shapes, other anchors, a tensor without a source) is an error.
"""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mnv2_mm.checkpoints.assign_checks import check_anchors, warn_of_padding
from mnv2_mm.checkpoints.class_remap import without_extra_classes
from mnv2_mm.checkpoints.report import ConversionReport
from mnv2_mm.checkpoints.source import Source, Translation
from mnv2_mm.models.blocks import make_divisible
from mnv2_mm.utils.errors import InputError

_WIDTHS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)


def fit(
    translation: Translation,
    model: nn.Module,
    source: Source,
    *,
    allow_missing: bool = False,
) -> tuple[dict[str, Tensor], ConversionReport]:
    """Fill a model's state dict from translated weights.

    Args:
        translation: The weights by our names.
        model: Of the config, with its initial values.
        source: Where they came from, for messages.
        allow_missing: Let tensors of the model without a source keep their
            initial values, also heads of another class count.

    Returns:
        The whole state dict, and what became of every tensor.

    Raises:
        InputError: a shape or the anchors differ, or a tensor of the model
            has no source; see the module.
    """
    fitting = _Fit(translation, model, source)
    for key in fitting.wanted:
        fitting.fill(key)
    fitting.account.unused = [
        *translation.unused,
        *fitting.names_left(),
    ]
    account = fitting.account
    if account.reshaped and not (
        allow_missing
        and not any(key.startswith('backbone.') for key in account.reshaped)
    ):
        raise InputError(fitting.shapes_message())
    if account.missing and not allow_missing:
        raise InputError(
            f'{source.path} does not fill the network: '
            f'{account.brief(account.missing)} have no counterpart in it. '
            'Give the config that belongs to the file (--config), or '
            '--allow-missing to let them keep their initial values'
        )
    account.missing += account.reshaped
    if source.anchors is not None and hasattr(model, 'bbox_head'):
        check_anchors(model, source.anchors, source.path)
    warn_of_padding(translation, model, source.path)
    return fitting.result, account


class _Fit:
    """Fills the tensors of one model, and keeps account."""

    def __init__(
        self, translation: Translation, model: nn.Module, source: Source
    ) -> None:
        self.given = translation
        self.source = source
        self.norms = {
            name: module
            for name, module in model.named_modules()
            if isinstance(module, _BatchNorm)
        }
        self.result = model.state_dict()
        self.wanted = [
            key for key in self.result if not key.endswith('num_batches_tracked')
        ]
        self.used: set[str] = set()
        self.account = ConversionReport(
            source.path, source.format, translation.naming, source.set_aside
        )

    def names_left(self) -> list[str]:
        """Names in the file of what the model has no place for."""
        return [
            name
            for key in self.given.tensors
            if key not in self.used
            for name in self.given.origin[key]
        ]

    def fill(self, key: str) -> None:
        """Find the value of one tensor of the model."""
        value, note = self._value(key)
        if value is None:
            self.account.missing.append(key)
            return
        wanted = self.result[key]
        if value.shape != wanted.shape and self.given.naming == 'TF-slim':
            value, less = without_extra_classes(key, value, wanted.shape)
            note += f' ({less})' if less else ''
        if value.shape != wanted.shape:
            self.account.reshaped.append(key)
            self.account.shapes[key] = (
                tuple(value.shape),
                tuple(wanted.shape),
            )
            return
        self.result[key] = value.to(wanted.dtype)
        self.account.matched[key] = note

    def _value(self, key: str) -> tuple[Tensor | None, str]:
        name, _, leaf = key.rpartition('.')
        if key in self.given.tensors:
            self.used.add(key)
            value = self.given.tensors[key]
            note = ', '.join(self.given.origin[key])
            if name in self.norms and leaf == 'weight':
                return self._for_epsilon(name, value), note
            return value, note
        folded = f'{name.removesuffix(".bn")}.conv.bias'
        if name in self.norms and folded in self.given.tensors:
            self.used.add(folded)
            bias = self.given.tensors[folded]
            note = ', '.join(self.given.origin[folded])
            return self._identity(name, leaf, bias), f'{note} (folded)'
        return None, ''

    def _identity(self, name: str, leaf: str, bias: Tensor) -> Tensor:
        """Batch norm that only adds a bias: its variance and eps make 1."""
        return {
            'weight': torch.ones_like(bias),
            'bias': bias,
            'running_mean': torch.zeros_like(bias),
            'running_var': torch.full_like(bias, 1 - self.norms[name].eps),
        }[leaf]

    def _for_epsilon(self, name: str, gamma: Tensor) -> Tensor:
        """Gamma that gives with the model's epsilon what the file means."""
        eps = self.norms[name].eps
        trained = [
            (len(start), value)
            for start, value in self.given.bn_eps.items()
            if f'{name}.'.startswith(start)
        ]
        variance = self.given.tensors.get(f'{name}.running_var')
        if not trained or variance is None or max(trained)[1] == eps:
            return gamma
        scale = (variance.double() + eps) / (variance + max(trained)[1])
        return (gamma * scale.sqrt()).to(gamma.dtype)

    def shapes_message(self) -> str:
        """Which shapes differ, and what to set."""
        key = self.account.reshaped[0]
        theirs, ours = self.account.shapes[key]
        count = len(self.account.reshaped)
        text = (
            f'{self.source.path} does not fit the network: '
            f'{count} tensor{"s" * (count > 1)} of another shape, first '
            f'{key}: {theirs} in the file, {ours} in the network. '
        )
        if not key.startswith('backbone.'):
            return text + (
                'Set the class count (num_classes), in_channels and anchors '
                'of the config to those of the file, or give '
                '--allow-missing to start this layer anew'
            )
        width = self._width()
        guess = f'; the file looks like {width}' if width else ''
        return text + (
            f'Set model.backbone.widen_factor to the width of the file{guess}'
        )

    def _width(self) -> float | None:
        """The published width whose last bottleneck has these channels."""
        last = self.given.tensors.get('backbone.layer7.0.linear_conv.conv.weight')
        for width in _WIDTHS if last is not None else ():
            if make_divisible(320 * width) == len(last):
                return width
        return None
