"""Draw a data set on one page: examples, labels by class, sizes of the objects.

mmdet's browse_dataset draws single images; its analysis tools read no data set twice.
"""

from pathlib import Path

import numpy as np

from mnv2_mm.datasets.own.formats import Files
from mnv2_mm.datasets.own.recipe import class_counts, object_sizes
from mnv2_mm.datasets.own.records import SPLITS, Problems, Record
from mnv2_mm.datasets.own.writer import mask_of, read_image
from mnv2_mm.runtime.drawing import draw
from mnv2_mm.utils.files import save_figure

EXAMPLES = 4
MAX_CLASSES = 20  # that the bars show, the most frequent ones


def draw_summary(
    path: Path, records: list[Record], classes: list[str], files: Files, side: int
) -> None:
    """Write the page.

    Args:
        path: A PNG file.
        records: The images with their splits.
        classes: Names in order.
        files: Where the images are.
        side: Of the network's input in pixels, for the sizes of the objects.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7), layout='constrained')
    upper, lower = figure.subfigures(2, 1, height_ratios=(1, 1.1))
    for axes, record in zip(
        upper.subplots(1, EXAMPLES), _examples(records), strict=False
    ):
        axes.imshow(_drawn(record, classes, files)[..., ::-1])
    for axes in upper.axes:
        axes.axis('off')
    sizes = object_sizes(records)
    axes = lower.subplots(1, 2 if sizes else 1, squeeze=False)[0]
    _bars(axes[0], records, classes)
    if sizes:
        _sizes(axes[1], {name: sizes[name] for name in classes if name in sizes}, side)
    save_figure(figure, path, dpi=90)


def _examples(records: list[Record]) -> list[Record]:
    """Training images with the most classes, spread over the set."""
    chosen = [r for r in records if r.split == 'train' and r.labels] or records
    parts = np.array_split(np.arange(len(chosen)), min(EXAMPLES, len(chosen)))
    return [
        chosen[max(part, key=lambda i: len(set(chosen[i].labels)))] for part in parts
    ]


def _drawn(record: Record, classes: list[str], files: Files) -> np.ndarray:
    image = read_image(files, record)
    found: dict[str, np.ndarray] = {}
    if record.boxes is not None:
        found['boxes'] = record.boxes
        found['labels'] = np.array([classes.index(x) for x in record.labels], int)
    elif record.mask or record.shapes:
        found['mask'] = mask_of(record, classes, files, Problems())
    else:
        found['labels'] = np.array([classes.index(x) for x in record.labels], int)
    return draw(image, found, {'classes': classes})


def _bars(axes: object, records: list[Record], classes: list[str]) -> None:
    counts = {split: class_counts(records, split) for split in SPLITS}
    shown = sorted(classes, key=lambda c: -sum(n[c] for n in counts.values()))
    shown = shown[:MAX_CLASSES][::-1]
    left = np.zeros(len(shown))
    for split, found in counts.items():
        images = sum(record.split == split for record in records)
        width = np.array([found[name] for name in shown], float)
        if images:
            axes.barh(shown, width, left=left, label=f'{split}, {images} images')
        left += width
    axes.set_title(f'labels by class ({len(classes)} classes)')
    axes.legend()


def _sizes(axes: object, sizes: dict[str, np.ndarray], side: int) -> None:
    axes.hist(
        [s * side for s in sizes.values()], bins=30, stacked=True, label=list(sizes)
    )
    axes.axvline(16, color='black', linestyle=':')
    axes.set_title(f'side of the objects in pixels at an input of {side}')
    axes.set_xlabel('dotted: a cell of the lowest level')
    if len(sizes) <= MAX_CLASSES // 2:
        axes.legend()
