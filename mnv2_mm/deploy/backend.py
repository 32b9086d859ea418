"""What the backends share: availability, precision, and how a model is run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, TypeAlias

import numpy as np
import onnx
import torch
from mmdeploy.backend.base import BaseWrapper
from mmdeploy.utils import get_backend_config, get_ir_config
from torch import Tensor

from mnv2_mm.deploy.calibrate import read_calibration
from mnv2_mm.deploy.graph import simplify
from mnv2_mm.deploy.quantize import quantize
from mnv2_mm.deploy.to_fp16 import to_fp16
from mnv2_mm.runtime.description import check_size, read_info
from mnv2_mm.runtime.litert import LiteRT
from mnv2_mm.runtime.ncnn import Ncnn
from mnv2_mm.runtime.nms import CANDIDATES, WithNms, with_nms
from mnv2_mm.runtime.onnxruntime import OnnxRuntime
from mnv2_mm.runtime.openvino import OpenVino
from mnv2_mm.runtime.tensorrt import TensorRT
from mnv2_mm.utils import compat
from mnv2_mm.utils.errors import InputError

Network: TypeAlias = OnnxRuntime | Ncnn | TensorRT | LiteRT | OpenVino | WithNms


class InstalledManager:
    """Mixin of a backend manager whose backend is one distribution.

    mmdeploy's own managers look for libraries with custom operators, which
    the graphs of this project do not use.
    """

    #: Name of the distribution that an export needs.
    needs: ClassVar[str]
    #: Class of :mod:`mnv2_mm.runtime` that runs the files.
    runtime: ClassVar[type]
    #: Threads where the deploy config names none; 0 is the backend's default.
    threads: ClassVar[int] = 0
    #: Whether the outputs of the files have the names of the exported graph.
    keeps_names: ClassVar[bool] = True

    @classmethod
    def is_available(cls, with_custom_ops: bool = False) -> bool:
        """Whether the backend is installed; it has no custom operators."""
        return compat.installed(cls.needs) and not with_custom_ops

    @classmethod
    def get_version(cls) -> str:
        """Version of the backend; mmdeploy's own needs pkg_resources."""
        return compat.version_of(cls.needs) or 'None'

    @classmethod
    def load(cls, files: Sequence[str], threads: int) -> 'Network':
        """Load the files; they run on the CPU."""
        return cls.runtime(files, threads=threads)

    @classmethod
    def build_wrapper(
        cls,
        backend_files: Sequence[str],
        device: str = 'cpu',
        input_names: Sequence[str] | None = None,
        output_names: Sequence[str] | None = None,
        deploy_cfg: Mapping | None = None,
        **_: object,
    ) -> 'RuntimeWrapper':
        """Load the files, with an NMS behind a detector that ends before it."""
        options = get_backend_config(deploy_cfg) if deploy_cfg else {}
        threads = int(options.get('num_threads', cls.threads))
        network = cls.load(backend_files, threads)
        if sorted(network.outputs) == CANDIDATES:
            _, info = read_info(Path(backend_files[0]).parent)
            return RuntimeWrapper(with_nms(network, info))
        return RuntimeWrapper(network, output_names if cls.keeps_names else None)


class RuntimeWrapper(BaseWrapper):
    """Run a backend of :mod:`mnv2_mm.runtime` on torch tensors.

    Args:
        network: The loaded network.
        output_names: Outputs to return, in this order; None for all.
    """

    def __init__(
        self, network: Network, output_names: Sequence[str] | None = None
    ) -> None:
        super().__init__(list(output_names or network.outputs))
        self.network = network
        self.input_shape: Sequence[int | None] = (None,) * 4  #: of model.json

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Run on the one input; returns the outputs by name."""
        (images,) = inputs.values()
        check_size(images.shape, self.input_shape)
        found = self.network(images.detach().cpu().numpy())
        return {name: torch.from_numpy(found[name]) for name in self.output_names}


def precision_and_images(
    deploy_cfg: Mapping,
    work_dir: str,
    calibration: Sequence[np.ndarray] | None,
    known: Sequence[str],
) -> tuple[str, Sequence[np.ndarray] | None]:
    """Precision of an export, and the network inputs to calibrate int8 with.

    Arguments and errors are those of :func:`graph_in_precision`.
    """
    options = get_backend_config(deploy_cfg)
    precision = options.get('precision', 'fp32')
    if precision not in known:
        raise InputError(
            f'backend_config.precision is {precision!r}; {options["type"]} '
            f'has {", ".join(known)}'
        )
    if precision == 'int8' and calibration is None:
        calibration = read_calibration(Path(work_dir), deploy_cfg)
    return precision, calibration


def graph_in_precision(
    ir_files: Sequence[str],
    work_dir: str,
    deploy_cfg: Mapping,
    *,
    calibration: Sequence[np.ndarray] | None,
    known: Sequence[str],
    symmetric: bool = False,
) -> onnx.ModelProto:
    """Simplify an exported graph, and convert it to the precision of its config.

    Args:
        ir_files: The exported .onnx.
        work_dir: Where mmdeploy's own tools write calibration data.
        deploy_cfg: Deploy config.
        calibration: Network inputs (B, 3, H, W) for int8; if None, they are read
            from the file that ``calib_config`` of the deploy config names.
        known: Precisions of the backend.
        symmetric: As in :func:`~mnv2_mm.deploy.quantize.quantize`.

    Raises:
        InputError: another precision, or int8 without calibration data.
    """
    precision, calibration = precision_and_images(
        deploy_cfg, work_dir, calibration, known
    )
    axes = get_ir_config(deploy_cfg).get('dynamic_axes')
    model = simplify(onnx.load(ir_files[0]), axes)
    kept = get_backend_config(deploy_cfg).get('keep_float', ())
    if precision == 'fp16':
        return to_fp16(model, keep_float=kept)
    if precision == 'int8':
        return quantize(model, calibration, keep_float=kept, symmetric=symmetric)
    return model
