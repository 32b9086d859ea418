"""Run an ncnn network on arrays, with the precision said explicitly.

ncnn's own defaults allow float16 arithmetic, which only some processors do
(ARMv8.2), so that one file gives two answers on two machines. Here float16
is used where it is asked for and nowhere else.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType

import numpy as np

from mnv2_mm.utils.errors import InputError


def ncnn_module() -> ModuleType:
    """The package ncnn.

    Raises:
        InputError: it is not installed.
    """
    try:
        import ncnn
    except ImportError as error:
        raise InputError(
            'running an ncnn network needs the package ncnn, which cannot be '
            f'imported ({error}): pip install ncnn'
        ) from error
    return ncnn


class Runner:
    """A network that has been loaded.

    Args:
        param_path: The .param file.
        bin_path: The .bin file.
        threads: Threads of a run.
        half: Allow float16 storage and arithmetic while it runs, where the
            processor has it; results then differ between processors.
        all_blobs: Keep every blob of a run, so that :meth:`run` can give
            blobs from inside without computing them again.

    Raises:
        InputError: ncnn is not installed or does not take the files.
    """

    def __init__(
        self,
        param_path: str | os.PathLike,
        bin_path: str | os.PathLike,
        *,
        threads: int = 1,
        half: bool = False,
        all_blobs: bool = False,
    ) -> None:
        self._ncnn = ncnn_module()
        self._net = self._ncnn.Net()
        options = self._net.opt
        options.num_threads = threads
        options.lightmode = not all_blobs
        options.use_vulkan_compute = False
        options.use_fp16_packed = half
        options.use_fp16_storage = half
        options.use_fp16_arithmetic = half
        options.use_bf16_storage = False
        for load, path in (
            (self._net.load_param, Path(param_path)),
            (self._net.load_model, Path(bin_path)),
        ):
            if not path.is_file():
                raise InputError(f'{path} does not exist; write the build anew')
            if load(str(path)) != 0:
                raise InputError(
                    f'ncnn {self._ncnn.__version__} does not take {path}; it '
                    'is damaged, cut off or made for a newer ncnn: write the '
                    'build anew'
                )
        self.inputs = tuple(self._net.input_names())
        self.outputs = tuple(self._net.output_names())

    def run(
        self,
        inputs: np.ndarray | Mapping[str, np.ndarray],
        outputs: Iterable[str] | None = None,
    ) -> dict[str, np.ndarray]:
        """Run once.

        Args:
            inputs: (1, C, H, W) float32 as the network takes it; by name if
                the network has several inputs.
            outputs: Names of blobs; the network's outputs if None.

        Returns:
            Arrays by name, with a batch of one first. Detections are (1, K,
            6), a row each: label (first class 1), score, x0, y0, x1, y1 from
            0 to 1.

        Raises:
            InputError: a name or the number of inputs is wrong, or the
                network cannot be run on such an array.
        """
        if not isinstance(inputs, Mapping):
            inputs = {self.inputs[0]: inputs}
        if set(inputs) != set(self.inputs):
            raise InputError(
                f'the network has the inputs {", ".join(self.inputs)}, not '
                f'{", ".join(inputs)}'
            )
        extractor = self._net.create_extractor()
        held = []  # ncnn does not own what it is given
        for name, array in inputs.items():
            array = np.ascontiguousarray(array[0], np.float32)
            held.append(self._ncnn.Mat(array).clone())
            extractor.input(name, held[-1])
        found = {}
        for name in self.outputs if outputs is None else outputs:
            code, mat = extractor.extract(name)
            # DetectionOutput leaves its blob empty where nothing is found
            nothing = mat.dims == 0
            if nothing and self._is_detections(name):
                found[name] = np.empty((1, 0, 6), np.float32)
            elif code != 0 or nothing:
                raise InputError(
                    f'ncnn gives nothing for {name} (code {code}); '
                    + ', '.join(f'{n} {a.shape}' for n, a in inputs.items())
                    + ' may not be what the network takes'
                )
            else:
                found[name] = np.array(mat)[None]
        return found

    def _is_detections(self, name: str) -> bool:
        return any(
            layer.type == 'DetectionOutput'
            and name in [self._net.blobs()[i].name for i in layer.tops]
            for layer in self._net.layers()
        )
