"""Check a classification set before a run.

mmpretrain numbers the class folders alphabetically and compares only their
count with the classes, so a different order in the config swaps the names.
"""

from pathlib import Path

from mnv2_mm.datasets.checks.source import Source, listed, walk


def check_classification(source: Source) -> None:
    """Check class folders or the list of labels against the classes."""
    folder = source.folder('img_path') or Path(source.root)
    listing = source.annotations
    split = source.cfg.get('split')
    if 'ImageNet' in source.ancestors and split:
        if not source.cfg.get('data_prefix'):
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
        files = _files_of_listing(listing, folder, source)
    source.check_images(files)


def _files_in_folders(folder: Path, source: Source) -> list[Path]:
    """Check one folder per class, numbered alphabetically; return the images."""
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    if not names:
        source.stop(
            f'{folder} has no folders; there must be one per class. {source.help}'
        )
    classes, key = source.classes or (), f'{source.key}.metainfo.classes'
    if source.classes is not None and len(classes) != len(names):
        lacking, extra = set(classes) - set(names), set(names) - set(classes)
        source.stop(
            f'{folder} has {len(names)} class folders, {key} {len(classes)}; without '
            f'a folder: {listed(sorted(lacking)) or "none"}; without a class: '
            f'{listed(sorted(extra)) or "none"}. Correct the classes, or add or remove '
            'the folders.'
        )
    # names may differ from the folders' names, as ImageNet's do
    if set(names) == set(classes) and names != list(classes):
        source.error(
            f'{key} is not in alphabetical order, in which the folders are numbered, '
            'so the names would be swapped. '
            f'Write classes=({listed(map(repr, names), 1000)}).'
        )
    endings = tuple(map(str.lower, source.option('extensions', ())))
    files = [
        (n, p) for n in names for p in walk(folder / n) if p.lower().endswith(endings)
    ]
    filled = {name for name, _ in files}
    empty = [name for name in names if name not in filled]
    if empty:
        report = source.error if source.split == 'train' else source.warn
        report(
            f'{folder} has no images ({", ".join(endings)}) of: '
            f'{listed(empty)}. Add some, or remove the folder and the class.'
        )
    return [folder / name / path for name, path in files]


def _files_of_listing(listing: Path, folder: Path, source: Source) -> list[Path]:
    """Check a text file with lines 'path label'; return the images."""
    files, classes = [], source.classes
    for number, line in enumerate(source.read_text(listing).splitlines(), 1):
        name, _, label = line.strip().rpartition(' ')
        where = f'{listing}, line {number}'
        if not name or not label.isdecimal():
            source.stop(
                f"{where}: {line.strip()!r} is not an image's path, a space and a "
                'label number.'
            )
        if classes is not None and int(label) >= len(classes):
            source.stop(
                f'{where}: the label {label} is out of range; '
                f'{source.key} has {len(classes)} classes, so 0 to {len(classes) - 1} '
                'are allowed. Correct it, or add the class.'
            )
        files.append(folder / name)
    return files
