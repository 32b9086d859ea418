"""At which input sizes a config's network runs: its test pipeline's.

One pass at one size, or, with test-time augmentation (the column "MF" of
Table 7), one for every combination of scale and flip.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mmengine.config import Config

from mnv2_mm.analysis.network import Size, checked_size
from mnv2_mm.utils.config import config_name
from mnv2_mm.utils.errors import InputError

#: Steps that end with an image of a stated size, and the argument of it.
#: Two numbers are width and height in all of them.
_SIZED = {
    'Resize': 'scale',
    'CenterCrop': 'crop_size',
    'EfficientNetCenterCrop': 'crop_size',
}


class Pass(NamedTuple):
    """One pass of test-time augmentation."""

    height: int
    width: int
    flipped: bool

    @property
    def size(self) -> Size:
        """(height, width)."""
        return self.height, self.width


def input_size(cfg: Config) -> Size:
    """(height, width) that the test pipeline leads to.

    Where it keeps the aspect ratio, that is of an image as large as the
    size allows.

    Raises:
        InputError: the config has no test pipeline, or one that leaves the
            image's size as it is.
    """
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader')
    dataset = loader['dataset'] if loader else {}
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    size = _size_after(dataset.get('pipeline', ()), None)
    if size is None:
        raise InputError(
            f'config {config_name(cfg)} does not say its input size in a '
            'test pipeline; give it: --shape HEIGHT WIDTH'
        )
    return size


def tta_passes(cfg: Config) -> list[Pass]:
    """The passes of a config's ``tta_pipeline``, in its order.

    For the DeepLab configs: 257, 385, 513, 641, 769 and 897 squared, each
    plain and mirrored.

    Raises:
        InputError: the config has no ``tta_pipeline`` with a TestTimeAug.
    """
    steps = cfg.get('tta_pipeline') or ()
    kinds = [_kind(step) for step in steps]
    if 'TestTimeAug' not in kinds:
        raise InputError(
            f'config {config_name(cfg)} has no tta_pipeline with a '
            'TestTimeAug; leave out --tta, or inherit '
            '_base_/datasets/voc_seg.py, which has one'
        )
    index = kinds.index('TestTimeAug')
    before = _size_after(steps[:index], None)
    passes = []
    for view in itertools.product(*steps[index]['transforms']):
        size = _size_after(view, before or input_size(cfg))
        flipped = any(_kind(s) == 'RandomFlip' and s.get('prob') == 1.0 for s in view)
        passes.append(Pass(*size, flipped))
    return passes


def _kind(step: Mapping) -> str:
    """Type of a step, without its scope."""
    return str(step['type']).rpartition('.')[2]


def _size_after(steps: Sequence[Mapping], size: Size | None) -> Size | None:
    """(height, width) behind some steps of a pipeline."""
    for step in steps:
        kind = _kind(step)
        if kind not in _SIZED:
            continue
        stated = step.get(_SIZED[kind])
        if stated is not None:
            stated = stated if isinstance(stated, int) else stated[::-1]
            size = checked_size(stated)
        elif size is not None and step.get('scale_factor'):
            factor = step['scale_factor']
            size = tuple(int(side * factor + 0.5) for side in size)
    return size
