"""Check a classification set before a run.

mmpretrain numbers the class folders alphabetically and compares only their
count with the classes, so a different order in the config swaps the names.
"""

import os
from pathlib import Path

from mnv2_mm.datasets.checks.source import Source, listed, walk

_EXTENSIONS = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif')


def check_classification(source: Source) -> None:
    """Check class folders or the list of labels against the classes."""
    folder = source.folder('img_path') or Path(source.root)
    listing = source.annotations
    split = source.cfg.get('split')
    if source.has_ancestor('ImageNet') and split:
        if source.cfg.get('data_prefix') in (None, ''):
            folder = Path(source.root, split)
        default = Path(source.root, 'meta', f'{split}.txt')
        if listing is None and default.is_file():
            listing = default
    source.require_folder(folder, f'{source.key}.data_prefix')
    if source.cfg.get('with_label') is False:
        return
    if listing is None:
        files = _files_in_folders(folder, source)
    else:
        source.require_file(listing, f'{source.key}.ann_file')
        files = _files_of_listing(listing, folder, source)
    source.check_images(files)


def _files_in_folders(folder: Path, source: Source) -> list[Path]:
    """Check one folder per class, numbered alphabetically; return the images."""
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    if not names:
        source.stop(
            f'{folder} has no folders; there must be one per class. {source.help}'
        )
    classes, key = source.classes, f'{source.key}.metainfo.classes'
    if classes is not None and len(classes) != len(names):
        extra = [name for name in names if name not in classes]
        lacking = [name for name in classes if name not in names]
        source.stop(
            f'{folder} has {len(names)} class folders, {key} {len(classes)}'
            + (f'; without a folder: {listed(lacking)}' if lacking else '')
            + (f'; without a class: {listed(extra)}' if extra else '')
            + '. Correct the classes, or add or remove the folders.'
        )
    # names may differ from the folders' names, as ImageNet's do
    if classes is not None and set(names) == set(classes) and names != list(classes):
        source.error(
            f'{key} is not in alphabetical order, '
            'in which the folders are numbered, so the names would be '
            f'swapped. Write classes=({listed(map(repr, names), 1000)}).'
        )
    files = {
        name: [
            folder / name / path
            for path in sorted(walk(folder / name))
            if path.lower().endswith(_EXTENSIONS)
        ]
        for name in names
    }
    empty = [name for name in names if not files[name]]
    if empty:
        report = source.error if source.split == 'train' else source.warn
        report(
            f'{folder} has no images ({", ".join(_EXTENSIONS)}) of: '
            f'{listed(empty)}. Add some, or remove the folder and the class.'
        )
    return [path for name in names for path in files[name]]


def _files_of_listing(listing: Path, folder: Path, source: Source) -> list[Path]:
    """Check a text file with lines 'path label'; return the images."""
    files, classes = [], source.classes
    for number, line in enumerate(listing.read_text('utf-8').splitlines(), 1):
        name, _, label = line.strip().rpartition(' ')
        if not name or not label.isdigit():
            source.stop(
                f'{listing}, line {number}: {line.strip()!r} is not an '
                "image's path, a space and a label number."
            )
        if classes is not None and int(label) >= len(classes):
            source.stop(
                f'{listing}, line {number}: the label {label} is out of range; '
                f'{source.key} has {len(classes)} classes, so 0 to {len(classes) - 1} '
                'are allowed. Correct it, or add the class.'
            )
        files.append(folder / name)
    return files
