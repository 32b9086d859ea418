"""Checks of a segmentation set, before a run.

mmseg pairs an image with its mask by name and looks at neither: a missing
mask ends in the stack of a data-loader worker, wrong labels in a crash of the
loss or in an IoU of 0.
"""

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from mnv2_mm.datasets.checks.source import (
    Findings,
    Source,
    evenly,
    file_exists,
    files_whole,
    folder_exists,
    listed,
    suffixes,
    walk,
)
from mnv2_mm.datasets.transforms.loading import mask_problem

#: So many masks, evenly picked, are read.
MASKS_READ = 50


def check_segmentation(source: Source, findings: Findings) -> None:
    """Check folders, pairs of image and mask, and labels."""
    folders = {}
    for name in ('img_path', 'seg_map_path'):
        setting = f'{source.key}.data_prefix.{name}'
        folder = source.folder(name)
        if folder is None and name != 'img_path' and source.split == 'test':
            return  # images to predict
        if not folder_exists(folder, setting, source, findings):
            return
        folders[name] = folder
    img_suffix = str(source.option('img_suffix', '.jpg'))
    mask_suffix = str(source.option('seg_map_suffix', '.png'))
    stems = _stems(folders['img_path'], img_suffix, source, findings)
    if stems is None:
        return
    images = [folders['img_path'] / f'{stem}{img_suffix}' for stem in stems]
    masks = [folders['seg_map_path'] / f'{stem}{mask_suffix}' for stem in stems]
    for files, what in ((images, 'images'), (masks, 'masks')):
        lacking = [path for path in files if not path.is_file()]
        if lacking:
            present = suffixes(lacking[0].parent)
            findings.error(
                f'{len(lacking)} of the {len(files)} {source.split} {what} '
                f'are missing: {listed(lacking, 3)}. {lacking[0].parent} has '
                f'{present}; correct {_setting(what)} of {source.key}, or add '
                'the files.'
            )
            return
    files_whole(images, 'images', source, findings)
    before = len(findings.errors)
    files_whole(masks, 'masks', source, findings)
    if len(findings.errors) == before:
        _check_labels(images, masks, source, findings)


def _stems(
    folder: Path, suffix: str, source: Source, findings: Findings
) -> list[str] | None:
    """The images' paths below ``folder`` without suffix."""
    listing = source.annotations
    if listing is not None:
        if not file_exists(listing, f'{source.key}.ann_file', source, findings):
            return None
        lines = listing.read_text('utf-8').splitlines()
        return [line.strip() for line in lines if line.strip()]
    names = sorted(walk(folder))
    stems = [name[: -len(suffix)] for name in names if name.endswith(suffix)]
    if not stems:
        findings.error(
            f'{folder} has no images *{suffix}; it has '
            f'{suffixes(folder)}. Correct data_prefix or img_suffix of '
            f'{source.key}. {source.help}'.rstrip()
        )
        return None
    return stems


def _check_labels(
    images: list[Path], masks: list[Path], source: Source, findings: Findings
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
    pairs = list(zip(images, masks, strict=True))
    for image, path in evenly(pairs, MASKS_READ):
        try:
            with Image.open(path) as file:
                mask = np.asarray(file)
            with Image.open(image) as file:
                shape = file.size[::-1]
        except (OSError, UnidentifiedImageError) as error:
            findings.error(f'{path} or its image is unreadable: {error}.')
            return
        if mask.dtype == bool:
            mask = mask.astype(np.uint8)
        values = set(np.unique(mask).tolist())
        if reduce and mask.ndim == 2:
            mask = np.where(mask == 0, 255, mask - 1)
        problem = mask_problem(mask, count, ignore_index=ignore, image_shape=shape)
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


def _setting(what: str) -> str:
    return 'img_suffix' if what == 'images' else 'seg_map_suffix'
