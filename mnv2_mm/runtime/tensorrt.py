"""Run a TensorRT engine on the first GPU.

The engine is built from the exported model on the machine with the GPU, by
:mod:`mnv2_mm.runtime.tensorrt_engine`; that of TensorRT for RTX on any machine.
"""

import contextlib
import importlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mnv2_mm.runtime import tensorrt_engine
from mnv2_mm.runtime.tensorrt_engine import Engine, EngineError
from mnv2_mm.utils.errors import InputError


class TensorRT:
    """The engine of an exported model, loaded; ``threads`` is not used.

    That of TensorRT comes before that of TensorRT for RTX.

    Raises:
        ImportError: TensorRT, or TensorRT for RTX, is not installed.
        InputError: the engine has not been built yet, or cannot run here.
    """

    on_cpu = False

    def __init__(self, files: Sequence[str | os.PathLike], *, threads: int = 0) -> None:
        folder = Path(files[0]).parent
        path, other = engine_path(folder), engine_path(folder, rtx=True)
        rtx = other.is_file() and not path.is_file()
        path = other if rtx else path
        library = importlib.import_module('tensorrt_rtx' if rtx else 'tensorrt')
        self.version = library.__version__
        if not path.is_file():
            raise InputError(
                f'{path.parent} has no engine yet; on the machine with the GPU '
                'run `python build_engine.py` in it'
            )
        with input_errors():
            self.engine = Engine(path.read_bytes(), rtx)
        self.outputs = list(self.engine.outputs)

    def __call__(self, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """(B, 3, H, W) float32 -> outputs by name."""
        with input_errors():
            return self.engine(inputs)


def engine_path(folder: Path, *, rtx: bool = False) -> Path:
    """Path of a model's engine; the file exists once it has been built."""
    with input_errors():
        return folder / tensorrt_engine.engine_name(tensorrt_engine.read(folder), rtx)


@contextlib.contextmanager
def input_errors() -> Iterator[None]:
    """Raise errors of the stand-alone file as InputError."""
    try:
        yield
    except EngineError as error:
        raise InputError(str(error)) from error
