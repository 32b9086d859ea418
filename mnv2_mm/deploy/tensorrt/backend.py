"""TensorRT as a backend of mmdeploy, from a host without a GPU on.

Replaces mmdeploy's manager and wrapper of this name, whose calls TensorRT 10
removed. Everywhere the ONNX file is written with its precision in the graph
and run in onnxruntime, whose outputs for one input go beside it as the
reference. Where there are TensorRT and a GPU the engine is built at once;
elsewhere the folder is whole as it is, and the copy of
:mod:`mnv2_mm.runtime.tensorrt_engine` in it makes the engine there.

What TensorRT asks of a detection graph: ``NonMaxSuppression`` considers the
5000 pairs of box and class with the highest scores (2000 on compute
capability 5.3 and 6.2), ``TopK`` takes a constant below 3840, and the
outputs have sizes. Source: INMSLayer and ITopKLayer in NVIDIA's API
reference.
"""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from mmdeploy.backend.base import (
    BACKEND_MANAGERS,
    BaseBackendManager,
    BaseWrapper,
)
from mmdeploy.utils import get_backend_config, get_ir_config
from torch import Tensor

from mnv2_mm.deploy.manager import InstalledManager
from mnv2_mm.deploy.onnxruntime.backend import OrtWrapper
from mnv2_mm.deploy.precision import precision_and_images
from mnv2_mm.deploy.tensorrt.files import SCRIPT, profile, write
from mnv2_mm.runtime import tensorrt_engine
from mnv2_mm.runtime.tensorrt_engine import Engine, EngineError
from mnv2_mm.utils import compat
from mnv2_mm.utils.errors import InputError

with contextlib.suppress(Exception):  # registers its own before, and on
    import mmdeploy.backend.tensorrt  # noqa: F401  TensorRT 11 may then fail

#: Precisions that ``backend_config`` may ask for.
PRECISIONS = ('fp32', 'fp16', 'int8')


class TensorrtWrapper(BaseWrapper):
    """Runs an engine on the first GPU.

    Args:
        engine: The .engine file.
        output_names: Which outputs, in this order; None for all.

    Raises:
        InputError: the engine cannot be run here.
    """

    def __init__(self, engine: Path, output_names: Sequence[str] | None = None) -> None:
        with _one_message():
            self.engine = Engine(engine.read_bytes())
        super().__init__(list(output_names or self.engine.outputs))

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Run on tensors by name; the outputs by name."""
        (images,) = inputs.values()
        with _one_message():
            found = self.engine(images.detach().cpu().numpy())
        return {n: torch.from_numpy(found[n]) for n in self._output_names}


@contextlib.contextmanager
def _one_message():
    """Tell a user of this project's tools as of any other bad input."""
    try:
        yield
    except EngineError as error:
        raise InputError(str(error)) from error


BACKEND_MANAGERS._module_dict.pop('tensorrt', None)


@BACKEND_MANAGERS.register('tensorrt')
class TensorrtManager(InstalledManager, BaseBackendManager):
    """Writes what an engine is made of, and the engine where that can be."""

    needs = 'onnxruntime'  # writing a build takes no TensorRT

    @classmethod
    def get_version(cls) -> str:
        """Version of the installed TensorRT."""
        return compat.version_of('tensorrt') or 'None'

    @classmethod
    def build_wrapper(
        cls,
        backend_files: Sequence[str],
        device: str = 'cpu',
        input_names: Sequence[str] | None = None,
        output_names: Sequence[str] | None = None,
        deploy_cfg: Mapping | None = None,
        **_: object,
    ) -> BaseWrapper:
        """The engine where there is one; else the ONNX file on the CPU."""
        onnx = Path(backend_files[0])
        engine = engine_of(onnx.parent)
        if engine.is_file() and not why_not():
            return TensorrtWrapper(engine, output_names)
        return OrtWrapper(str(onnx), output_names)

    @classmethod
    def to_backend(
        cls,
        ir_files: Sequence[str],
        work_dir: str,
        deploy_cfg: Mapping,
        *_: object,
        calibration: Sequence[np.ndarray] | None = None,
        example: np.ndarray | None = None,
        **__: object,
    ) -> Sequence[str]:
        """Put the precision into the graph, describe it, build where it goes.

        Args:
            ir_files: The exported .onnx.
            work_dir: Where calibration data of mmdeploy's tools may be.
            deploy_cfg: Deploy config.
            calibration: Network inputs (B, 3, H, W) for int8; without them
                the file that ``calib_config`` of the deploy config names.
            example: Network input for the reference; noise without it.

        Raises:
            InputError: another precision, int8 without calibration data,
                bad numbers of images, or TensorRT refuses the graph.
        """
        import onnx

        from mnv2_mm.deploy.graph import tidy

        options = get_backend_config(deploy_cfg)
        precision, calibration = precision_and_images(
            deploy_cfg, work_dir, calibration, PRECISIONS
        )
        file = Path(ir_files[0])
        axes = get_ir_config(deploy_cfg).get('dynamic_axes')
        model = tidy(onnx.load(file), axes)
        shapes = profile(model, options.get('batch'))
        kept = options.get('keep_float', ())
        if precision == 'fp16':
            from mnv2_mm.deploy.to_fp16 import to_half

            model = to_half(model, keep_float=kept)
        elif precision == 'int8':
            from mnv2_mm.deploy.quantize import quantize

            model = quantize(model, calibration, keep_float=kept, symmetric=True)
        spec = write(model, file, shapes, precision, options=options, example=example)
        folder = file.parent
        if not why_not():
            with _one_message():
                data = tensorrt_engine.build(folder, spec)
            (folder / spec['engine']).write_bytes(data)
        return [str(file), str(folder / tensorrt_engine.JSON)]

    @classmethod
    def remark(cls, folder: Path) -> str:
        """What runs of a build here, and what is left to do."""
        engine, reason = engine_of(folder), why_not()
        if engine.is_file() and not reason:
            return f'the engine has {engine.stat().st_size / 1e6:.2f} MB'
        what = 'the engine cannot be run' if engine.is_file() else 'no engine'
        return (
            f'{what} here ({reason or "none was built yet"}): what is '
            'measured is the ONNX file in onnxruntime; copy the folder to '
            f'the machine with the GPU and run `python {SCRIPT}` in it'
        )


def engine_of(folder: Path) -> Path:
    """Where the engine of a build is, once it has been made.

    Raises:
        InputError: it is no TensorRT build, or not the whole of one.
    """
    with _one_message():
        return folder / tensorrt_engine.read(folder)['engine']


def why_not() -> str:
    """Why no engine can be built or run here; empty where one can."""
    if not compat.installed('tensorrt'):
        return 'TensorRT is not installed'
    try:
        tensorrt_engine.load()
        tensorrt_engine.Cuda()
    except EngineError as error:
        return str(error).partition(';')[0]
    return ''
