"""Checks of a classification set, before a run.

mmpretrain numbers the class folders alphabetically and compares only their
count with the classes, so that a different order in the config swaps the
names.
"""

import os
from pathlib import Path

from mnv2_mm.datasets.checks.source import (
    Findings,
    Source,
    file_exists,
    files_whole,
    folder_exists,
    listed,
    walk,
)

_EXTENSIONS = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif')


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


def _check_class_folders(folder: Path, source: Source, findings: Findings) -> None:
    """One folder a class, numbered alphabetically."""
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
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
    if classes is not None and set(names) == set(classes) and names != list(classes):
        findings.error(
            f'{source.key}.metainfo.classes is not in alphabetical order, '
            'in which the folders are numbered, so the names would be '
            f'swapped. Write classes=({listed(map(repr, names), 1000)}).'
        )
    files, empty = [], []
    for name in names:
        inside = [
            folder / name / path
            for path in sorted(walk(folder / name))
            if path.lower().endswith(_EXTENSIONS)
        ]
        files += inside
        if not inside:
            empty.append(name)
    if empty:
        report = findings.error if source.split == 'train' else findings.warn
        report(
            f'{folder} has no images ({", ".join(_EXTENSIONS)}) of: '
            f'{listed(empty)}. Add some, or remove the folder and the class.'
        )
    files_whole(files, 'images', source, findings)


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
                "image's path, a space and a label number."
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
    files_whole(files, 'images', source, findings)
