"""Say what of a checkpoint fits a model before it is loaded.

mmengine loads weights non-strictly: a checkpoint of another model leaves the
network at its random start, and a long list of keys scrolls by. Here the keys
and shapes are compared first. What must fit depends on the use:

======== ==================================================================
resume   everything; each difference is an error
test     every tensor of the model; extra tensors in the file are a warning
finetune half of the backbone; the rest is a warning that names what keeps
         its initial value
======== ==================================================================
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor, nn

from mnv2_mm.checkpoints.file import state_dict_of
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.modules import unwrap

Use = Literal['resume', 'test', 'finetune']

#: Share of the backbone's tensors that a checkpoint to start from must have.
MIN_BACKBONE_SHARE = 0.5
_SHOWN = 3  # mismatching tensors named in a message


@dataclass(frozen=True)
class Comparison:
    """Keys of a checkpoint against those of a model."""

    matched: list[str] = field(default_factory=list)
    #: (key, shape in the file, shape in the model)
    reshaped: list[tuple[str, tuple, tuple]] = field(default_factory=list)
    #: in the model only
    missing: list[str] = field(default_factory=list)
    #: in the file only
    unexpected: list[str] = field(default_factory=list)

    @property
    def exact(self) -> bool:
        """Whether both hold the same keys with the same shapes."""
        return not (self.reshaped or self.missing or self.unexpected)

    def share(self, prefix: str) -> float:
        """Matched part (0 to 1) of the model's keys below ``prefix``."""
        matched = sum(k.startswith(prefix) for k in self.matched)
        other = [k for k, *_ in self.reshaped] + self.missing
        total = matched + sum(k.startswith(prefix) for k in other)
        return matched / total if total else 0.0


def compare(weights: Mapping[str, Tensor], model: nn.Module) -> Comparison:
    """Compare keys and shapes; counters of batch norm do not count."""
    own = {
        key: value
        for key, value in unwrap(model).state_dict().items()
        if not key.endswith('num_batches_tracked')
    }
    result = Comparison()
    for key, value in own.items():
        if key not in weights:
            result.missing.append(key)
        elif weights[key].shape != value.shape:
            shapes = tuple(weights[key].shape), tuple(value.shape)
            result.reshaped.append((key, *shapes))
        else:
            result.matched.append(key)
    result.unexpected.extend(
        key
        for key in weights
        if key not in own and not key.endswith('num_batches_tracked')
    )
    return result


def check(
    checkpoint: Mapping,
    model: nn.Module,
    *,
    source: str,
    use: Use = 'test',
    classes: Sequence[str] | None = None,
) -> str | None:
    """Compare a checkpoint with a model for one of the three uses.

    Args:
        checkpoint: What :func:`read` or ``torch.load`` returned.
        model: The network that is to receive the weights.
        source: File name, for the message.
        use: What the weights are for; see the table above.
        classes: Class names of the config, for the message.

    Returns:
        A warning, or None when everything fits.

    Raises:
        InputError: the checkpoint does not fit for this use.
    """
    weights = state_dict_of(checkpoint, source)
    found = compare(weights, model)
    if found.exact:
        return None
    keys = found.matched + found.missing + [k for k, *_ in found.reshaped]
    backbone = 'backbone.'
    if not any(key.startswith(backbone) for key in keys):
        backbone = ''
    if found.share(backbone) < MIN_BACKBONE_SHARE:
        raise InputError(_foreign(found, source, backbone, weights))
    if use == 'resume' or (use == 'test' and (found.reshaped or found.missing)):
        raise InputError(_unfit(found, source, use, checkpoint, classes))
    return _warning(found, source, use)


def _differences(found: Comparison) -> str:
    """Name the first differing tensors, with both shapes."""
    lines = [
        f'  {key}: {a} in the file, {b} in the model' for key, a, b in found.reshaped
    ]
    lines += [f'  {key}: not in the file' for key in found.missing]
    lines += [f'  {key}: not in the model' for key in found.unexpected]
    more = len(lines) - _SHOWN
    if more > 0:
        lines[_SHOWN:] = [f'  ... and {more} more']
    return '\n'.join(lines)


def _foreign(found: Comparison, source: str, backbone: str, weights: Mapping) -> str:
    """Message for a checkpoint of another network."""
    part = 'backbone' if backbone else 'model'
    alike = sum(key.startswith(backbone) for key in found.matched)
    text = (
        f'{source} is a checkpoint of another model: {alike} tensors of the '
        f'{part} fit\n{_differences(found)}\n'
    )
    if backbone and not any(key.startswith(backbone) for key in weights):
        foreign = _naming(weights)
        if foreign:
            return text + (
                f'Its names are those of {foreign}; make a checkpoint of it '
                f'by: python tools/convert_weights.py {source} OUT.pth '
                '--config CONFIG'
            )
        return text + (
            'Weights of a backbone alone are given in the config, as '
            "model=dict(backbone=dict(init_cfg=dict(type='Pretrained', "
            f"checkpoint='{source}'))), not as load_from."
        )
    return text + (
        'Give the checkpoint that belongs to this config, or the config that '
        'the checkpoint was trained with (it lies beside the checkpoint in '
        'the work_dir).'
    )


def _naming(weights: Mapping) -> str | None:
    """The code base whose names these are, if it is another one."""
    from mnv2_mm.checkpoints.key_maps.backbones import (
        key_map_of,  # which imports networks
    )

    key_map = key_map_of(weights)
    foreign = key_map is not None and 'mnv2_mm' not in key_map.name
    return key_map.name if foreign else None


def _unfit(
    found: Comparison,
    source: str,
    use: Use,
    checkpoint: Mapping,
    classes: Sequence[str] | None,
) -> str:
    """Message for a checkpoint of the same backbone that must fit wholly."""
    text = f'{source} does not fit the model:\n{_differences(found)}\n'
    meta = checkpoint.get('meta') if isinstance(checkpoint, Mapping) else None
    trained = ((meta or {}).get('dataset_meta') or {}).get('classes')
    if trained and classes and len(trained) != len(classes):
        text += (
            f'It was trained with {len(trained)} classes ({_few(trained)}), '
            f'the config has {len(classes)} ({_few(classes)}): set `classes` '
            'of the config to those of the checkpoint.'
        )
    elif trained:
        text += (
            f'It was trained with {len(trained)} classes ({_few(trained)}). '
            'Give the config that it was trained with; it lies beside the '
            'checkpoint in the work_dir.'
        )
    else:
        text += 'Give the config that the checkpoint was trained with.'
    if use == 'resume':
        text += (
            '\nTo start a new training from these weights instead, use '
            f'--cfg-options load_from={source} without --resume.'
        )
    return text


def _few(names: Sequence[str]) -> str:
    """At most five names."""
    shown = ', '.join(str(name) for name in list(names)[:5])
    return shown + (', ...' if len(names) > 5 else '')


def _warning(found: Comparison, source: str, use: Use) -> str:
    """What keeps its initial value, counted per part of the model."""
    left = found.missing + [key for key, *_ in found.reshaped]
    text = []
    if left:
        text.append(
            f'{len(found.matched)} tensors are taken from {source}; '
            f'{len(left)} keep their initial value: {_parts(left)}'
        )
    if found.unexpected:
        text.append(
            f'{len(found.unexpected)} tensors of {source} have no place in '
            f'the model: {_parts(found.unexpected)}'
        )
    if found.reshaped and use == 'finetune':
        key, a, b = found.reshaped[0]
        text.append(
            f'other shape (another class count?), e.g. {key}: {a} in the '
            f'file, {b} in the model'
        )
    return '\n'.join(text)


def _parts(keys: Sequence[str]) -> str:
    """Count keys by the module they belong to, e.g. ``neck (24)``."""
    counts = Counter(key.partition('.')[0] for key in keys)
    return ', '.join(f'{part} ({n})' for part, n in counts.items())
