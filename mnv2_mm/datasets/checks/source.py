"""What the checks before a run share: where a data set is, what was found.

A :class:`Source` is one data set of a config with its paths joined as
mmengine joins them. :class:`Findings` collects problems, so that a user sees
all of them at once and each only once.
"""

import inspect
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from mnv2_mm.datasets.image_files import REMEDY, problem_of_file

#: Up to so many image files are opened; of more an even selection.
MAX_OPENED = 2000


@dataclass
class Findings:
    """Problems in the order they were found, without repetition."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def error(self, message: str) -> None:
        """Note something that keeps the run from working."""
        if message not in self.errors:
            self.errors.append(message)

    def warn(self, message: str) -> None:
        """Note something that the user should know."""
        if message not in self.warnings:
            self.warnings.append(message)


@dataclass
class Source:
    """One data set of a config."""

    split: str  #: 'train', 'val' or 'test'
    key: str  #: its place in the config, 'train_dataloader.dataset'
    cfg: dict  #: its config entry
    cls: type  #: its class
    help: str = ''  #: how to get the data

    @property
    def root(self) -> str:
        """The data root, '' for none."""
        return self.cfg.get('data_root') or ''

    @property
    def is_remote(self) -> bool:
        """Whether the files lie elsewhere (s3://…), out of reach here."""
        paths = [self.root, self.cfg.get('ann_file') or '']
        return any('://' in path for path in paths)

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

    def option(self, name: str, default: object = None) -> object:
        """A setting, or what the class (or one above it) takes for it."""
        if self.cfg.get(name) is not None:
            return self.cfg[name]
        for cls in self.cls.__mro__:
            init = cls.__dict__.get('__init__')
            parameter = init and inspect.signature(init).parameters.get(name)
            if parameter and parameter.default is not parameter.empty:
                return parameter.default
        return default

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
    def pipeline(self) -> list[dict]:
        """The config entries of the transforms."""
        return [t for t in self.cfg.get('pipeline') or () if 'type' in t]

    def has_ancestor(self, *names: str) -> bool:
        """Whether the class is one of these or derived from one."""
        return any(cls.__name__ in names for cls in self.cls.__mro__)


def exists(source: Source, findings: Findings) -> bool:
    """Check that there is a data root, with help to get it if not."""
    if not source.root or Path(source.root).is_dir():
        return True
    findings.error(
        f'The data folder {source.root} is missing '
        f'({source.key}.data_root). {_help(source)}'
    )
    return False


def file_exists(path: Path, setting: str, source: Source, findings: Findings) -> bool:
    """Check that a file is there and not empty, suggesting its like."""
    if path.is_file():
        if path.stat().st_size:
            return True
        findings.error(f'The annotation file {path} is empty. Fetch or write it again.')
        return False
    near = []
    if path.parent.is_dir():
        names = sorted(entry.name for entry in path.parent.iterdir())
        near = get_close_matches(path.name, names, 3, 0.4) or names[:5]
    hint = f'{path.parent} has {", ".join(near)}. ' if near else ''
    findings.error(
        f'The annotation file {path} is missing ({setting}). {hint}{_help(source)}'
    )
    return False


def folder_exists(
    path: Path | None, setting: str, source: Source, findings: Findings
) -> bool:
    """Check that a folder is there."""
    if path is None:
        findings.error(f'{setting} is not set; it names the folder.')
        return False
    if path.is_dir():
        return True
    findings.error(f'The folder {path} is missing ({setting}). {_help(source)}')
    return False


def files_whole(
    paths: Sequence[Path], what: str, source: Source, findings: Findings
) -> None:
    """Open image files and report the broken ones.

    Args:
        paths: of the files; ``MAX_OPENED`` of them are opened, evenly
            picked.
        what: 'images' or 'masks'.
        source: whose files they are; files that its pipeline accepts are
            no problem.
        findings: takes the report.
    """
    loader = next(
        (t for t in source.pipeline if str(t['type']).endswith('LoadImage')),
        {},
    )
    if loader.get('ignore_empty'):
        return
    broken = []
    for path in evenly(paths, MAX_OPENED):
        problem = problem_of_file(path)
        if problem is not None:
            broken.append(f'{path} {problem}')
    if broken:
        findings.error(
            f'{len(broken)} of the {source.split} {what} cannot be used: '
            f'{listed(broken, 3, separator="; ")}. {REMEDY}'
        )


def evenly(items: Sequence, most: int) -> list:
    """At most ``most`` of ``items``, evenly picked, in order."""
    if len(items) <= most:
        return list(items)
    return [items[i * len(items) // most] for i in range(most)]


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
    """'240 .jpg, 2 .txt': what kinds of files a folder holds."""
    kinds: dict[str, int] = {}
    for name in walk(folder) if folder.is_dir() else ():
        kind = os.path.splitext(name)[1] or 'without suffix'
        kinds[kind] = kinds.get(kind, 0) + 1
    found = [f'{count} {kind}' for kind, count in sorted(kinds.items())]
    return listed(found) or 'no files'


def _help(source: Source) -> str:
    if '\n' in source.help:
        return f'To get the data:\n{source.help}'
    return source.help or (
        'Set data_root and the paths below it in the config to where the data are.'
    )
