"""Checks of a detection set in COCO form, before a run.

mmdet's CocoDataset leaves out, without a word, every annotation when the
class names do not match. It numbers the classes in the order of the
annotation file, whatever the order in the config, so that a different order
there swaps the names on images. All of this is said here.
"""

import gc
import json
import os
from collections import Counter, defaultdict
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from mnv2_mm.datasets.checks.boxes import check_boxes, check_filter
from mnv2_mm.datasets.checks.source import (
    Findings,
    Source,
    file_exists,
    files_whole,
    folder_exists,
    listed,
)

_NEEDED = {
    'images': ('id', 'file_name', 'width', 'height'),
    'annotations': ('id', 'image_id', 'category_id', 'bbox', 'area'),
    'categories': ('id', 'name'),
}
_REMEDIES = {
    'area': ' For boxes it is width * height.',
    'bbox': ' It is [x, y, width, height] in pixels.',
}


def check_coco(source: Source, findings: Findings) -> None:
    """Check one data set; what is wrong goes into ``findings``."""
    path = source.annotations
    if path is None:
        findings.error(f'{source.key}.ann_file is not set.')
        return
    if not file_exists(path, f'{source.key}.ann_file', source, findings):
        return
    with _no_garbage_collection():
        coco = _load(path, findings)
        if coco is None or not _is_complete(coco, path, source, findings):
            return
        used = _check_classes(coco, path, source, findings)
        if used is None:
            return
        usable = check_boxes(coco, path, source, findings, used=used)
        check_filter(coco, path, source, findings, used=used, usable=usable)
        _check_images(coco, source, findings)


def _load(path: Path, findings: Findings) -> dict | None:
    """The content of the annotation file, or None after an error."""
    try:
        with path.open('rb') as file:
            content = json.load(file)
    except (ValueError, RecursionError) as error:
        findings.error(
            f'The annotation file {path} is not JSON ({error}). It may be '
            'cut off, or of another format: write it again, as COCO JSON.'
        )
        return None
    if isinstance(content, dict):
        return content
    findings.error(
        f'The annotation file {path} is JSON but not COCO: it holds a '
        f'{type(content).__name__} instead of an object with the keys '
        f'{listed(_NEEDED)}.'
    )
    return None


def _is_complete(coco: dict, path: Path, source: Source, findings: Findings) -> bool:
    """Whether the keys are there that mmdet reads."""
    before = len(findings.errors)
    if source.split == 'test':  # a test set may come without
        coco.setdefault('annotations', [])
    for table, keys in _NEEDED.items():
        rows = coco.get(table)
        if not isinstance(rows, list):
            findings.error(
                f'The annotation file {path} is not COCO: the list {table!r} '
                f'is missing. It has the keys {listed(coco, 8) or "none"}.'
            )
            continue
        for key in keys:
            lacking = sum(1 for row in rows if key not in row)
            if lacking:
                findings.error(
                    f'{path}: {lacking} of {len(rows)} entries in {table!r} '
                    f'lack the key {key!r}.{_REMEDIES.get(key, "")}'
                )
    if len(findings.errors) > before:
        return False
    for table in _NEEDED:
        ids = Counter(row['id'] for row in coco[table])
        repeated = [key for key, count in ids.items() if count > 1]
        if repeated:
            findings.error(
                f'{path}: ids in {table!r} are not unique: '
                f'{listed(repeated)}. Number the entries anew.'
            )
    if not coco['images']:
        findings.error(f'{path}: the list of images is empty.')
    bad = _bad_boxes(coco['annotations'])
    if bad:
        findings.error(
            f'{path}: {len(bad)} annotations have a bbox that is not four '
            f'numbers [x, y, width, height] (ids {listed(bad)}).'
        )
    return len(findings.errors) == before


def _bad_boxes(rows: list[dict]) -> list[int]:
    """The ids of annotations whose bbox is not four numbers."""

    def shape(boxes: list) -> tuple[int, ...]:
        try:
            return np.array(boxes, np.float64).shape
        except (TypeError, ValueError):
            return ()

    # all at once; one by one only to find the culprits
    if not rows or shape([row['bbox'] for row in rows]) == (len(rows), 4):
        return []
    return [row['id'] for row in rows if shape(row['bbox']) != (4,)]


def _check_classes(
    coco: dict, path: Path, source: Source, findings: Findings
) -> list[int] | None:
    """The category ids that the config's classes use, in file order."""
    names = [row['name'] for row in coco['categories']]
    classes = source.classes or ()
    key = f'{source.key}.metainfo.classes'
    lacking = [name for name in classes if name not in names]
    if lacking:
        hints = []
        for name in lacking[:5]:
            near = _nearest(name, names)
            hints.append(f'{name!r}' + (f' (meant: {near!r}?)' if near else ''))
        default = (
            '' if source.own_classes else
            ' The config gives no classes, so those of COCO were taken: set '
            'metainfo=dict(classes=(...)).'
        )  # fmt: skip
        findings.error(
            f'{path} lacks {len(lacking)} of the {len(classes)} classes of '
            f'{key}: {listed(hints)}. It has '
            f'{listed(map(repr, names), 10) or "none"}; write the names as '
            f'they are there.{default}'
        )
        return None
    order = [name for name in names if name in classes]
    if order != list(classes):
        findings.error(
            f'{key} and {path} order the classes differently, and mmdet '
            'numbers them as the file does, so the names on images would '
            f'be swapped. Write classes=({listed(map(repr, order), 100)}).'
        )
        return None
    used = [row['id'] for row in coco['categories'] if row['name'] in classes]
    counts = Counter(row['category_id'] for row in coco['annotations'])
    unused = [
        f'{row["name"]} ({counts[row["id"]]})'
        for row in coco['categories']
        if row['id'] not in used and counts[row['id']]
    ]
    if unused:
        findings.warn(
            f'{path}: the annotations of {listed(unused)} are left out, '
            f'since {key} lacks these classes.'
        )
    if source.split == 'train':
        idle = [n for n, i in zip(order, used, strict=True) if not counts[i]]
        if idle:
            findings.warn(f'{path} has no box of: {listed(idle, 10)}.')
    return used


def _nearest(name: str, names: list[str]) -> str | None:
    """The one of ``names`` that looks most like ``name``, if any does."""
    lower = {other.lower(): other for other in reversed(names)}
    near = get_close_matches(name.lower(), lower, 1, 0.6)
    return lower[near[0]] if near else None


def _check_images(coco: dict, source: Source, findings: Findings) -> None:
    """Report missing and broken image files."""
    folder = source.folder('img')
    folder = Path(source.root) if folder is None else folder
    setting = f'{source.key}.data_prefix.img'
    if not folder_exists(folder, setting, source, findings):
        return
    by_folder = defaultdict(list)
    for row in coco['images']:
        by_folder[os.path.dirname(row['file_name'])].append(row['file_name'])
    present, missing = [], []
    for sub, names in by_folder.items():
        try:  # one listing instead of a look at every file
            found = set(os.listdir(folder / sub))
        except OSError:
            found = set()
        for name in names:
            known = os.path.basename(name) in found
            (present if known else missing).append(name)
    if missing:
        findings.error(
            f'{len(missing)} of the {len(coco["images"])} images of '
            f'{source.annotations} are not in {folder}: {listed(missing, 3)}. '
            f'Correct {setting}, or fetch the images. {source.help}'.rstrip()
        )
    files_whole([folder / n for n in present], 'images', source, findings)


@contextmanager
def _no_garbage_collection():
    """COCO's annotations are millions of objects, none of them garbage."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
