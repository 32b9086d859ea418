"""The line of PyTorch in the table of builds."""

import time
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config

from mnv2_mm.api import init_model, predict
from mnv2_mm.benchmark.builds import Row
from mnv2_mm.runtime.machine import cores, describe
from mnv2_mm.runtime.timing import LEAST_RUNS, quartiles
from mnv2_mm.utils.errors import InputError


def pytorch_row(
    cfg: Config, checkpoint: str, image: str, *, runs: int = LEAST_RUNS
) -> Row:
    """Size of the weights, and the time from an image to its prediction.

    Args:
        cfg: Model config.
        checkpoint: .pth file of a training.
        image: Path of the image.
        runs: How many runs count, after five that do not.

    Raises:
        InputError: the checkpoint does not fit, or there is no image.
    """
    pixels = cv2.imread(image, cv2.IMREAD_COLOR)
    if pixels is None:
        raise InputError(f'{image} cannot be read as an image')
    model = init_model(cfg, checkpoint)
    weights = model.state_dict().values()
    before, times = torch.get_num_threads(), []
    try:
        for count in sorted({1, cores()}):
            torch.set_num_threads(count)
            spent = []
            for _ in range(5 + runs):
                started = time.perf_counter()
                predict(model, pixels)
                spent.append(time.perf_counter() - started)
            (total,) = quartiles(np.array(spent[5:])[:, None])
            times.append({'threads': count, 'total': total})
    finally:
        torch.set_num_threads(before)
    return Row(
        'PyTorch',
        'PyTorch',
        'fp32',
        sum(value.numel() * value.element_size() for value in weights),
        times={
            'machine': describe(),
            'backend_version': torch.__version__,
            'image': Path(image).name,
            'times': times,
        },
    )
