"""Check a detection set in COCO format before a run.

mmdet's CocoDataset drops annotations without a message: all of them when the
class names do not match, and boxes thinner than a pixel, without area or
outside their image. It numbers the classes in the order of the annotation
file, not of the config, so a different order in the config swaps the names.
"""

import gc
import json
import os
from collections import Counter
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from mnv2_mm.datasets.checks.source import Source, listed

_TABLES = {
    'images': ('id', 'file_name', 'width', 'height'),
    'annotations': ('id', 'image_id', 'category_id', 'bbox', 'area'),
    'categories': ('id', 'name'),
}
_REMEDIES = {
    'area': ' For boxes it is width * height.',
    'bbox': ' It is [x, y, width, height] in pixels.',
}


def check_coco(source: Source) -> None:
    """Check one data set; what is wrong is recorded in ``source``."""
    path = source.annotations
    if path is None:
        source.stop(f'{source.key}.ann_file is not set.')
    source.require_file(path, f'{source.key}.ann_file')
    # COCO's annotations are millions of objects, none of them garbage
    collects = gc.isenabled()
    gc.disable()
    try:
        coco = _load(path, source)
        used = _check_classes(coco, path, source)
        _check_boxes(coco, path, source, used)
        _check_files(coco, source)
    finally:
        if collects:
            gc.enable()


def _load(path: Path, source: Source) -> dict:
    """Read the annotation file and check that it has what mmdet reads."""
    try:
        coco = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        source.stop(
            f'The annotation file {path} is not JSON ({error}). It may be '
            'cut off, or of another format: write it again, as COCO JSON.'
        )
    if not isinstance(coco, dict):
        source.stop(
            f'The annotation file {path} is JSON but not COCO: it holds a '
            f'{type(coco).__name__} instead of an object with the keys '
            f'{listed(_TABLES)}.'
        )
    if source.split == 'test':  # a test set may have none
        coco.setdefault('annotations', [])
    problems = []
    for table, keys in _TABLES.items():
        rows = coco.get(table)
        if not isinstance(rows, list):
            problems.append(
                f'The annotation file {path} is not COCO: the list {table!r} '
                f'is missing. It has the keys {listed(coco, 8) or "none"}.'
            )
            continue
        lacking = Counter(key for row in rows for key in keys if key not in row)
        problems += [
            f'{path}: {count} of {len(rows)} entries in {table!r} '
            f'lack the key {key!r}.{_REMEDIES.get(key, "")}'
            for key, count in lacking.items()
        ]
        ids = Counter(row['id'] for row in rows if 'id' in row)
        repeated = [key for key, count in ids.items() if count > 1]
        if repeated:
            problems.append(
                f'{path}: ids in {table!r} are not unique: '
                f'{listed(repeated)}. Number the entries again.'
            )
        if table == 'images' and not rows:
            problems.append(f'{path}: the list of images is empty.')
    source.stop(*problems)
    bad = [row['id'] for row in coco['annotations'] if not _is_box(row['bbox'])]
    if bad:
        source.stop(
            f'{path}: {len(bad)} annotations have a bbox that is not four '
            f'numbers [x, y, width, height] (ids {listed(bad)}).'
        )
    return coco


def _is_box(box: list | None) -> bool:
    """Whether a bbox is four numbers."""
    four = isinstance(box, list) and len(box) == 4
    return four and {*map(type, box)} <= {int, float}


def _check_classes(coco: dict, path: Path, source: Source) -> list[int]:
    """Return the category ids that the config's classes use, in file order."""
    ids = {row['name']: row['id'] for row in coco['categories']}
    classes = source.classes or ()
    key = f'{source.key}.metainfo.classes'
    lacking = [name for name in classes if name not in ids]
    if lacking:
        hints = [repr(name) + _meant(name, ids) for name in lacking[:5]]
        default = (
            ' The config gives no classes, so those of COCO were taken: set '
            'metainfo=dict(classes=(...)).'
        )
        source.stop(
            f'{path} lacks {len(lacking)} of the {len(classes)} classes of {key}: '
            f'{listed(hints)}. It has {listed(map(repr, ids), 10) or "none"}; write '
            f'the names as they are there.{"" if source.own_classes else default}'
        )
    order = [r['name'] for r in coco['categories'] if r['name'] in classes]
    if order != list(classes):
        source.stop(
            f'{key} and {path} order the classes differently, and mmdet '
            'numbers them as the file does, so the names on images would '
            f'be swapped. Write classes=({listed(map(repr, order), 100)}).'
        )
    counts = Counter(row['category_id'] for row in coco['annotations'])
    unused = [
        f'{name} ({counts[i]})'
        for name, i in ids.items()
        if name not in classes and counts[i]
    ]
    if unused:
        source.warn(
            f'{path}: the annotations of {listed(unused)} are left out, '
            f'since {key} lacks these classes.'
        )
    idle = [name for name in order if not counts[ids[name]]]
    if idle and source.split == 'train':
        source.warn(f'{path} has no box of: {listed(idle, 10)}.')
    return [ids[name] for name in order]


def _meant(name: str, names: dict[str, int]) -> str:
    """Which of ``names`` looks most like ``name``, as a hint."""
    lower = {other.lower(): other for other in reversed(names)}
    near = get_close_matches(name.lower(), lower, 1, 0.6)
    return f' (meant: {lower[near[0]]!r}?)' if near else ''


def _check_boxes(coco: dict, path: Path, source: Source, used: list[int]) -> None:
    """Report unusable boxes, and filters that leave no image."""
    sizes = {row['id']: (row['width'], row['height']) for row in coco['images']}
    rows = [row for row in coco['annotations'] if row['image_id'] in sizes]
    stray = len(coco['annotations']) - len(rows)
    if stray:
        source.warn(
            f'{path}: {stray} annotations belong to no image of the file '
            'and are left out.'
        )
    box = np.array([row['bbox'] for row in rows], np.float64).reshape(-1, 4)
    size = np.array([sizes[row['image_id']] for row in rows], np.float64).reshape(-1, 2)
    area = np.array([row['area'] for row in rows], np.float64)
    known = np.isin([row['category_id'] for row in rows], used)
    start, extent = box[:, :2], box[:, 2:]
    inside = np.minimum(start + extent, size) - np.maximum(start, 0)
    empty = (extent < 1).any(1) | (area <= 0)
    outside = ~empty & (inside <= 0).any(1)
    wrong = empty | outside
    hint = _guess_format(box, size) if rows else ''
    if wrong.any():
        ids = np.array([row['id'] for row in rows])
        small, far = (listed(ids[mask]) or 'none' for mask in (empty, outside))
        source.warn(
            f'{path}: {wrong.sum()} of {len(rows)} boxes are left out, as mmdet does: '
            f'{empty.sum()} of less than one pixel (annotation ids {small}), '
            f'{outside.sum()} outside their image (annotation ids {far}). '
            f'Correct or remove them.{hint}'
        )
    elif hint:
        source.warn(f'{path}:{hint}')
    usable = {rows[i]['image_id'] for i in np.flatnonzero(~wrong & known)}
    if source.split == 'train' and not rows:
        source.error(f'{path} has no boxes to train on.')
    elif source.split == 'train' and not usable:
        source.error(
            f'{path} has no usable box to train on: all {len(rows)} are '
            f'empty, outside their image or of other classes.{hint}'
        )
    rules = source.cfg.get('filter_cfg')
    if not rules or source.cfg.get('test_mode'):
        return
    # as mmdet filters: also by boxes that it drops later
    least = rules.get('min_size', 0)
    large = {i for i, sides in sizes.items() if min(sides) >= least}
    if rules.get('filter_empty_gt'):
        left = large & {rows[i]['image_id'] for i in np.flatnonzero(known)}
    else:
        left = large
    if not left:
        source.error(
            f'{path}: {source.key}.filter_cfg leaves none of the {len(sizes)} '
            f'images ({len(large)} are at least min_size={least} pixels, {len(usable)} '
            'have a usable box). Lower min_size, or set filter_empty_gt=False.'
        )


def _guess_format(box: np.ndarray, size: np.ndarray) -> str:
    """Recognize boxes (N, 4) in another format, in images of ``size`` (N, 2)."""
    if box.max() <= 1:
        return (
            ' All numbers are at most 1: these look like relative boxes; '
            'COCO wants pixels.'
        )
    too_far = (box[:, :2] + box[:, 2:] > size + 1).any(1).mean()
    ordered = (box[:, 2:] >= box[:, :2]).all(1).mean()
    if too_far > 0.3 and ordered > 0.95:
        return (
            f' {too_far:.0%} of the boxes reach beyond their image: these '
            'look like [x1, y1, x2, y2]; COCO wants [x, y, width, height].'
        )
    return ''


def _check_files(coco: dict, source: Source) -> None:
    """Report missing and broken image files."""
    folder = source.folder('img') or Path(source.root)
    setting = f'{source.key}.data_prefix.img'
    source.require_folder(folder, setting)
    names = [row['file_name'] for row in coco['images']]
    # one listing of a folder is faster than a look at every file
    found = {
        sub: set(os.listdir(folder / sub)) if (folder / sub).is_dir() else set()
        for sub in {os.path.dirname(name) for name in names}
    }
    missing = dict.fromkeys(
        n for n in names if os.path.basename(n) not in found[os.path.dirname(n)]
    )
    if missing:
        source.error(
            f'{len(missing)} of the {len(names)} images of '
            f'{source.annotations} are not in {folder}: {listed(missing, 3)}. '
            f'Correct {setting}, or fetch the images. {source.help}'
        )
    source.check_images([folder / name for name in names if name not in missing])
