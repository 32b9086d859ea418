"""Check a segmentation set before a run.

mmseg pairs an image with its mask by name and checks neither: a missing mask
ends in the traceback of a data-loader worker, wrong labels in a crash of the
loss or in an IoU of 0.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from mnv2_mm.datasets.checks.source import Source, evenly, listed, suffixes, walk
from mnv2_mm.datasets.transforms.loading import mask_problem

#: Masks that are read at most, evenly picked.
MASKS_READ = 50


def check_segmentation(source: Source) -> None:
    """Check folders, pairs of image and mask, and labels."""
    image_folder, mask_folder = map(source.folder, ('img_path', 'seg_map_path'))
    source.require_folder(image_folder, f'{source.key}.data_prefix.img_path')
    if mask_folder is None and source.split == 'test':
        return  # images to predict
    source.require_folder(mask_folder, f'{source.key}.data_prefix.seg_map_path')
    suffix = str(source.option('img_suffix', '.jpg'))
    mask_suffix = str(source.option('seg_map_suffix', '.png'))
    stems = _stems(image_folder, suffix, source)
    images = [image_folder / f'{stem}{suffix}' for stem in stems]
    masks = [mask_folder / f'{stem}{mask_suffix}' for stem in stems]
    usable = source.check_images(images, 'img_suffix')
    if source.check_images(masks, 'seg_map_suffix', 'masks') and usable:
        _check_labels(images, masks, source)


def _stems(folder: Path, suffix: str, source: Source) -> list[str]:
    """The images' paths below ``folder`` without suffix."""
    listing = source.annotations
    if listing is not None:  # mmseg takes an empty line for a name, too
        return [line.strip() for line in source.read_text(listing).splitlines()]
    stems = [n.removesuffix(suffix) for n in walk(folder) if n.endswith(suffix)]
    if not stems:
        source.stop(
            f'{folder} has no images *{suffix}; it has {suffixes(folder)}. Correct '
            f'data_prefix or img_suffix of {source.key}. {source.help}'
        )
    return stems


def _check_labels(images: list[Path], masks: list[Path], source: Source) -> None:
    """Read some masks: size, labels, and whether there is more than one."""
    classes = source.classes
    if classes is None:
        source.stop(f'{source.key} has no classes: set metainfo=dict(classes=(...)).')
    # with a selection of the classes, labels are numbered as in all of them
    every = getattr(source.cls, 'METAINFO', {}).get('classes') or classes
    count = len(every if set(classes) <= set(every) else classes)
    reduce = bool(source.option('reduce_zero_label', False))
    ignore = int(source.option('ignore_index', 255))
    seen: set[int] = set()
    for image, path in evenly(list(zip(images, masks, strict=True)), MASKS_READ):
        try:
            with Image.open(path) as file:
                mask = np.asarray(file)
        except (OSError, Image.DecompressionBombError) as error:
            source.stop(f'The mask {path} is unreadable: {error}.')
        if mask.dtype.kind == 'f' or mask.min() < 0:
            source.stop(
                f'The mask {path} has fractions or negative numbers. '
                'Save it with one label a pixel (PNG mode L or P).'
            )
        mask = mask.astype(np.uint8) if mask.dtype == bool else mask
        seen |= set(np.unique(mask).tolist())
        if reduce and mask.ndim == 2:
            mask = np.where(mask == 0, 255, mask - 1)
        size = source.loaded_size(image)
        rules = dict(ignore_index=ignore, image_shape=size and size[::-1])
        problem = mask_problem(mask, count, **rules)
        if problem:
            source.stop(f'The mask {path} {problem}')
    read = min(len(masks), MASKS_READ)
    hold = f'{read} of the {len(masks)} masks in {masks[0].parent} hold'
    if seen <= {0, 255} and 255 in seen and ignore == 255:
        source.error(
            f'{hold} only the values {listed(sorted(seen))}, and 255 is ignored, so '
            'nothing would be learned. For two classes write the object as 1: '
            'mask[mask == 255] = 1.'
        )
    elif len(seen - {ignore}) < 2:
        source.warn(f'{hold} one label only: {listed(sorted(seen))}.')
