"""Time a prediction of each network of the model zoo, for docs/latency.json.

`tools/benchmark.py infer` compares with other projects; this gives one number a
network, with and without ``optimize=True``.
"""

import statistics
import time
from collections.abc import Callable, Iterable, Mapping

import cv2
import numpy as np
import torch

from mnv2_mm.analysis.model_zoo import config_of
from mnv2_mm.api import init_model, predict
from mnv2_mm.benchmark.core import environment

WARMUP, REPEATS = 3, 15


def measure(
    entries: Iterable[Mapping],
    image: np.ndarray,
    *,
    progress: Callable[[str], object] = print,
) -> dict[str, object]:
    """Median milliseconds from an image to the result, one thread, random weights.

    Args:
        entries: Of metafiles, see :func:`mnv2_mm.checkpoints.hub.listed_models`.
        image: (H, W, 3), uint8, BGR.
        progress: Takes a line for each network.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    found = {}
    for entry in entries:
        pair = [round(_median(entry, image, optimize=o), 1) for o in (False, True)]
        found[entry['Name']] = pair
        progress(f'{entry["Name"]:28}{pair[0]:8.1f} ms{pair[1]:8.1f} ms optimized')
    return dict(environment=environment(1), milliseconds=found)


def _median(entry: Mapping, image: np.ndarray, *, optimize: bool) -> float:
    torch.manual_seed(0)
    model = init_model(config_of(entry), optimize=optimize)
    times = []
    for _ in range(WARMUP + REPEATS):
        start = time.perf_counter()
        predict(model, image)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[WARMUP:])
