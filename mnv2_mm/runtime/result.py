"""What a network found in one image: arrays, a drawing, JSON.

The hosts' data samples need torch, and differ between the three hosts.
"""

import functools
import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.files import user_path, write_image

_TOP = 5  # classes of a classification that are reported


@dataclass(eq=False, repr=False)
class Result:
    """The prediction for one image.

    Boxes below ``threshold`` are left out; the best come first.

    Attributes:
        image: (H, W, 3) uint8, BGR.
        found: ``boxes`` (n, 4), ``scores`` (n,) and ``labels`` (n,); or ``mask``
            (H, W); or ``probabilities`` (C,).
        info: ``classes`` (names) and ``palette`` (RGB).
        source: Path or address of the image; 'image' for an array.
        name: The source's name without folder and ending, unique within one predict.
        frame, rate, frames: Of a video: number of this frame from 0, frames per
            second, and how many there are; None for an image.
        folders: Folders of the images; what is saved there is named ``_drawn``, so that
            it replaces none of them.
        make_sample: Gives :attr:`sample`.
    """

    image: np.ndarray
    found: dict[str, np.ndarray]
    _: KW_ONLY
    info: Mapping[str, Sequence]
    threshold: float = 0.3
    source: str = 'image'
    name: str = 'image'
    frame: int | None = None
    rate: float | None = None
    frames: int | None = None
    folders: Collection[Path] = ()
    make_sample: Callable[[], Any] | None = None

    def __post_init__(self) -> None:
        if 'boxes' in self.found:
            scores = self.found['scores']
            order = np.argsort(-scores, kind='stable')
            order = order[scores[order] >= self.threshold]
            self.found = {key: value[order] for key, value in self.found.items()}

    def __getstate__(self) -> dict:
        """Without the model that could still make :attr:`sample`."""
        return vars(self) | {'make_sample': None}

    @functools.cached_property
    def sample(self) -> Any:
        """The host's data sample, with all boxes; None from an exported model.

        It is made when it is asked for, which may run the network. A copy or a pickle
        of the result has none, unless it was made before.
        """
        return self.make_sample() if self.make_sample else None

    @property
    def boxes(self) -> np.ndarray | None:
        """(n, 4) as x1, y1, x2, y2 in pixels of the image; None of other tasks."""
        return self.found.get('boxes')

    @property
    def scores(self) -> np.ndarray | None:
        """(n,) scores of the boxes, 0 to 1, falling."""
        return self.found.get('scores')

    @property
    def labels(self) -> np.ndarray | None:
        """(n,) class indices of the boxes."""
        return self.found.get('labels')

    @property
    def masks(self) -> np.ndarray | None:
        """(H, W) class index of each pixel; None of other tasks."""
        return self.found.get('mask')

    @property
    def probs(self) -> np.ndarray | None:
        """(C,) probability of each class; None of other tasks."""
        return self.found.get('probabilities')

    def name_of(self, label: int) -> str:
        """Class name, or the number where there is none."""
        from mnv2_mm.runtime.drawing import class_name

        return class_name(self.info.get('classes') or (), label)

    def plot(self) -> np.ndarray:
        """Draw on a copy, (H', W', 3) uint8 BGR; a small image is enlarged."""
        from mnv2_mm.runtime.drawing import draw

        return draw(self.image, self.found, self.info, score_thr=self.threshold)

    def save(self, path: str | Path) -> Path:
        """Write :meth:`plot` to a file .jpg or .png, or into a folder by its name.

        Raises:
            InputError: another ending, or the file is the image itself.
            OSError: it cannot be written.
        """
        is_folder = os.fspath(path).endswith(('/', os.sep))
        path = user_path(path)
        if is_folder or not path.suffix or path.is_dir():
            frame = '' if self.frame is None else f'_{self.frame:06d}'
            path /= f'{self.stem_in(path)}{frame}.jpg'
        elif os.path.realpath(path) == os.path.realpath(self.source):
            raise InputError(f'{path} is the image itself; give another name')
        write_image(path, self.plot())
        return path

    def stem_in(self, folder: Path) -> str:
        """Name without ending for a file in a folder that replaces no image."""
        beside = folder.resolve() in self.folders
        return f'{self.name}_drawn' if beside else self.name

    def to_dict(self) -> dict:
        """The prediction as plain numbers.

        Returns:
            ``boxes`` with ``labels``, ``scores`` and ``classes``; or ``pixel_shares``
            (0 to 1) by class; or ``top5``.
        """
        if self.boxes is not None:
            labels = self.found['labels'].tolist()
            return {
                'boxes': self.boxes.astype(float).round(1).tolist(),
                'labels': labels,
                'scores': self.found['scores'].astype(float).round(4).tolist(),
                'classes': [self.name_of(label) for label in labels],
            }
        if self.masks is not None:
            labels, counts = np.unique(self.masks, return_counts=True)
            shares = (counts / self.masks.size).round(4).tolist()
            names = map(self.name_of, labels.tolist())
            return {'pixel_shares': dict(zip(names, shares, strict=True))}
        probs = self.found['probabilities']
        best = np.argsort(-probs, kind='stable')[:_TOP].tolist()
        scores = probs.astype(float).round(4).tolist()
        return {
            'top5': [
                {'class': self.name_of(i), 'label': i, 'score': scores[i]} for i in best
            ]
        }

    def to_json(self) -> str:
        """:meth:`to_dict` with source, frame and size (rows, columns), as JSON."""
        place = {'source': self.source, 'size': self.image.shape[:2]}
        if self.frame is not None:
            place['frame'] = self.frame
        return json.dumps(place | self.to_dict())

    def __str__(self) -> str:
        """One line for the console."""
        found = self.to_dict()
        if 'boxes' in found:
            pairs = zip(found['classes'], found['scores'], strict=True)
            texts = [f'{name} {score:.2f}' for name, score in pairs]
            shown = ', '.join(texts[:4] + ['...'] * (len(texts) > 4))
            count = f'{len(texts)} box' + ('' if len(texts) == 1 else 'es')
            return f'{count}: {shown}' if shown else count
        if 'top5' in found:
            return ', '.join(
                f'{e["class"]} {e["score"]:.2f}' for e in found['top5'][:3]
            )
        shares = sorted(found['pixel_shares'].items(), key=lambda item: -item[1])
        return ', '.join(f'{name} {share:.0%}' for name, share in shares[:5])

    __repr__ = __str__
