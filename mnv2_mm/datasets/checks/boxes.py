"""Checks of the boxes in COCO annotations, before a run.

mmdet's CocoDataset leaves out, without a word, boxes thinner than a pixel,
of no area or outside their image. The same rules are applied here and
counted, and two usual mistakes of the format are recognized.
"""

from pathlib import Path

import numpy as np

from mnv2_mm.datasets.checks.source import Findings, Source, listed


def check_boxes(
    coco: dict,
    path: Path,
    source: Source,
    findings: Findings,
    *,
    used: list[int],
) -> set[int]:
    """Report unusable boxes; the ids of the images with a usable one."""
    sizes = {row['id']: (row['width'], row['height']) for row in coco['images']}
    rows = [row for row in coco['annotations'] if row['image_id'] in sizes]
    stray = len(coco['annotations']) - len(rows)
    if stray:
        findings.warn(
            f'{path}: {stray} annotations belong to no image of the file '
            'and are left out.'
        )
    if not rows:
        if source.split == 'train':
            findings.error(f'{path} has no boxes to train on.')
        return set()
    box = np.array([row['bbox'] for row in rows], np.float64)
    size = np.array([sizes[row['image_id']] for row in rows], np.float64)
    area = np.array([row['area'] for row in rows], np.float64)
    start, extent = box[:, :2], box[:, 2:]
    inside = np.minimum(start + extent, size) - np.maximum(start, 0)
    empty = (extent < 1).any(1) | (area <= 0)
    outside = ~empty & (inside <= 0).any(1)
    wrong = empty | outside
    hint = _guess_format(box, size)
    if wrong.any():
        kinds = [
            f'{mask.sum()} {kind} (annotation ids '
            f'{listed(rows[i]["id"] for i in np.flatnonzero(mask))})'
            for mask, kind in (
                (empty, 'of less than one pixel'),
                (outside, 'outside their image'),
            )
            if mask.any()
        ]
        findings.warn(
            f'{path}: {wrong.sum()} of {len(rows)} boxes are left out, as '
            f'mmdet does: {", ".join(kinds)}. Correct or remove them.{hint}'
        )
    elif hint:
        findings.warn(f'{path}:{hint}')
    category = np.array([row['category_id'] for row in rows])
    good = ~wrong & np.isin(category, used)
    if source.split == 'train' and not good.any():
        findings.error(
            f'{path} has no usable box to train on: all {len(rows)} are '
            f'empty, outside their image or of other classes.{hint}'
        )
    return {rows[i]['image_id'] for i in np.flatnonzero(good)}


def _guess_format(box: np.ndarray, size: np.ndarray) -> str:
    """What boxes (N, 4) in images of ``size`` (N, 2) may really be."""
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


def check_filter(
    coco: dict,
    path: Path,
    source: Source,
    findings: Findings,
    *,
    used: list[int],
    usable: set[int],
) -> None:
    """Report when filter_cfg leaves no image, as mmdet applies it."""
    rules = source.cfg.get('filter_cfg')
    if not rules or source.cfg.get('test_mode'):
        return
    least = rules.get('min_size', 0)
    large = [r for r in coco['images'] if min(r['width'], r['height']) >= least]
    wanted = set(used)
    annotated = {
        row['image_id'] for row in coco['annotations'] if row['category_id'] in wanted
    }
    left = [
        row
        for row in large
        if not rules.get('filter_empty_gt') or row['id'] in annotated
    ]
    if not left:
        findings.error(
            f'{path}: {source.key}.filter_cfg leaves none of the '
            f'{len(coco["images"])} images ({len(large)} are at least '
            f'min_size={least} pixels, {len(usable)} have a usable box). '
            'Lower min_size, or set filter_empty_gt=False.'
        )
