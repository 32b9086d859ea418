"""OpenVINO as a backend of mmdeploy: the ONNX file of ONNX Runtime, which it reads.

Replaces mmdeploy's manager, which calls a converter that OpenVINO 2025 dropped. Its
8 bits are the Q/DQ graph of ONNX Runtime too: OpenVINO runs it in int8, so that nncf
and its ten packages are not needed.
"""

from mmdeploy.backend.base import BACKEND_MANAGERS

from mnv2_mm.deploy.onnxruntime.backend import OrtManager
from mnv2_mm.runtime.openvino import OpenVino


@BACKEND_MANAGERS.register('openvino')
class OpenVinoManager(OrtManager):
    """Exports as for ONNX Runtime, and runs the file in OpenVINO."""

    needs = 'openvino'
    runtime = OpenVino
