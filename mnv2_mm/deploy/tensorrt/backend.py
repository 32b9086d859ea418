"""TensorRT as a backend of mmdeploy; exports on a machine without a GPU.

Replaces mmdeploy's manager, whose calls TensorRT 10 removed. The engine is
built at once if TensorRT and a GPU are here; else the copy of
:mod:`mnv2_mm.runtime.tensorrt_engine` in the folder builds it on the machine
with the GPU.

Limits of TensorRT for a detection graph (INMSLayer and ITopKLayer in NVIDIA's
API reference): ``NonMaxSuppression`` considers the 5000 pairs of box and class
with the highest scores (2000 on compute capability 5.3 and 6.2), ``TopK`` takes
a constant below 3840, and the outputs need constant sizes. TensorRT for RTX has
no runner for ``NonMaxSuppression``: configs/deploy/det_tensorrt_rtx_static.py ends
before it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from mmdeploy.backend.base import BACKEND_MANAGERS, BaseBackendManager
from mmdeploy.utils import get_backend_config

from mnv2_mm.deploy.backend import InstalledManager, graph_in_precision
from mnv2_mm.deploy.tensorrt.files import SCRIPT, write
from mnv2_mm.runtime import tensorrt_engine
from mnv2_mm.runtime.onnxruntime import OnnxRuntime
from mnv2_mm.runtime.tensorrt import TensorRT, engine_path, input_errors
from mnv2_mm.runtime.tensorrt_engine import EngineError
from mnv2_mm.utils import compat


@BACKEND_MANAGERS.register('tensorrt')
class TensorrtManager(InstalledManager, BaseBackendManager):
    """Writes what an engine is built from, and the engine if possible."""

    needs = 'onnxruntime'  # an export needs no TensorRT

    @classmethod
    def get_version(cls) -> str:
        """Version of the installed TensorRT."""
        return compat.version_of('tensorrt') or 'None'

    @classmethod
    def load(cls, files: Sequence[str], threads: int) -> TensorRT | OnnxRuntime:
        """Load the engine if it can run here, else the ONNX file."""
        if engine_path(Path(files[0]).parent).is_file() and not missing():
            return TensorRT(files)
        return OnnxRuntime(files, exact_int8=True)

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
        """Put the precision into the graph, describe it, build the engine.

        Arguments are those of :func:`~mnv2_mm.deploy.backend.graph_in_precision`,
        and ``example``, the network input for the reference, or noise.

        Raises:
            InputError: another precision, int8 without calibration data, a
                bad ``backend_config.batch``, or TensorRT refuses the graph.
        """
        model = graph_in_precision(
            ir_files,
            work_dir,
            deploy_cfg,
            calibration=calibration,
            known=('fp32', 'fp16', 'int8'),
            symmetric=True,
        )
        file = Path(ir_files[0])
        spec = write(model, file, get_backend_config(deploy_cfg), example)
        if not missing():
            with input_errors():
                data = tensorrt_engine.build(file.parent, spec)
            file.with_name(spec['engine']).write_bytes(data)
        return [str(file)]  # its description may be edited, and has a fixed name

    @classmethod
    def note(cls, folder: Path) -> str:
        """What runs of an exported model here, and what is left to do."""
        engine, reason = engine_path(folder), missing()
        if engine.is_file() and not reason:
            return f'the engine has {engine.stat().st_size / 1e6:.2f} MB'
        what = 'the engine cannot be run' if engine.is_file() else 'no engine'
        return (
            f'{what} here ({reason or "none was built yet"}): what is '
            'measured is the ONNX file in onnxruntime; copy the folder to '
            f'the machine with the GPU and run `python {SCRIPT}` in it'
        )


def missing() -> str:
    """Why no engine can be built or run here; '' if one can."""
    if not compat.installed('tensorrt'):
        return 'TensorRT is not installed'
    try:
        tensorrt_engine.load()
        tensorrt_engine.Cuda()
    except EngineError as error:
        return str(error).partition(';')[0]
    return ''
