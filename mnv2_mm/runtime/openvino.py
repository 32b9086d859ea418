"""Run an ONNX file with OpenVINO on the CPU.

On processors with bfloat16 or float16, OpenVINO computes in these by default: of 200
boxes it then found 157, up to 7.6 px away. So float32 is asked for; 8-bit layers stay.
"""

import os
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mnv2_mm.runtime.errors import backend_errors


class OpenVino:
    """An ONNX file in OpenVINO, loaded.

    Args:
        files: The .onnx file.
        threads: Threads of a run; 0 is OpenVINO's default.

    Raises:
        ImportError: OpenVINO is not installed.
        InputError: OpenVINO does not accept the file.
    """

    on_cpu = True

    def __init__(self, files: Sequence[str | os.PathLike], *, threads: int = 0) -> None:
        import openvino

        self.version = openvino.__version__.partition('-')[0]
        options: dict[str, str | int] = {'INFERENCE_PRECISION_HINT': 'f32'}
        if threads:
            options['INFERENCE_NUM_THREADS'] = threads
        # from its bytes: given a path, it opens any file that the graph names
        data = Path(files[0]).read_bytes()
        what = f'does not accept {files[0]}, which may be damaged'
        with backend_errors('openvino', what):
            core = openvino.Core()
            model = core.read_model(data, b'')
            self._network = core.compile_model(model, 'CPU', options)
            (_,) = self._network.inputs
        # one request serves all calls; the next run overwrites its outputs
        self._lock = threading.Lock()
        self.outputs = [value.any_name for value in self._network.outputs]

    def __call__(self, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """(B, 3, H, W) float32 -> outputs by name."""
        pixels = np.ascontiguousarray(inputs, np.float32)
        what = f'cannot run the network on {inputs.shape}'
        with self._lock, backend_errors('openvino', what):
            found = self._network([pixels])
            return {name: found[i].copy() for i, name in enumerate(self.outputs)}
