"""Checks of segmentation and classification sets, before a run.

mmseg pairs a picture with its mask by name and looks at neither; mmpretrain
numbers the class folders alphabetically and compares their count only, so
that a different order in the config swaps the names.
"""

import os
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from mnv2_mm.datasets.check_source import (
    Findings,
    Source,
    evenly,
    file_exists,
    files_whole,
    folder_exists,
    listed,
)
from mnv2_mm.datasets.transforms import mask_problem

#: So many masks, evenly picked, are read.
MASKS_READ = 50
_EXTENSIONS = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif')


def check_segmentation(source: Source, findings: Findings) -> None:
    """Check folders, pairs of picture and mask, and labels."""
    folders = {}
    for name in ('img_path', 'seg_map_path'):
        setting = f'{source.key}.data_prefix.{name}'
        folder = source.folder(name)
        if folder is None and name != 'img_path' and source.split == 'test':
            return  # pictures to predict
        if not folder_exists(folder, setting, source, findings):
            return
        folders[name] = folder
    img_suffix = str(source.option('img_suffix', '.jpg'))
    mask_suffix = str(source.option('seg_map_suffix', '.png'))
    stems = _stems(folders['img_path'], img_suffix, source, findings)
    if stems is None:
        return
    pictures = [folders['img_path'] / f'{stem}{img_suffix}' for stem in stems]
    masks = [
        folders['seg_map_path'] / f'{stem}{mask_suffix}' for stem in stems
    ]
    for files, what in ((pictures, 'pictures'), (masks, 'masks')):
        lacking = [path for path in files if not path.is_file()]
        if lacking:
            present = _suffixes(lacking[0].parent)
            findings.error(
                f'{len(lacking)} of the {len(files)} {source.split} {what} '
                f'are missing: {listed(lacking, 3)}. {lacking[0].parent} has '
                f'{present}; correct {_setting(what)} of {source.key}, or add '
                'the files.'
            )
            return
    files_whole(pictures, 'pictures', source, findings)
    before = len(findings.errors)
    files_whole(masks, 'masks', source, findings)
    if len(findings.errors) == before:
        _check_labels(pictures, masks, source, findings)


def _stems(
    folder: Path, suffix: str, source: Source, findings: Findings
) -> list[str] | None:
    """The pictures' paths below ``folder`` without suffix."""
    listing = source.annotations
    if listing is not None:
        if not file_exists(
            listing, f'{source.key}.ann_file', source, findings
        ):
            return None
        lines = listing.read_text('utf-8').splitlines()
        return [line.strip() for line in lines if line.strip()]
    names = sorted(_walk(folder))
    stems = [name[: -len(suffix)] for name in names if name.endswith(suffix)]
    if not stems:
        findings.error(
            f'{folder} has no pictures *{suffix}; it has '
            f'{_suffixes(folder)}. Correct data_prefix or img_suffix of '
            f'{source.key}. {source.help}'.rstrip()
        )
        return None
    return stems


def _check_labels(
    pictures: list[Path], masks: list[Path], source: Source, findings: Findings
) -> None:
    """Read some masks: size, labels, and whether there is anything."""
    classes = source.classes
    if classes is None:
        findings.error(
            f'{source.key} has no classes: set metainfo=dict(classes=(...)).'
        )
        return
    # with a selection of the classes, labels are numbered as in all of them
    every = getattr(source.cls, 'METAINFO', {}).get('classes') or classes
    count = len(every if set(classes) <= set(every) else classes)
    reduce = bool(source.option('reduce_zero_label', False))
    ignore = int(source.option('ignore_index', 255))
    seen: set[int] = set()
    pairs = list(zip(pictures, masks, strict=True))
    for picture, path in evenly(pairs, MASKS_READ):
        try:
            with Image.open(path) as file:
                mask = np.asarray(file)
            with Image.open(picture) as file:
                shape = file.size[::-1]
        except (OSError, UnidentifiedImageError) as error:
            findings.error(f'{path} or its picture is unreadable: {error}.')
            return
        if mask.dtype == bool:
            mask = mask.astype(np.uint8)
        values = set(np.unique(mask).tolist())
        if reduce and mask.ndim == 2:
            mask = np.where(mask == 0, 255, mask - 1)
        problem = mask_problem(
            mask, count, ignore_index=ignore, picture_shape=shape
        )
        if problem:
            findings.error(f'The mask {path} {problem}')
            return
        seen |= values
    looked = f'{min(len(masks), MASKS_READ)} of the {len(masks)}'
    if seen <= {0, 255} and 255 in seen and ignore == 255:
        findings.error(
            f'{looked} masks in {masks[0].parent} hold only the values '
            f'{listed(sorted(seen))}, and 255 is ignored, so nothing would '
            'be learned. For two classes write the object as 1: '
            'mask[mask == 255] = 1.'
        )
    elif len(seen - {ignore}) < 2:
        findings.warn(
            f'{looked} masks in {masks[0].parent} hold one label only: '
            f'{listed(sorted(seen))}.'
        )


def check_classification(source: Source, findings: Findings) -> None:
    """Check class folders or the list of labels against the classes."""
    folder = source.folder('img_path') or Path(source.root)
    listing = source.annotations
    if source.has_ancestor('ImageNet') and source.cfg.get('split'):
        split = source.cfg['split']
        if source.cfg.get('data_prefix') in (None, ''):
            folder = Path(source.root, split)
        default = Path(source.root, 'meta', f'{split}.txt')
        if listing is None and default.is_file():
            listing = default
    setting = f'{source.key}.data_prefix'
    if not folder_exists(folder, setting, source, findings):
        return
    if source.cfg.get('with_label') is False:
        return
    if listing is not None:
        _check_listing(listing, folder, source, findings)
    else:
        _check_class_folders(folder, source, findings)


def _check_class_folders(
    folder: Path, source: Source, findings: Findings
) -> None:
    """One folder a class, numbered alphabetically."""
    names = sorted(
        entry.name for entry in os.scandir(folder) if entry.is_dir()
    )
    if not names:
        findings.error(
            f'{folder} has no folders; there must be one per class. '
            f'{source.help}'.rstrip()
        )
        return
    classes = source.classes
    if classes is not None and len(classes) != len(names):
        extra = [name for name in names if name not in classes]
        lacking = [name for name in classes if name not in names]
        findings.error(
            f'{folder} has {len(names)} class folders, '
            f'{source.key}.metainfo.classes {len(classes)}'
            + (f'; without a folder: {listed(lacking)}' if lacking else '')
            + (f'; without a class: {listed(extra)}' if extra else '')
            + '. Correct the classes, or add or remove the folders.'
        )
        return
    # names that differ from the folders' (ImageNet's) are none of our business
    if (
        classes is not None
        and set(names) == set(classes)
        and names != list(classes)
    ):
        findings.error(
            f'{source.key}.metainfo.classes is not in alphabetical order, '
            'in which the folders are numbered, so the names would be '
            f'swapped. Write classes=({listed(map(repr, names), 1000)}).'
        )
    files, empty = [], []
    for name in names:
        inside = [
            folder / name / path
            for path in sorted(_walk(folder / name))
            if path.lower().endswith(_EXTENSIONS)
        ]
        files += inside
        if not inside:
            empty.append(name)
    if empty:
        report = findings.error if source.split == 'train' else findings.warn
        report(
            f'{folder} has no pictures ({", ".join(_EXTENSIONS)}) of: '
            f'{listed(empty)}. Add some, or remove the folder and the class.'
        )
    files_whole(files, 'pictures', source, findings)


def _check_listing(
    listing: Path, folder: Path, source: Source, findings: Findings
) -> None:
    """A text file with lines 'path label'."""
    if not file_exists(listing, f'{source.key}.ann_file', source, findings):
        return
    files, classes = [], source.classes
    for number, line in enumerate(listing.read_text('utf-8').splitlines(), 1):
        name, _, label = line.strip().rpartition(' ')
        if not name or not label.isdigit():
            findings.error(
                f'{listing}, line {number}: {line.strip()!r} is not a '
                "picture's path, a space and a label number."
            )
            return
        if classes is not None and int(label) >= len(classes):
            findings.error(
                f'{listing}, line {number}: the label {label} is out of '
                f'range; {source.key} has {len(classes)} classes, so 0 to '
                f'{len(classes) - 1} are allowed. Correct it, or add the '
                'class.'
            )
            return
        files.append(folder / name)
    files_whole(files, 'pictures', source, findings)


def _walk(folder: Path) -> list[str]:
    """All files below ``folder``, relative to it."""
    return [
        os.path.relpath(os.path.join(parent, name), folder)
        for parent, _, names in os.walk(folder, followlinks=True)
        for name in names
    ]


def _suffixes(folder: Path) -> str:
    """'240 .jpg, 2 .txt': what kinds of files a folder holds."""
    kinds: dict[str, int] = {}
    for name in _walk(folder) if folder.is_dir() else ():
        kind = os.path.splitext(name)[1] or 'without suffix'
        kinds[kind] = kinds.get(kind, 0) + 1
    found = [f'{count} {kind}' for kind, count in sorted(kinds.items())]
    return listed(found) or 'no files'


def _setting(what: str) -> str:
    return 'img_suffix' if what == 'pictures' else 'seg_map_suffix'
