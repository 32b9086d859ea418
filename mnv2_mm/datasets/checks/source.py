"""A data set of a config: where its files are, and what is wrong with them."""

import inspect
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from mnv2_mm.datasets.image_files import REMEDY, problem_of_file

#: Image files that are opened at most; of more an even selection.
MAX_OPENED = 2000


class StopChecks(Exception):  # noqa: N818  no error, it ends the checks
    """Nothing more can be checked in this data set."""


@dataclass
class Source:
    """One data set of a config, with its paths joined as mmengine joins them.

    ``errors`` and ``warnings`` are shared by all data sets of a config. Their
    keys are the messages, in the order found and without repetition.
    """

    split: str  #: 'train', 'val' or 'test'
    key: str  #: its place in the config, 'train_dataloader.dataset'
    cfg: Mapping  #: its config entry
    cls: type  #: its class
    help: str = ''  #: how to get the data
    errors: dict[str, None] = field(default_factory=dict)
    warnings: dict[str, None] = field(default_factory=dict)

    # -- findings ------------------------------------------------------------
    def error(self, message: str) -> None:
        """Record something that keeps the run from working."""
        self.errors.setdefault(message.rstrip())

    def warn(self, message: str) -> None:
        """Record something that the user should know."""
        self.warnings.setdefault(message)

    def stop(self, *messages: str) -> None:
        """Record errors and end the checks of this data set, if there are any.

        Raises:
            StopChecks: there is a message.
        """
        for message in messages:
            self.error(message)
        if messages:
            raise StopChecks

    # -- settings ------------------------------------------------------------
    def option(self, name: str, default: object = None) -> object:
        """Return a setting, or the default of the class or its parents."""
        if self.cfg.get(name) is not None:
            return self.cfg[name]
        for cls in self.cls.__mro__:
            init = cls.__dict__.get('__init__')
            parameter = init and inspect.signature(init).parameters.get(name)
            if parameter and parameter.default is not parameter.empty:
                return parameter.default
        return default

    @property
    def root(self) -> str:
        """The data root, '' for none."""
        return self.cfg.get('data_root') or ''

    @property
    def is_remote(self) -> bool:
        """Whether the files are on a server (s3://…) and cannot be checked."""
        return any('://' in p for p in (self.root, self.cfg.get('ann_file') or ''))

    @property
    def annotations(self) -> Path | None:
        """The annotation file, None for none."""
        name = self.option('ann_file', '')
        return Path(self.root, name) if name else None

    def folder(self, name: str) -> Path | None:
        """The folder that ``data_prefix`` calls ``name``."""
        prefix = self.option('data_prefix', {})
        if isinstance(prefix, str):
            prefix = {'img_path': prefix}
        value = (prefix or {}).get(name)
        return None if value is None else Path(self.root, value)

    @property
    def own_classes(self) -> Sequence[str] | None:
        """The classes that the config gives, None where it gives none."""
        metainfo = self.cfg.get('metainfo') or {}
        return metainfo.get('classes', self.cfg.get('classes'))

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The classes that the data set will have; None for unknown."""
        classes = self.own_classes
        if isinstance(classes, str) and os.path.isfile(classes):
            classes = Path(classes).read_text('utf-8').splitlines()
        if classes is None:
            classes = getattr(self.cls, 'METAINFO', {}).get('classes')
        return None if classes is None else tuple(classes)

    @property
    def pipeline(self) -> list[Mapping]:
        """The config entries of the transforms."""
        return [t for t in self.cfg.get('pipeline') or () if 'type' in t]

    def has_ancestor(self, name: str) -> bool:
        """Whether the class has this name or is derived from one that has."""
        return any(cls.__name__ == name for cls in self.cls.__mro__)

    # -- files ---------------------------------------------------------------
    @property
    def remedy(self) -> str:
        """How to get missing data."""
        if '\n' in self.help:
            return f'To get the data:\n{self.help}'
        return self.help or (
            'Set data_root and the paths below it in the config to where the data are.'
        )

    def require_file(self, path: Path, setting: str) -> None:
        """Stop unless an annotation file exists and has content."""
        if path.is_file():
            if not path.stat().st_size:
                self.stop(
                    f'The annotation file {path} is empty. Fetch or write it again.'
                )
            return
        near = []
        if path.parent.is_dir():
            names = sorted(entry.name for entry in path.parent.iterdir())
            near = get_close_matches(path.name, names, 3, 0.4) or names[:5]
        hint = f'{path.parent} has {", ".join(near)}. ' if near else ''
        self.stop(
            f'The annotation file {path} is missing ({setting}). {hint}{self.remedy}'
        )

    def require_folder(self, path: Path | None, setting: str) -> None:
        """Stop unless a folder is set and exists."""
        if path is None:
            self.stop(f'{setting} is not set; it names the folder.')
        elif not path.is_dir():
            self.stop(f'The folder {path} is missing ({setting}). {self.remedy}')

    def check_images(self, paths: Sequence[Path], what: str = 'images') -> bool:
        """Open up to ``MAX_OPENED`` image files and report the broken ones.

        Files that the pipeline skips (``ignore_empty``) are no problem.

        Args:
            paths: Of the files.
            what: 'images' or 'masks'.

        Returns:
            Whether all of them can be used.
        """
        loaders = (t for t in self.pipeline if str(t['type']).endswith('LoadImage'))
        if next(loaders, {}).get('ignore_empty'):
            return True
        opened = evenly(paths, MAX_OPENED)
        problems = [(path, problem_of_file(path)) for path in opened]
        broken = [f'{path} {problem}' for path, problem in problems if problem]
        if broken:
            self.error(
                f'{len(broken)} of the {self.split} {what} cannot be used: '
                f'{listed(broken, 3, separator="; ")}. {REMEDY}'
            )
        return not broken


def evenly(items: Sequence, most: int) -> list:
    """At most ``most`` of ``items``, evenly picked, in order."""
    count = min(most, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def listed(items: Iterable[object], most: int = 5, *, separator: str = ', ') -> str:
    """The first few items as text, and how many more there are."""
    items = [str(item) for item in items]
    more = f' and {len(items) - most} more' if len(items) > most else ''
    return separator.join(items[:most]) + more


def walk(folder: Path) -> list[str]:
    """All files below ``folder``, relative to it."""
    return [
        os.path.relpath(os.path.join(parent, name), folder)
        for parent, _, names in os.walk(folder, followlinks=True)
        for name in names
    ]


def suffixes(folder: Path) -> str:
    """Count the files of a folder by suffix: '240 .jpg, 2 .txt'."""
    kinds = Counter(os.path.splitext(n)[1] or 'without suffix' for n in walk(folder))
    return listed(f'{n} {kind}' for kind, n in sorted(kinds.items())) or 'no files'
