"""A data set of a config: where its files are, and what is wrong with them."""

import inspect
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from mnv2_mm.runtime.image_files import REMEDY, loaded_size, problem_of_file

#: Image files that are opened at most, evenly picked.
MAX_OPENED = 2000


class StopChecks(Exception):  # noqa: N818  no error, it ends the checks
    """Nothing more can be checked in this data set."""


@dataclass
class Source:
    """One data set of a config, with its paths joined as mmengine joins them."""

    split: str  #: 'train', 'val' or 'test'
    key: str  #: its place in the config, 'train_dataloader.dataset'
    cfg: Mapping  #: its config entry
    cls: type  #: its class
    help: str  #: how to get the data
    #: messages of all data sets, in the order found, and whether each is an error
    findings: dict[str, bool]
    evaluators: Sequence[Mapping] = ()  #: those of its split

    def __post_init__(self) -> None:
        """Read the settings that most checks need."""
        self.ancestors = {cls.__name__ for cls in self.cls.__mro__}
        self.root = self.cfg.get('data_root') or ''
        name = self.option('ann_file')
        self.annotations = Path(self.root, name) if name else None
        self.pipeline = [t for t in self.cfg.get('pipeline') or () if 'type' in t]
        loaders = (t for t in self.pipeline if 'LoadImage' in str(t['type']))
        #: the step that loads images
        self.loader = next(loaders, {})
        #: the classes that the config gives, None where it gives none
        metainfo = self.cfg.get('metainfo') or {}
        self.own_classes = metainfo.get('classes', self.cfg.get('classes'))
        #: the classes that the data set will have, None for unknown
        classes = self.own_classes
        if isinstance(classes, str) and os.path.isfile(classes):
            text = self.read_text(Path(classes), 'metainfo.classes')
            classes = text.splitlines()
        if classes is None:
            classes = getattr(self.cls, 'METAINFO', {}).get('classes')
        self.classes = None if classes is None else tuple(classes)
        #: how to get missing data
        self.remedy = self.help or (
            'Set data_root and the paths below it in the config to where the data are.'
        )
        if '\n' in self.help:
            self.remedy = f'To get the data:\n{self.help}'

    def error(self, message: str) -> None:
        """Record something that keeps the run from working."""
        self.findings[message.rstrip()] = True

    def warn(self, message: str) -> None:
        """Record something that the user should know."""
        self.findings.setdefault(message, False)

    def stop(self, *messages: str) -> None:
        """Record errors; if there are any, end the checks by ``StopChecks``."""
        for message in messages:
            self.error(message)
        if messages:
            raise StopChecks

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

    def folder(self, name: str) -> Path | None:
        """The folder that ``data_prefix`` calls ``name``."""
        prefix = self.option('data_prefix') or {}
        if isinstance(prefix, str):
            prefix = {'img_path': prefix}
        return None if prefix.get(name) is None else Path(self.root, prefix[name])

    def require_file(self, path: Path, setting: str) -> None:
        """Stop unless an annotation file exists and has content."""
        if not path.is_file():
            names = sorted(os.listdir(path.parent)) if path.parent.is_dir() else []
            near = get_close_matches(path.name, names, 3, 0.4) or names[:5]
            hint = f'{path.parent} has {", ".join(near)}. ' if near else ''
            self.stop(
                f'The annotation file {path} is missing ({setting}). '
                f'{hint}{self.remedy}'
            )
        if not path.stat().st_size:
            self.stop(f'The annotation file {path} is empty. Fetch or write it again.')

    def read_text(self, path: Path, setting: str = 'ann_file') -> str:
        """The content of a file; stop unless it is there and the hosts can read it."""
        self.require_file(path, f'{self.key}.{setting}')
        remedy = 'Save it as UTF-8 without BOM, as hosts read.'
        try:
            text = path.read_text('utf-8')
        except UnicodeDecodeError as error:
            self.stop(f'{path} is not UTF-8 text (byte {error.start}). {remedy}')
        if text.startswith('\ufeff'):
            self.stop(f'{path} begins with a byte-order mark (BOM). {remedy}')
        return text

    def require_folder(self, path: Path | None, setting: str) -> None:
        """Stop unless a folder is set and exists."""
        if path is None:
            self.stop(f'{setting} is not set; it names the folder.')
        if not path.is_dir():
            self.stop(f'The folder {path} is missing ({setting}). {self.remedy}')

    def check_images(
        self, paths: Sequence[Path], setting: str = 'ann_file', what: str = 'images'
    ) -> bool:
        """Report missing images or masks, open up to ``MAX_OPENED`` of the others.

        Returns:
            Whether all can be used, or are skipped (``ignore_empty``).
        """
        # one listing of a folder is faster than a look at every file
        folders = {os.path.dirname(path) for path in paths}
        listings = {f: set(os.listdir(f)) for f in folders if os.path.isdir(f)}
        there = [p for p in paths if p.name in listings.get(os.path.dirname(p), ())]
        if there and what == 'images' and self.loader.get('ignore_empty'):
            return True
        if len(there) < len(paths):
            lacking = [path for path in paths if path not in set(there)]
            parent = lacking[0].parent
            self.error(
                f'{len(lacking)} of the {len(paths)} {self.split} {what} are missing: '
                f'{listed(lacking, 3)}. {parent} has {suffixes(parent)}; correct '
                f'{setting} of {self.key}, or add the files. {self.help}'
            )
        problems = [(path, problem_of_file(path)) for path in evenly(there, MAX_OPENED)]
        broken = [f'{path} {problem}' for path, problem in problems if problem]
        if broken:
            self.error(
                f'{len(broken)} of the {self.split} {what} cannot be used: '
                f'{listed(broken, 3, separator="; ")}. {REMEDY}'
            )
        return not broken and len(there) == len(paths)

    def loaded_size(self, path: Path) -> tuple[int, int] | None:
        """(width, height) of an image as the pipeline loads it."""
        return loaded_size(path, color_type=self.loader.get('color_type', 'color'))

    def check_sizes(self, sizes: Sequence[tuple[Path, tuple[float, float]]]) -> None:
        """Compare images with their annotated (width, height)."""
        wrong = []
        opened = evenly(sizes, MAX_OPENED)
        for path, wanted in opened:
            size = self.loaded_size(path)
            if size and size != wanted:
                turned = loaded_size(path, color_type='unchanged') == wanted
                how = ', turned by its EXIF orientation' if turned else ''
                wrong.append(
                    f'{path} is {size[0]}x{size[1]}{how}, '
                    f'its annotation says {wanted[0]:g}x{wanted[1]:g}'
                )
        if wrong:
            report = self.error if len(wrong) > len(opened) / 2 else self.warn
            report(
                f'{len(wrong)} of {len(opened)} {self.split} images have not the size '
                f'(width x height) that is annotated, so boxes lie elsewhere: '
                f'{listed(wrong, 3, separator="; ")}. Correct width, height and boxes, '
                'or fetch the original images; for EXIF set '
                "color_type='color_ignore_orientation' of the step that loads images."
            )


def evenly(items: Sequence, most: int) -> list:
    """At most ``most`` of ``items``, evenly picked, in order."""
    count = min(most, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def listed(items: Iterable[object], most: int = 5, *, separator: str = ', ') -> str:
    """The first few items as text, and how many more there are."""
    items = [str(item) for item in items]
    more = f' and {len(items) - most} more' if len(items) > most else ''
    return separator.join(items[:most]) + more


def suffixes(folder: Path) -> str:
    """Count the files of a folder by suffix: '240 .jpg, 2 .txt'."""
    kinds = Counter(os.path.splitext(n)[1] or 'without suffix' for n in walk(folder))
    return listed(f'{n} {kind}' for kind, n in sorted(kinds.items())) or 'no files'


def walk(folder: Path) -> list[str]:
    """All files below ``folder``, relative to it, sorted; links are followed."""
    return sorted(
        os.path.relpath(os.path.join(parent, name), folder)
        for parent, _, names in os.walk(folder, followlinks=True)
        for name in names
    )
