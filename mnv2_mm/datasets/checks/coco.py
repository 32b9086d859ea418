"""Check a detection set in COCO format before a run.

mmdet's CocoDataset drops annotations without a message: all of them when the
class names do not match, and boxes thinner than a pixel, without area or
outside their image. It numbers the classes in the order of the annotation
file, not of the config, so a different order in the config swaps the names.
"""

import gc
import os
from collections import Counter
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from mnv2_mm.datasets.checks.coco_schema import parse_coco
from mnv2_mm.datasets.checks.source import Source, listed


def check_coco(source: Source) -> None:
    """Check one data set; what is wrong is recorded in ``source``."""
    path = source.annotations
    if path is None:
        source.stop(f'{source.key}.ann_file is not set.')
    for name in filter(None, (e.get('ann_file') for e in source.evaluators)):
        if '://' not in name and Path(name).resolve() != path.resolve():
            source.error(
                f'{source.split}_evaluator.ann_file is {name}, but {source.key} reads '
                f'{path}. Both must be the same file.'
            )
    # COCO's annotations are millions of objects, none of them garbage
    collects = gc.isenabled()
    gc.disable()
    try:
        coco = parse_coco(source.read_text(path), source)
        used = _check_classes(coco, path, source)
        _check_boxes(coco, path, source, used)
        _check_files(coco, source)
    finally:
        if collects:
            gc.enable()


def _check_classes(coco: dict, path: Path, source: Source) -> set[int | str]:
    """Return the category ids that the config's classes use."""
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
    order = [name for name in ids if name in classes]
    if order != list(classes):
        source.stop(
            f'{key} and {path} order the classes differently, and mmdet '
            'numbers them as the file does, so the names on images would '
            f'be swapped. Write classes=({listed(map(repr, order), 100)}).'
        )
    counts = Counter(row['category_id'] for row in coco['annotations'])
    names = {i: name for name, i in ids.items()}
    left = [
        f'{names.get(i, f"the unknown category_id {i}")} ({count})'
        for i, count in counts.items()
        if names.get(i) not in classes
    ]
    if left:
        source.warn(
            f'{path}: the annotations of {listed(left)} are left out, since {key} '
            "or the file's categories lack them."
        )
    idle = [name for name in order if not counts[ids[name]]]
    if idle and source.split == 'train':
        source.warn(f'{path} has no box of: {listed(idle, 10)}.')
    return {ids[name] for name in order}


def _meant(name: str, names: dict[str, int | str]) -> str:
    """Which of ``names`` looks most like ``name``, as a hint."""
    lower = {other.lower(): other for other in reversed(names)}
    near = get_close_matches(name.lower(), lower, 1, 0.6)
    return f' (meant: {lower[near[0]]!r}?)' if near else ''


def _check_boxes(coco: dict, path: Path, source: Source, used: set[int | str]) -> None:
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
    known = np.array([row['category_id'] in used for row in rows], bool)
    start, extent = box[:, :2], box[:, 2:]
    inside = np.minimum(start + extent, size) - np.maximum(start, 0)
    empty = (extent < 1).any(1) | (area <= 0)
    outside = ~empty & (inside <= 0).any(1)
    wrong = empty | outside
    hint = _guess_format(box, size) if rows else ''
    if wrong.any():
        small, far = (
            listed(rows[i]['id'] for i in np.flatnonzero(mask)) or 'none'
            for mask in (empty, outside)
        )
        source.warn(
            f'{path}: {wrong.sum()} of {len(rows)} boxes are left out, as mmdet does: '
            f'{empty.sum()} of less than one pixel (annotation ids {small}), '
            f'{outside.sum()} outside their image (annotation ids {far}). '
            f'Correct or remove them.{hint}'
        )
    elif hint:
        source.warn(f'{path}:{hint}')
    usable = {rows[i]['image_id'] for i in np.flatnonzero(~wrong & known)}
    if source.split == 'train' and not usable:
        source.error(
            f'{path} has no usable box to train on: of its {len(rows)} boxes, all are '
            f'empty, outside their image or of other classes.{hint}'
        )
    rules = source.cfg.get('filter_cfg')
    if not rules or source.cfg.get('test_mode'):
        return
    # as mmdet filters: also by boxes that it drops later
    least = rules.get('min_size', 0)
    large = {i for i, sides in sizes.items() if min(sides) >= least}
    left = large
    if rules.get('filter_empty_gt'):
        left = large & {rows[i]['image_id'] for i in np.flatnonzero(known)}
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
    """Report missing and broken image files, and images of another size."""
    folder = source.folder('img') or Path(source.root)
    source.require_folder(folder, f'{source.key}.data_prefix.img')
    rows = {row['file_name']: row for row in coco['images']}
    outside = [n for n in rows if os.path.isabs(n) or '..' in Path(n).parts]
    if outside:
        source.warn(
            f'{source.annotations}: {len(outside)} images have a file_name that leads '
            f'out of {folder}: {listed(outside, 3)}. Write paths below it.'
        )
    sizes = {folder / n: (r['width'], r['height']) for n, r in rows.items()}
    if source.check_images([*sizes], 'data_prefix.img') and coco['annotations']:
        source.check_sizes([*sizes.items()])
