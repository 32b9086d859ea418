"""Run an ONNX file with ONNX Runtime on the CPU."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mnv2_mm.runtime.errors import backend_errors


class OnnxRuntime:
    """An ONNX file, loaded.

    Args:
        files: The .onnx file, or its content.
        threads: Threads within an operator; 0 is ONNX Runtime's default.
        exact_int8: Avoid the overflow of 16-bit sums in the 8-bit kernels of
            x86 processors without VNNI. Signed activations, as TensorRT's, need
            it: 6 of 6 photos kept their class with it, 1 of 6 without. A run
            takes 15 to 40 % longer there.

    Raises:
        InputError: ONNX Runtime does not accept the file.
    """

    on_cpu = True

    def __init__(
        self,
        files: Sequence[str | os.PathLike | bytes],
        *,
        threads: int = 0,
        exact_int8: bool = False,
    ) -> None:
        import onnxruntime

        self.version = onnxruntime.__version__
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4  # errors are raised
        if exact_int8:
            options.add_session_config_entry('session.x64quantprecision', '1')
        # from its bytes: given a path, ONNX Runtime opens any file that the graph
        # names as the place of its weights
        file, cpu = files[0], ['CPUExecutionProvider']
        if isinstance(file, bytes):
            data, name = file, 'the graph'
        else:
            data, name = Path(file).read_bytes(), os.fspath(file)
        with backend_errors(
            'onnxruntime', f'does not accept {name}, which may be damaged'
        ):
            self.session = onnxruntime.InferenceSession(data, options, providers=cpu)
            (self._input,) = (value.name for value in self.session.get_inputs())
        self.outputs = [value.name for value in self.session.get_outputs()]

    def __call__(self, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """(B, 3, H, W) float32 -> outputs by name."""
        feeds = {self._input: np.ascontiguousarray(inputs, np.float32)}
        with backend_errors('onnxruntime', f'cannot run the network on {inputs.shape}'):
            found = self.session.run(self.outputs, feeds)
        return dict(zip(self.outputs, found, strict=True))
