"""OpenVINO as a backend of mmdeploy: the ONNX file of ONNX Runtime, which it reads.

Replaces mmdeploy's manager, which calls a converter that OpenVINO 2025 dropped. Its
8 bits are the Q/DQ graph of ONNX Runtime too: OpenVINO runs it in int8, so that nncf
and its ten packages are not needed.
"""

from collections.abc import Mapping, Sequence

from mmdeploy.backend.base import BACKEND_MANAGERS
from mmdeploy.utils import get_backend_config

from mnv2_mm.deploy.backend import RuntimeWrapper
from mnv2_mm.deploy.onnxruntime.backend import OrtManager
from mnv2_mm.runtime.openvino import OpenVino


@BACKEND_MANAGERS.register('openvino')
class OpenVinoManager(OrtManager):
    """Exports as for ONNX Runtime, and runs the file in OpenVINO."""

    needs = 'openvino'

    @classmethod
    def build_wrapper(
        cls,
        backend_files: Sequence[str],
        device: str = 'cpu',
        input_names: Sequence[str] | None = None,
        output_names: Sequence[str] | None = None,
        deploy_cfg: Mapping | None = None,
        **_: object,
    ) -> RuntimeWrapper:
        """Load the .onnx; it runs on the CPU."""
        options = get_backend_config(deploy_cfg) if deploy_cfg else {}
        threads = int(options.get('num_threads', 0))
        return RuntimeWrapper(OpenVino(backend_files, threads=threads), output_names)
