"""Run an ncnn network on the CPU.

16-bit arithmetic is off. ncnn's defaults allow float16 where the processor has
it (ARMv8.2), so one file would give two answers on two machines.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from mnv2_mm.utils.errors import InputError

#: Options of a network, by ncnn's names; written into model.json for other clients.
OPTIONS = dict(
    use_fp16_packed=False,
    use_fp16_storage=False,
    use_fp16_arithmetic=False,
    use_bf16_storage=False,
    use_vulkan_compute=False,
)


class Ncnn:
    """An ncnn network, loaded.

    Args:
        files: The .param and the .bin file.
        threads: Threads of a run; 0 is one.
        all_blobs: Keep every blob of a run, for :meth:`run`.

    Raises:
        InputError: ncnn is not installed or does not accept the files.
    """

    on_cpu = True

    def __init__(
        self,
        files: Sequence[str | os.PathLike],
        *,
        threads: int = 0,
        all_blobs: bool = False,
    ) -> None:
        try:
            import ncnn
        except ImportError as error:
            raise InputError(
                f'ncnn cannot be imported ({error}): pip install ncnn'
            ) from error
        self._ncnn, self.version = ncnn, ncnn.__version__
        self.net = ncnn.Net()
        options = self.net.opt
        options.num_threads = threads or 1
        options.lightmode = not all_blobs
        for option, value in OPTIONS.items():
            setattr(options, option, value)
        loaders = self.net.load_param, self.net.load_model
        for load, path in zip(loaders, map(Path, files), strict=True):
            if not path.is_file():
                raise InputError(f'{path} does not exist; export the model again')
            if load(str(path)) != 0:
                raise InputError(
                    f'ncnn {self.version} does not accept {path}, which may be '
                    'damaged; export the model again'
                )
        inputs = self.net.input_names()
        if len(inputs) != 1:
            raise InputError(f'{files[0]} has not one input; export the model again')
        self._input = inputs[0]
        self._names = list(self.net.output_names())
        blobs = self.net.blobs()
        self._detections = [
            blobs[index].name
            for layer in self.net.layers()
            if layer.type == 'DetectionOutput'
            for index in layer.tops
        ]
        detects = self._names == self._detections
        self.outputs = ['dets', 'labels'] if detects else self._names

    def __call__(self, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """(1, 3, H, W) float32 -> outputs by name, as in ONNX Runtime.

        A detector's are ``dets`` (1, n, 5): x1, y1, x2, y2 in pixels of the
        network input and the score; ``labels`` (1, n), the first class is 0.
        """
        if len(inputs) != 1:
            raise InputError(
                f'an ncnn network takes one image at a time, not '
                f'{len(inputs)}: set batch_size=1'
            )
        found = self.run(inputs)
        if self._names != self._detections:
            return found
        rows = found[self._names[0]]
        boxes = rows[..., 2:] * np.array(inputs.shape[:1:-1] * 2, np.float32)
        dets = np.concatenate([boxes, rows[..., 1:2]], axis=-1)
        labels = rows[..., 0].astype(np.int64) - 1
        return {'dets': dets.astype(np.float32), 'labels': labels}

    def run(
        self, inputs: np.ndarray, blobs: Iterable[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Run once and return blobs, by default the outputs, as in ncnn.

        Each has a batch axis of one. Detections are (1, K, 6) with one row per
        box: label (the first class is 1), score, x0, y0, x1, y1 from 0 to 1.
        """
        extractor = self.net.create_extractor()
        # ncnn does not own its input memory: `held` must outlive the run
        held = self._ncnn.Mat(np.ascontiguousarray(inputs[0], np.float32)).clone()
        extractor.input(self._input, held)
        found: dict[str, np.ndarray] = {}
        for name in self._names if blobs is None else blobs:
            code, mat = extractor.extract(name)
            # DetectionOutput leaves its blob empty where nothing is found
            empty = mat.dims == 0
            if empty and name in self._detections:
                found[name] = np.empty((1, 0, 6), np.float32)
            elif code != 0 or empty:
                raise InputError(
                    f'ncnn returns nothing for {name} (code {code}); '
                    f'{self._input} {inputs.shape} may not be what the network takes'
                )
            else:
                found[name] = np.array(mat)[None]
        return found
