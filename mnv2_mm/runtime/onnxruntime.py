"""Run an ONNX file with ONNX Runtime on the CPU."""

import os
from collections.abc import Sequence

import numpy as np


class OnnxRuntime:
    """An ONNX file, loaded.

    Args:
        files: The .onnx file.
        threads: Threads within an operator; 0 is ONNX Runtime's default.

    Attributes:
        outputs: Names of the outputs.

    Raises:
        ImportError: onnxruntime is not installed.
    """

    on_cpu = True

    def __init__(self, files: Sequence[str | os.PathLike], *, threads: int = 0) -> None:
        import onnxruntime

        self.version = onnxruntime.__version__
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors only
        self.session = onnxruntime.InferenceSession(
            os.fspath(files[0]), options, providers=['CPUExecutionProvider']
        )
        (self._input,) = (value.name for value in self.session.get_inputs())
        self.outputs = [value.name for value in self.session.get_outputs()]

    def __call__(self, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """(B, 3, H, W) float32 -> outputs by name."""
        feeds = {self._input: np.ascontiguousarray(inputs, np.float32)}
        found = self.session.run(self.outputs, feeds)
        return dict(zip(self.outputs, found, strict=True))
