"""What ``backend_config.precision`` asks for, the same for every backend."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from mmdeploy.utils import get_backend_config

from mnv2_mm.utils.errors import InputError


def precision_and_images(
    deploy_cfg: Mapping,
    work_dir: str,
    calibration: Sequence[np.ndarray] | None,
    known: Sequence[str],
) -> tuple[str, Sequence[np.ndarray] | None]:
    """The precision, and the network inputs to calibrate int8 with.

    Args:
        deploy_cfg: Deploy config.
        work_dir: Where calibration data of mmdeploy's tools may be.
        calibration: Network inputs; None where mmdeploy's tools call, which
            write them to the file that ``calib_config`` names.
        known: Precisions of the backend.

    Raises:
        InputError: another precision, or int8 without calibration data.
    """
    options = get_backend_config(deploy_cfg)
    precision = options.get('precision', 'fp32')
    if precision not in known:
        raise InputError(
            f'backend_config.precision is {precision!r}; {options["type"]} '
            f'builds are {" or ".join(known)}'
        )
    if precision == 'int8' and calibration is None:
        from mnv2_mm.deploy.quantize import read_calibration

        calibration = read_calibration(Path(work_dir), deploy_cfg)
    return precision, calibration
