"""Ranges of activations for int8, from images that the network will meet.

One scale serves a whole blob (ncnn has no more), so a few outliers must not
take the resolution from the rest. The range is cut where the squared error
of what is rounded and what is cut off, together, is least.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from mnv2_mm.runtime.ncnn_runner import Runner
from mnv2_mm.utils.errors import InputError

_BINS = 4096
#: int8 without -128, as ncnn has it.
LEVELS = 127
#: Candidates for the end of the range.
_CANDIDATES = 128


class Histogram:
    """Absolute values of a blob, over all images.

    The range doubles whenever a larger value comes: pairs of bins are then
    merged, so that one pass over the images is enough.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(_BINS, np.int64)
        self.end = 0.0

    def add(self, values: np.ndarray) -> None:
        """Count values of any shape; zeros are exact in int8 and left out."""
        values = np.abs(values[values != 0], dtype=np.float32)
        if not values.size:
            return
        largest = float(values.max())
        if not np.isfinite(largest):
            raise InputError(
                'a calibration image makes a value inside the network '
                'infinite or NaN; look at the images and their '
                'normalisation'
            )
        if self.end == 0:
            self.end = largest
        while largest > self.end:
            self.counts[: _BINS // 2] = self.counts.reshape(-1, 2).sum(1)
            self.counts[_BINS // 2 :] = 0
            self.end *= 2
        self.counts += np.histogram(values, _BINS, (0, self.end))[0]

    def best_end(self) -> float:
        """End of the range with the least squared error; 0 if all was 0."""
        if self.end == 0:
            return 0.0
        width = self.end / _BINS
        last = int(np.flatnonzero(self.counts)[-1]) + 1
        centers = (np.arange(last) + 0.5) * width
        counts = self.counts[:last]
        ends = last * width * np.arange(1, _CANDIDATES + 1) / _CANDIDATES
        errors = []
        for end in ends:
            step = end / LEVELS
            rounded = np.minimum(np.round(centers / step), LEVELS) * step
            errors.append(float(counts @ (centers - rounded) ** 2))
        return float(ends[int(np.argmin(errors))])


def activation_ends(
    runner: Runner,
    blobs: Iterable[str],
    images: Iterable[np.ndarray | Mapping[str, np.ndarray]],
) -> dict[str, float]:
    """Ends of the ranges of blobs.

    Args:
        runner: The float network, with ``all_blobs``.
        blobs: Names of blobs.
        images: What the network takes, (1, C, H, W) each, as in training
            or at test; 100 of them are plenty.

    Raises:
        InputError: there is no image, or one is not finite.
    """
    histograms = {name: Histogram() for name in blobs}
    seen = 0
    for image in images:
        for name, values in runner.run(image, histograms).items():
            histograms[name].add(values)
        seen += 1
    if not seen:
        raise InputError(
            'int8 needs calibration images, and there are none; give about '
            '100 of the training set'
        )
    return {name: h.best_end() for name, h in histograms.items()}
