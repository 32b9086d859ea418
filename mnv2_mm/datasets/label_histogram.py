"""Count ground-truth labels and warn of unusual ones.

Labels are counted as training sees them: after the hosts' filters, after
mmseg's ``reduce_zero_label`` and its renumbering of selected classes.
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from mmengine.dataset import BaseDataset

from mnv2_mm.datasets.checks.source import evenly, listed

#: Segmentation masks that are read at most, evenly picked.
MASKS_READ = 300


@dataclass
class LabelHistogram:
    """Counts by label number."""

    classes: tuple[str, ...]
    unit: str  #: what is counted: 'boxes', 'pixels' or 'images'
    counts: Counter = field(default_factory=Counter)
    images: Counter = field(default_factory=Counter)
    counted: int = 0  #: images that were counted
    total: int = 0  #: images of the data set
    ignore_index: int | None = None  #: label that training ignores

    def name_of(self, label: int) -> str:
        """Class name of a label, or what is wrong with it."""
        if label == self.ignore_index:
            return f'({label} = ignored)'
        if 0 <= label < len(self.classes):
            return self.classes[label]
        return f'({label} = NO CLASS)'

    def rows(self) -> list[tuple[str, int, float, int]]:
        """(class, count, share of all counts, images) by label.

        Classes without a label have a row too.
        """
        total = max(1, self.counts.total())
        return [
            (self.name_of(i), self.counts[i], self.counts[i] / total, self.images[i])
            for i in sorted({*range(len(self.classes)), *self.counts})
        ]

    def warnings(self) -> list[str]:
        """What a user should check before training."""
        found, messages = set(self.counts), []
        known = set(range(len(self.classes)))
        if self.unit == 'pixels' and found <= {0, 255} and 255 in found:
            meaning = 'ignored' if self.ignore_index == 255 else 'no class'
            return [
                f'the masks hold only 0 and 255, and 255 is {meaning}: nothing will be '
                'learned. For two classes write the object as 1: mask[mask == 255] = 1.'
            ]
        strange = sorted(found - known - {self.ignore_index})
        if strange:
            messages.append(
                f'the labels {listed(strange)} belong to no class; 0 to '
                f'{len(self.classes) - 1} are allowed. Map them to this '
                'range, or add the missing classes.'
            )
        absent = [self.classes[i] for i in sorted(known - found)]
        if absent:
            messages.append(f'no {self.unit} of: {listed(absent, 20)}.')
        elif len(found & known) == 1 < len(known):
            messages.append('there is only one label.')
        return messages

    def __str__(self) -> str:
        """A table with one line per class."""
        rows = self.rows()
        width = max([5, *(len(name) for name, *_ in rows)])
        lines = [
            f'{"class":{width}}  {self.unit:>12}  share     images  '
            f'(of {self.counted} counted, {self.total} in all)'
        ]
        for name, count, share, images in rows:
            bar = '#' * round(share * 30)
            lines.append(
                f'{name:{width}}  {count:12}  {share:6.1%}  {images:10}  {bar}'.rstrip()
            )
        return '\n'.join(lines)


def count_labels(dataset: BaseDataset, host: str) -> LabelHistogram:
    """Count the labels of a data set of mmdet, mmseg or mmpretrain, the host."""
    classes = tuple(map(str, dataset.metainfo.get('classes') or ()))
    unit = {'mmdet': 'boxes', 'mmseg': 'pixels'}.get(host, 'images')
    histogram = LabelHistogram(classes, unit, total=len(dataset))
    indices = range(len(dataset))
    if host == 'mmseg':
        from mmseg.registry import TRANSFORMS

        indices = evenly(indices, MASKS_READ)
        # mmseg's own loader reads the masks as in training
        load_mask = TRANSFORMS.build({'type': 'mmseg.LoadAnnotations'})
        inner = dataset  # inside wrappers, the first of several
        while hasattr(inner, 'dataset') or hasattr(inner, 'datasets'):
            inner = inner.dataset if hasattr(inner, 'dataset') else inner.datasets[0]
        histogram.ignore_index = getattr(inner, 'ignore_index', 255)
    for index in indices:
        info = dataset.get_data_info(index)
        if host == 'mmdet':
            boxes = (o for o in info['instances'] if not o.get('ignore_flag'))
            counts = Counter(box['bbox_label'] for box in boxes)
        elif host == 'mmseg':
            found = np.unique(load_mask(info)['gt_seg_map'], return_counts=True)
            counts = dict(np.stack(found, 1).tolist())
        else:
            counts = Counter(np.atleast_1d(info['gt_label']).tolist())
        histogram.counts.update(counts)
        histogram.images.update(counts.keys())
    histogram.counted = len(indices)
    return histogram
