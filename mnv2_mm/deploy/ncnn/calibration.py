"""Calibrate int8: find the range of each activation from images.

ncnn has one scale for a whole blob, so a few outliers must not take the
resolution from the rest. The range ends where the squared error of rounding
and clipping together is least.
"""

from collections.abc import Iterable

import numpy as np

from mnv2_mm.runtime.ncnn import Ncnn
from mnv2_mm.utils.errors import InputError

_BINS = 4096
#: Largest int8 value; ncnn does not use -128.
LEVELS = 127
#: Number of candidates for the end of the range.
_CANDIDATES = 128


class Histogram:
    """Histogram of a blob's absolute values over all images.

    The range doubles when a larger value arrives, and pairs of bins are
    merged, so one pass over the images is enough.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(_BINS, np.int64)
        self.end = 0.0

    def add(self, values: np.ndarray) -> None:
        """Count values; zeros are exact in int8 and left out."""
        values = np.abs(values[values != 0], dtype=np.float32)
        if not values.size:
            return
        largest = float(values.max())
        if not np.isfinite(largest):
            raise InputError(
                'with a calibration image a value inside the network is '
                'infinite or NaN; check the images and their normalization'
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
    network: Ncnn, blobs: Iterable[str], images: Iterable[np.ndarray]
) -> dict[str, float]:
    """Find the end of the range of each blob.

    Args:
        network: The float network, with ``all_blobs``.
        blobs: Names of blobs.
        images: Network inputs (1, C, H, W); about 100 are enough.

    Raises:
        InputError: there is no image, or a value is not finite.
    """
    histograms = {name: Histogram() for name in blobs}
    seen = 0
    for image in images:
        for name, values in network.run(image, histograms).items():
            histograms[name].add(values)
        seen += 1
    if not seen:
        raise InputError(
            'int8 needs calibration images, and there are none; give about '
            '100 training images'
        )
    return {name: h.best_end() for name, h in histograms.items()}
