"""Run a TFLite file with LiteRT's interpreter (ai-edge-litert) on the CPU."""

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mnv2_mm.runtime.errors import backend_errors

#: Outputs of TFLite_Detection_PostProcess, in its order.
DETECTIONS = (
    'detection_boxes',
    'detection_classes',
    'detection_scores',
    'num_detections',
)


class LiteRT:
    """A TFLite file, loaded.

    The file takes (1, H, W, 3), and its maps are (1, H, W, C); here both are
    (1, C, H, W), as in the other backends.

    Args:
        files: The .tflite file.
        threads: Threads within an operator; 0 is the interpreter's default.

    Raises:
        ImportError: ai-edge-litert is not installed.
        InputError: the interpreter does not accept the file.
    """

    on_cpu = True

    def __init__(self, files: Sequence[str | os.PathLike], *, threads: int = 0) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise ImportError(str(error), name='ai-edge-litert') from error
        from importlib.metadata import version

        self.version = version('ai-edge-litert')
        data = Path(files[0]).read_bytes()
        with backend_errors(
            'ai-edge-litert', f'does not accept {files[0]}, which may be damaged'
        ):
            self.interpreter = Interpreter(
                model_content=data, num_threads=threads or None
            )
            self.interpreter.allocate_tensors()
            (self._input,) = self.interpreter.get_input_details()
        # the input and the outputs are memory of the interpreter
        self._lock = threading.Lock()
        self.input_name = str(self._input['name'])
        self._found = self.interpreter.get_output_details()
        self._names = [value['name'] for value in self._found]
        self._detects = tuple(self._names) == DETECTIONS
        self.outputs = ['dets', 'labels'] if self._detects else self._names

    @property
    def uint8_scaling(self) -> tuple[int, float] | None:
        """Mean and std by which the file reads pixels, if it takes uint8."""
        scale, zero = self._input['quantization']
        return (int(zero), float(1 / scale)) if scale else None

    @property
    def shapes(self) -> dict[str, list[int]]:
        """Shape of each output by its name in the file."""
        return {x['name']: list(map(int, x['shape'])) for x in self._found}

    def __call__(self, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """(1, 3, H, W) float32 -> outputs by name, as real numbers.

        A detector's are ``dets`` (1, K, 5): x1, y1, x2, y2 in pixels of the network
        input and the score; ``labels`` (1, K). Empty places have score 0, label -1.
        """
        pixels = np.ascontiguousarray(inputs.transpose(0, 2, 3, 1), np.float32)
        if scaling := self.uint8_scaling:
            mean, std = scaling
            pixels = np.clip(np.rint(pixels * std + mean), 0, 255).astype(np.uint8)
        with (
            self._lock,
            backend_errors(
                'ai-edge-litert', f'cannot run the network on {inputs.shape}'
            ),
        ):
            self.interpreter.set_tensor(self._input['index'], pixels)
            self.interpreter.invoke()
            found = [self._value(output) for output in self._found]
        if not self._detects:
            return dict(zip(self._names, map(_channels_first, found), strict=True))
        boxes, classes, scores, count = found
        # what comes after the last detection is undefined
        real = np.arange(scores.shape[1]) < int(count[0])
        height, width = inputs.shape[2:]
        sides = np.array([width, height, width, height], np.float32)
        dets = np.dstack([boxes[..., [1, 0, 3, 2]] * sides, scores])
        return {
            'dets': np.where(real[:, None], dets, 0).astype(np.float32),
            'labels': np.where(real, np.nan_to_num(classes), -1).astype(np.int64),
        }

    def _value(self, output: Mapping) -> np.ndarray:
        """An output; its real numbers if it is quantized."""
        found = self.interpreter.get_tensor(output['index'])
        scale, zero = output['quantization']
        return np.float32(scale) * (found.astype(np.float32) - zero) if scale else found


def _channels_first(found: np.ndarray) -> np.ndarray:
    """(1, H, W, C) -> (1, C, H, W); a map of classes may be (1, 1, H, W) already."""
    if found.ndim == 4 and found.shape[1] != 1:
        return found.transpose(0, 3, 1, 2)
    return found
