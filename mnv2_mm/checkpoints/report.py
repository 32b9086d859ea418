"""What became of every tensor of a file and of a network."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

#: Names of tensors in a sentence, and differing tensors in an error.
_SHOWN = 4
_SHOWN_IN_ERROR = 3

Shape = tuple[int, ...]


@dataclass
class WeightReport:
    """The tensors of a file and of a network, each in one of the lists.

    Keys of :attr:`matched`, :attr:`reshaped` and :attr:`missing` are those of the
    network. Batch counters (``num_batches_tracked``) do not count.
    """

    source: str
    #: The code base whose names the file has, such as 'torchvision'.
    key_map: str = ''
    #: The names in the file that a tensor of the network was made of.
    matched: dict[str, str] = field(default_factory=dict)
    #: In both, with different shapes: (in the file, in the network).
    reshaped: dict[str, tuple[Shape, Shape]] = field(default_factory=dict)
    #: In the network only.
    missing: list[str] = field(default_factory=list)
    #: In the file only.
    unused: list[str] = field(default_factory=list)
    #: In the file, but no weights: the reason of each.
    set_aside: dict[str, str] = field(default_factory=dict)

    @classmethod
    def compare(
        cls,
        weights: Mapping[str, Tensor],
        own: Mapping[str, Tensor],
        *,
        source: str,
        names: Mapping[str, str] | None = None,
    ) -> 'WeightReport':
        """Compare keys and shapes of the state dict to load with those of the network.

        ``names`` says what keys of ``weights`` are called in the file ``source``.
        """
        names, result = names or {}, cls(source)
        for key in [*own, *(key for key in weights if key not in own)]:
            if key.endswith('num_batches_tracked'):
                continue
            if key not in weights:
                result.missing.append(key)
            elif key not in own:
                result.unused.append(names.get(key, key))
            elif weights[key].shape != own[key].shape:
                result.reshaped[key] = tuple(weights[key].shape), tuple(own[key].shape)
            else:
                result.matched[key] = names.get(key, key)
        return result

    @property
    def exact(self) -> bool:
        """Whether both hold the same keys with the same shapes."""
        return not (self.reshaped or self.missing or self.unused)

    def share(self, prefix: str) -> float:
        """Matched part (0 to 1) of the network's keys that begin with ``prefix``."""
        keys = [*self.matched, *self.reshaped, *self.missing]
        below = [key for key in keys if key.startswith(prefix)]
        return sum(key in self.matched for key in below) / max(len(below), 1)

    def summary(self) -> str:
        """One line of counts."""
        matched = ', '.join(f'{part} {n}' for part, n in _parts(self.matched))
        return (
            f'{len(self.matched)} tensors matched ({matched or "none"}), '
            f'{len(self.unused)} unused, {len(self.missing)} missing, '
            f'{len(self.reshaped)} of another shape, {len(self.set_aside)} no weights'
        )

    def __str__(self) -> str:
        """Counts, then the tensors that do not match."""
        of = f' ({self.key_map} names)' if self.key_map else ''
        lines = [f'{self.source}{of}: {self.summary()}']
        for what, keys in {
            'keep their initial value': [*self.missing, *self.reshaped],
            'of the file have no place in the model': self.unused,
        }.items():
            if keys:
                parts = ', '.join(f'{part} ({n})' for part, n in _parts(keys))
                lines.append(f'{len(keys)} {what}: {parts}')
        return '\n'.join([*lines, self.differences()]).rstrip()

    def differences(self) -> str:
        """The first tensors that differ, a line each, with both shapes."""
        lines = [
            f'  {key}: {theirs} in the file, {ours} in the model'
            for key, (theirs, ours) in self.reshaped.items()
        ]
        lines += [f'  {key}: not in the file' for key in self.missing]
        lines += [f'  {key}: not in the model' for key in self.unused]
        more = len(lines) - _SHOWN_IN_ERROR
        if more > 0:
            lines[_SHOWN_IN_ERROR:] = [f'  ... and {more} more']
        return '\n'.join(lines)

    def table(self) -> str:
        """Every tensor, a line each; what is no weight, a line for each reason."""
        rows = [('network', f'{self.source} ({self.key_map})'), *self.matched.items()]
        rows += [(key, 'MISSING: keeps its initial value') for key in self.missing]
        for key, (theirs, ours) in self.reshaped.items():
            rows.append((key, f'OTHER SHAPE: {theirs}, the network has {ours}'))
        rows += [('(unused)', key) for key in self.unused]
        for reason, count in Counter(self.set_aside.values()).items():
            names = [name for name, why in self.set_aside.items() if why == reason]
            rows.append(('(no weight)', f'{reason} ({count}): {brief(names)}'))
        width = max(len(key) for key, _ in rows)
        return '\n'.join(f'{key:{width}}  {text}' for key, text in rows)


def brief(names: Sequence[str]) -> str:
    """A few names and the number of the others."""
    more = len(names) - _SHOWN
    return ', '.join(names[:_SHOWN]) + (f' and {more} more' if more > 0 else '')


def _parts(keys: Iterable[str]) -> Iterable[tuple[str, int]]:
    """Count keys by the part of the network that they belong to."""
    return Counter(key.partition('.')[0] for key in keys).items()
