"""Time a prediction of each network of the model zoo, for docs/latency.json.

Two numbers a network: layer by layer, as its host runs it, and as ``load`` does.
"""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import cv2
import numpy as np
import torch

from mnv2_mm.analysis.model_zoo import config_of
from mnv2_mm.api import init_model
from mnv2_mm.benchmark.core import environment
from mnv2_mm.benchmark.detectors import WARMUP, loaded
from mnv2_mm.engine.predictor import Model

REPEATS = 15


def measure(
    entries: Iterable[Mapping],
    image: np.ndarray,
    *,
    progress: Callable[[str], object] = print,
) -> dict[str, object]:
    """Median milliseconds from an image to the result, random weights.

    They are those of the processor with one thread, so other programs do not count.
    Each network has a process of its own, as in use: after a network with large maps
    glibc keeps memory, and the next one would be faster.

    Args:
        entries: Of metafiles, see :func:`mnv2_mm.utils.published.listed_models`.
        image: (H, W, 3), uint8, BGR.
        progress: Takes a line for each network.
    """
    entries = list(entries)
    found: dict[str, list[float]] = {}
    fork = multiprocessing.get_context('fork')  # the imports are shared
    with fork.Pool(1, maxtasksperchild=1) as pool:
        every = pool.imap(partial(_times, image=image), map(config_of, entries))
        for entry, times in zip(entries, every, strict=True):
            found[entry['Name']] = times
            progress(f'{entry["Name"]:28}{times[0]:8} ms layer by layer{times[1]:8} ms')
    return dict(environment=environment(1), milliseconds=found)


def _times(config: str, image: np.ndarray) -> list[float]:
    """Milliseconds layer by layer, and as ``load`` runs it."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    times = []
    for optimize in (False, True):
        torch.manual_seed(0)
        network = init_model(config)
        predict = (loaded(network) if optimize else Model(network)).predict
        clock = [time.process_time()]
        for _ in range(WARMUP + REPEATS):
            next(predict(image))
            clock.append(time.process_time())
        times.append(round(1000 * statistics.median(np.diff(clock)[WARMUP:]), 1))
    return times
