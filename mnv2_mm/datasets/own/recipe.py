"""From the size of a data set to the values of its training config.

The numbers are those of trainings that were measured (docs/results.md, fine-tuning):
1020 steps of 4 of 205 images, 10 epochs of 735 photos in batches of 32, 1000 steps of
16 of 240 masks. From there they are scaled to the number of images.
"""

import math
from collections import Counter

import numpy as np

from mnv2_mm.datasets.own.records import Record

#: Training images of which a run sees at least this many, copies included, by task.
SEEN = {'det': 6000, 'seg': 16000, 'cls': 8000}
EPOCHS = (12, 100)  # least and most
BATCH = {'det': 8, 'seg': 16, 'cls': 32}
#: Boxes: the batch of a smaller set, which needs the steps.
SMALL_BATCH, SMALL_BATCH_BELOW = 4, 400
#: Below this number of images the crops are milder: they repeat often anyway.
SMALL_SET = 1000
INPUT_SIZES = (300, 384, 512)
#: Pixels that small objects need at the input, a cell of the lowest level.
MIN_PIXELS = 16
EVALUATIONS = 20


def schedule(
    task: str, records: list[Record], *, trained: bool, epochs: int | None = None
) -> dict[str, object]:
    """Values of a schedule for the training images among the records.

    Without ``epochs``, random weights get twice as many as trained ones (``trained``).
    """
    count = sum(record.split == 'train' for record in records)
    batch = BATCH[task]
    if task == 'det' and count < SMALL_BATCH_BELOW:
        batch = SMALL_BATCH
    batch = min(batch, max(1, count // 4))
    per_epoch = max(1, count // batch)
    seen = SEEN[task] * (1 if trained else 2)
    epochs = epochs or min(max(math.ceil(seen / count), EPOCHS[0]), EPOCHS[1])
    return {
        'batch_size': batch,
        'patience': EVALUATIONS // 2,
        'num_workers': 0 if count < 32 else 2,
        **of_length(epochs, per_epoch),
    }


def of_length(epochs: int, per_epoch: int) -> dict[str, object]:
    """Values that follow the length of a training, given its steps an epoch."""
    steps = epochs * per_epoch
    return {
        'max_epochs': epochs,
        'val_interval': max(1, round(epochs / EVALUATIONS)),
        # a twentieth of the run; with 1 LinearLR stays at its start for ever
        'warmup': max(2, min(steps // 20, 500)),
        # statistics of about the last thirtieth, so that they follow the weights
        'bn_momentum': _rounded(min(max(30 / steps, 0.003), 0.1)),
        'ema_decay': _rounded(1 - min(max(20 / steps, 0.0002), 0.1)),
    }


def object_sizes(records: list[Record]) -> dict[str, np.ndarray]:
    """Square root of the area of each class's boxes, relative to their images."""
    sizes: dict[str, list[float]] = {}
    for record in records:
        if record.boxes is None:
            continue
        extent = (record.boxes[:, 2:] - record.boxes[:, :2]) / record.size
        for label, side in zip(record.labels, np.sqrt(extent.prod(1)), strict=True):
            sizes.setdefault(label, []).append(float(side))
    return {label: np.array(sides) for label, sides in sizes.items()}


def detection_input(records: list[Record]) -> int:
    """Smallest input (square) at which small objects still fill a cell."""
    sizes = object_sizes(records)
    if not sizes:
        return INPUT_SIZES[0]
    # a rare class of small objects counts as much as a tenth of all
    small = min(
        np.percentile(np.concatenate(list(sizes.values())), 10),
        *(np.median(sides) for sides in sizes.values()),
    )
    return next((s for s in INPUT_SIZES if s * small >= MIN_PIXELS), INPUT_SIZES[-1])


def segmentation_crop(records: list[Record]) -> int:
    """Side of the crop, 16 n + 1: as large as most images, at most 321."""
    side = np.median([min(record.size) for record in records])
    return int(min(max(side // 16, 8), 20)) * 16 + 1


def classification_input(records: list[Record]) -> int:
    """128, 160, 192 or 224, as large as most images."""
    side = np.median([min(record.size) for record in records])
    return max([s for s in (128, 160, 192, 224) if s <= side], default=128)


def class_counts(records: list[Record], split: str) -> Counter:
    """Labels by class of one split."""
    return Counter(x for r in records if r.split == split for x in r.labels)


def _rounded(value: float) -> float:
    return float(f'{value:.2g}') if value < 0.5 else round(value, 5)
