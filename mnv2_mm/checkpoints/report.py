"""What became of every tensor of a file and of a network."""

from collections import Counter
from dataclasses import dataclass, field

_SHOWN = 4  # names in a sentence


@dataclass
class ConversionReport:
    """The tensors of a conversion, each in one of the lists."""

    source: str
    format: str
    naming: str
    #: In the file but no weights, with the reason.
    set_aside: dict[str, str] = field(default_factory=dict)
    #: Our names, each with the names in the file it was made of.
    matched: dict[str, str] = field(default_factory=dict)
    #: In the file only.
    unused: list[str] = field(default_factory=list)
    #: In the network only; they keep their initial values.
    missing: list[str] = field(default_factory=list)
    #: In both, but of different shapes.
    reshaped: list[str] = field(default_factory=list)
    #: Shapes in the file and in the network of the latter.
    shapes: dict[str, tuple[tuple, tuple]] = field(default_factory=dict)

    def brief(self, names: list[str]) -> str:
        """A few names and how many more."""
        shown = ', '.join(names[:_SHOWN])
        more = len(names) - _SHOWN
        return shown + (f' and {more} more' if more > 0 else '')

    def summary(self) -> str:
        """One line: counts by part of the network."""
        parts = Counter(key.partition('.')[0] for key in self.matched)
        shown = ', '.join(f'{part} {count}' for part, count in parts.items())
        return (
            f'{len(self.matched)} tensors matched ({shown}), '
            f'{len(self.unused)} unused, {len(self.missing)} missing, '
            f'{len(self.set_aside)} no weights'
        )

    def table(self) -> str:
        """Every tensor, a line each, for the console."""
        width = max(map(len, [*self.matched, *self.missing]), default=0)
        lines = [f'{"network":{width}}  {self.source} ({self.naming})']
        lines += [f'{key:{width}}  {names}' for key, names in self.matched.items()]
        for key in self.missing:
            note = 'MISSING: keeps its initial value'
            if key in self.shapes:
                theirs, ours = self.shapes[key]
                note = f'OTHER SHAPE: {theirs}, the network has {ours}'
            lines.append(f'{key:{width}}  {note}')
        lines += [f'{"(unused)":{width}}  {name}' for name in self.unused]
        lines += [
            f'{"(no weight)":{width}}  {name}: {reason}'
            for name, reason in self.set_aside.items()
        ]
        return '\n'.join(lines)
