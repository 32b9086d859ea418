"""Find the files of a data set and recognize its annotation format by them.

globox, which parses the formats, has to be told which one a folder has, and datumaro,
which recognizes formats, needs 60 MB of other packages. So a file is recognized here by
its ending and its first bytes.
"""

import mmap
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mnv2_mm.datasets.checks.source import listed
from mnv2_mm.datasets.own.records import ImageIndex, stem_of
from mnv2_mm.utils.errors import InputError

IMAGES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff')
#: Formats of boxes by name, the preferred one of equals first.
FORMATS = {
    'coco': 'COCO JSON',
    'yolo': 'YOLO text files',
    'voc': 'VOC XML',
    'labelme': 'LabelMe JSON',
    'cvat': 'CVAT XML',
    'openimages': 'Open Images CSV',
    'csv': 'CSV',
    'masks': 'PNG masks',
    'folders': 'class folders',
}
#: A prepared set has this file, which begins with the title.
REPORT = 'report.txt'
TITLE = 'Report of `mnv2 data`'
#: Names of folders and files that hold class names or lists, not labels.
NAME_FILES = (
    'classes.txt',
    'obj.names',
    'labels.txt',
    'labelmap.txt',
    'class_names.txt',
)
#: Folders of annotation files, with the images beside them.
_OWN_FOLDERS = ('annotation', 'annotations', 'ann', 'labels')
_YOLO = re.compile(rb'\S+(\s+[-+.\deE]+){4,}\s*$')
_MASK_FOLDERS = re.compile(
    r'(^|/)(ann_dir|annotations?|masks?|labels?|segmentation\w*|trimaps|gt\w*)(?=/|$)',
    re.I,
)


@dataclass
class Files:
    """What a folder holds, relative to it and sorted."""

    root: Path
    images: list[str] = field(default_factory=list)
    #: annotation files by their format
    formats: dict[str, list[str]] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)  #: class names and lists
    yamls: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    bom: list[str] = field(default_factory=list)  #: begin with a byte-order mark
    classes: list[str] = field(default_factory=list)  #: that annotation files list


def is_prepared(folder: Path) -> bool:
    """Whether `mnv2 data` has written a folder."""
    report = folder / REPORT
    if not report.is_file():
        return False
    with report.open('rb') as file:
        return file.read(len(TITLE)) == TITLE.encode()


def scan(source: Path, tick: Callable[[], object] = lambda: None) -> Files:
    """List a folder; a YAML, JSON or CSV file stands for the folder that it is in.

    Prepared sets inside of it are left out: they are made of the same images.

    Args:
        source: The folder, or one annotation file in it.
        tick: Called for each file.
    """
    if source.is_file():
        folder = source.absolute().parent
        files = _listed_files(source.parent, source.name, tick)
        # where it has a folder of its own, the images are beside that
        if files.images or folder.name.lower() not in _OWN_FOLDERS:
            return files
        return _listed_files(folder.parent, f'{folder.name}/{source.name}', tick)
    if not source.is_dir():
        raise InputError(f'there is no folder or file {source}; give that of the data')
    return _listed_files(source, '', tick)


def _listed_files(root: Path, only: str, tick: Callable[[], object]) -> Files:
    """List a folder; of annotation files take ``only`` this one, if it is given."""
    files = Files(root)
    for parent, folders, names in os.walk(root, followlinks=True):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(('.', '__MACOSX'))
            and not is_prepared(Path(parent, name))
            # a link to a folder above would give each image again and again
            and not Path(parent).resolve().is_relative_to(Path(parent, name).resolve())
        )
        for name in sorted(names):
            tick()
            path = os.path.relpath(os.path.join(parent, name), root).replace('\\', '/')
            _sort_in(files, path, only)
    return files


def _sort_in(files: Files, path: str, only: str) -> None:
    """Put one file where it belongs."""
    ending = os.path.splitext(path)[1].lower()
    if os.path.basename(path).startswith('.'):
        return
    if ending in IMAGES:
        files.images.append(path)
    elif ending in ('.yaml', '.yml'):
        files.yamls.append(path)
    elif ending not in ('.txt', '.names', '.json', '.xml', '.csv'):
        files.others.append(path)
    elif only.endswith(('.json', '.xml', '.csv')) and path != only:
        return  # one file was asked for
    else:
        with open(files.root / path, 'rb') as file:
            head = file.read(4096)
        if head.startswith(b'\xef\xbb\xbf'):
            files.bom.append(path)
        format = _format_of(
            files.root / path, ending, head.removeprefix(b'\xef\xbb\xbf')
        )
        if format == 'text':
            files.texts.append(path)
        elif format:
            files.formats.setdefault(format, []).append(path)
        else:
            files.others.append(path)


def _format_of(path: Path, ending: str, head: bytes) -> str:
    """Format of an annotation file; '' if it is none, 'text' for names and lists."""
    if ending == '.xml':
        root = re.search(rb'<(annotations?)\b', head)
        return {b'annotation': 'voc', b'annotations': 'cvat'}[root[1]] if root else ''
    if ending == '.json':
        if b'"shapes"' in head or b'"imagePath"' in head:
            return 'labelme'
        return 'coco' if _contains(path, b'"images"', b'"annotations"') else ''
    first = head.lstrip().partition(b'\n')[0].strip()
    if ending == '.csv':
        if b'ImageID' in first and b'XMin' in first:
            return 'openimages'
        columns = first.lower().replace(b';', b',').split(b',')
        numbers = sum(bool(re.fullmatch(rb'\s*[-+.\d]+\s*', c)) for c in columns)
        return 'csv' if b'xmin' in columns or b'x1' in columns or numbers == 4 else ''
    if os.path.basename(path).lower() in NAME_FILES or ending == '.names':
        return 'text'
    return 'yolo' if not first or _YOLO.match(first) else 'text'


def _contains(path: Path, *words: bytes) -> bool:
    """Whether a file of any size has all words in it."""
    if not path.stat().st_size:
        return False
    with open(path, 'rb') as file, mmap.mmap(file.fileno(), 0, access=1) as content:
        return all(content.find(word) >= 0 for word in words)


def mask_pairs(files: Files) -> dict[str, str]:
    """Mask of each image: a PNG of the same stem in a folder named like masks.

    Of images of one name the one is taken whose folders are most like those of the
    mask. An image with two masks has none.
    """
    pngs = (name for name in files.images if name.lower().endswith('.png'))
    masks = [name for name in pngs if _MASK_FOLDERS.search(name)]
    index = ImageIndex(files.root, set(files.images) - set(masks))
    pairs: dict[str, list[str]] = {}
    for mask in masks:
        stem = re.sub(r'(_mask|_labelids|_seg|_gt)$', '', stem_of(mask), flags=re.I)
        image = index.find(f'{stem}.png', mask)
        if isinstance(image, str):
            pairs.setdefault(image, []).append(mask)
    return {image: found[0] for image, found in pairs.items() if len(found) == 1}


def class_folders(files: Files) -> dict[str, str]:
    """Class of each image in a folder of class folders; empty if it is no such set."""
    classes = {n: n.split('/')[-2] for n in files.images if '/' in n}
    # a few images beside the folders are of no class
    loose = len(classes) < 0.9 * len(files.images)
    reserved = {'images', 'image', 'img', 'jpegimages', 'train', 'val', 'valid', 'test'}
    if loose or {c.lower() for c in classes.values()} & reserved:
        return {}
    return classes if len(set(classes.values())) > 1 else {}


def recognize(files: Files, task: str | None, format: str | None) -> list[str]:
    """Names of the formats that a folder may have, given the choices of the user."""
    boxes = [name for name in FORMATS if files.formats.get(name)]
    other = {'masks': bool(mask_pairs(files)), 'folders': bool(class_folders(files))}
    if format is not None:
        if format not in boxes and not other.get(format):
            there = ', '.join(
                [*boxes, *(n for n, is_there in other.items() if is_there)]
            )
            raise InputError(
                f'--format {format}: {files.root} has no {FORMATS[format]}; it has '
                f'{there or "none that is known"}'
            )
        return [format]
    if task == 'seg':
        found = ['masks'] if other['masks'] else [n for n in boxes if n == 'coco']
    elif task == 'cls':
        found = ['folders'] if other['folders'] else []
    else:
        found = boxes if task == 'det' or boxes else [n for n in other if other[n]][:1]
    if not found:
        known = {'seg': ('masks', 'coco'), 'cls': ('folders',)}.get(task or '', FORMATS)
        raise InputError(
            f'{files.root} has {len(files.images)} images and no annotations that are '
            f'known{f" for --task {task}" if task else ""} '
            f'({", ".join(FORMATS[name] for name in known)}); other files: '
            f'{listed(files.others, 3) or "none"}'
        )
    return found
