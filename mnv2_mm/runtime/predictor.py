"""Predict for anything that has images; the same for checkpoints and exported models.

The hosts' inferencers take other arguments each, and need torch.
"""

import numbers
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mnv2_mm.runtime.result import Result
from mnv2_mm.runtime.sources import (
    Frame,
    Leaf,
    Source,
    find_sources,
    folders_of,
    frames_of,
)
from mnv2_mm.utils.errors import InputError

#: Bytes of a file name before numbers and endings.
_LONGEST = 200
MakeSample = Callable[[], Any] | None


class Predictor:
    """Base of what ``mnv2_mm.load`` returns.

    Attributes:
        info: ``classes`` (names) and ``palette`` (RGB).
    """

    info: Mapping[str, Any]

    def run(self, images: Sequence[np.ndarray]) -> list[tuple[dict, MakeSample]]:
        """Predict for images (H, W, 3) uint8 BGR: arrays, and the host's data sample.

        The sample is made by a call; None where there is no host.
        """
        raise NotImplementedError

    def export_to_cache(self) -> None:
        """Cache an export for the next program, where that is possible."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(map(str, self.info.get('classes') or ()))

    def predict(
        self, source: Source, *, threshold: float = 0.3, batch_size: int = 1
    ) -> Iterator[Result]:
        """Predict, image by image, as the results are asked for.

        Args:
            source: Path of an image or a video, folder, pattern (``'a/*.jpg'``),
                address (http, https, rtsp), number of a camera, array (H, W, 3) uint8
                in OpenCV's order blue, green, red, image of Pillow, or a list of them.
            threshold: Boxes with a lower score are left out.
            batch_size: Images that the network gets at once; the results are the same.

        Returns:
            An iterator of results in the order of the images.

        Raises:
            InputError: wrong arguments at once; an image that cannot be read, when its
                turn comes.
        """
        if not isinstance(batch_size, numbers.Integral) or batch_size < 1:
            raise InputError(f'batch_size is {batch_size}; give 1 or more')
        if not isinstance(threshold, numbers.Real) or not 0 <= threshold <= 1:
            raise InputError(f'threshold is {threshold}; give 0 to 1')
        return self._results(find_sources(source), threshold, batch_size)

    def _results(
        self, leaves: list[Leaf], threshold: float, batch_size: int
    ) -> Iterator[Result]:
        named, folders = _named(leaves), folders_of(leaves)
        unread: InputError | None = None
        while unread is None:
            batch: list[tuple[str, Frame]] = []
            try:
                batch += islice(named, batch_size)
            except InputError as error:  # after the images before it
                unread = error
            if not batch:
                break
            found = self.run([frame.image for _, frame in batch])
            for (name, frame), (arrays, make_sample) in zip(batch, found, strict=True):
                yield Result(
                    frame.image,
                    arrays,
                    info=self.info,
                    threshold=threshold,
                    source=frame.source,
                    name=name,
                    folders=folders,
                    make_sample=make_sample,
                    frame=frame.number,
                    rate=frame.rate,
                    frames=frame.total,
                )
        if unread is not None:
            raise unread


def _named(leaves: list[Leaf]) -> Iterator[tuple[str, Frame]]:
    """All frames, each with a file name that no other source has."""
    taken: set[str] = set()
    for leaf in leaves:
        name = ''
        for frame in frames_of(leaf):
            if not name:
                place = frame.source.partition('?')[0]
                stem = re.sub(r'[^\w .()+-]', '_', Path(place).stem) or 'image'
                # with an ending, names are limited to 255 bytes
                stem = stem.encode()[:_LONGEST].decode(errors='ignore')
                numbered = (f'{stem}_{n}' for n in range(2, len(taken) + 3))
                name = next(n for n in (stem, *numbered) if n not in taken)
                taken.add(name)
            yield name, frame
