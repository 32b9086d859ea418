"""ONNX Runtime as a backend of mmdeploy, for graphs of standard operators.

Replaces mmdeploy's manager, which needs its library of custom operators
(linked against ONNX Runtime 1.15) and ``pkg_resources`` (which setuptools 82
dropped), and ignores ``backend_config.precision``.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from mmdeploy.backend.base import BACKEND_MANAGERS, BaseBackendManager

from mnv2_mm.deploy.backend import InstalledManager, graph_in_precision
from mnv2_mm.runtime.onnxruntime import OnnxRuntime


@BACKEND_MANAGERS.register('onnxruntime')
class OrtManager(InstalledManager, BaseBackendManager):
    """Simplifies the graph, quantizes it on request, and runs it."""

    needs = 'onnxruntime'
    runtime = OnnxRuntime

    @classmethod
    def to_backend(
        cls,
        ir_files: Sequence[str],
        work_dir: str,
        deploy_cfg: Mapping,
        *_: object,
        calibration: Sequence[np.ndarray] | None = None,
        **__: object,
    ) -> Sequence[str]:
        """Simplify the exported .onnx in place, and quantize it on request.

        Arguments and errors are those of
        :func:`~mnv2_mm.deploy.backend.graph_in_precision`.
        """
        model = graph_in_precision(
            ir_files,
            work_dir,
            deploy_cfg,
            calibration=calibration,
            known=('fp32', 'int8'),
        )
        onnx.save(model, ir_files[0])
        return [ir_files[0]]
