"""A build on disk: its files, and build.json that says what they are."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mnv2_mm.runtime import tensorrt_engine
from mnv2_mm.runtime.masks import to_mask
from mnv2_mm.runtime.ncnn_outputs import to_dets
from mnv2_mm.runtime.preprocess import prepare
from mnv2_mm.runtime.tensorrt_engine import Engine, EngineError
from mnv2_mm.utils.errors import InputError

#: What describes a build, beside its files.
JSON = 'build.json'
#: What it has to say.
_KEYS = (
    'task',
    'backend',
    'precision',
    'files',
    'input',
    'outputs',
    'classes',
    'palette',
    'preprocessing',
)


class OnnxRuntime:
    """A .onnx under onnxruntime, on the CPU.

    Args:
        files: The .onnx.
        info: Content of build.json.
        threads: Threads within an operator; 0 leaves it to the backend.
    """

    on_cpu = True

    def __init__(self, files: Sequence[Path], info: dict, threads: int) -> None:
        import onnxruntime

        self.version = onnxruntime.__version__
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(
            str(files[0]), options, providers=['CPUExecutionProvider']
        )
        self.input = info['input']['name']
        self.outputs = info['outputs']

    def __call__(self, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """(B, 3, H, W) float32 -> outputs by name."""
        found = self.session.run(self.outputs, {self.input: inputs})
        return dict(zip(self.outputs, found, strict=True))


class Ncnn:
    """An ncnn network, on the CPU.

    Args:
        files: The .param and the .bin.
        info: Content of build.json.
        threads: Threads of a run; 0 is one.
    """

    on_cpu = True

    def __init__(self, files: Sequence[Path], info: dict, threads: int) -> None:
        import ncnn  # missing, it is named by the caller

        from mnv2_mm.runtime.ncnn_runner import Runner

        self.version = ncnn.__version__
        self.runner = Runner(*files, threads=threads or 1)
        self.detects = info['task'] == 'det'

    def __call__(self, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """(1, 3, H, W) float32 -> outputs by name."""
        found = self.runner.run(inputs)
        if not self.detects:
            return found
        size = inputs.shape[3], inputs.shape[2]
        parts = to_dets(found['detections'], size)
        return dict(zip(('dets', 'labels'), parts, strict=True))


class TensorRT:
    """A TensorRT engine, on the first GPU.

    Args:
        files: The .onnx and end2end.trt.json.
        info: Content of build.json.
        threads: Not used.

    Raises:
        InputError: the engine was not built yet, or cannot be run here.
    """

    on_cpu = False

    def __init__(self, files: Sequence[Path], info: dict, threads: int) -> None:
        import tensorrt  # missing, it is named by the caller

        self.version = tensorrt.__version__
        folder = files[0].parent
        try:
            engine = folder / tensorrt_engine.read(folder)['engine']
            if not engine.is_file():
                raise EngineError(
                    f'{folder} has no engine yet; on the machine with the '
                    'GPU run `python build_engine.py` in it'
                )
            self.engine = Engine(engine.read_bytes())
        except EngineError as error:
            raise InputError(str(error)) from error

    def __call__(self, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """(B, 3, H, W) float32 -> outputs by name."""
        return self.engine(inputs)


#: By the name of the backend in build.json. Each takes the files, the content
#: of build.json and a number of threads, runs by its call, and says its
#: ``version`` and whether it runs ``on_cpu``, where threads count.
BACKENDS = {'onnxruntime': OnnxRuntime, 'ncnn': Ncnn, 'tensorrt': TensorRT}


def find(place: str | Path) -> Path | None:
    """Folder of the build that a folder or one of its files names."""
    place = Path(place)
    folder = place if place.is_dir() else place.parent
    known = place.is_dir() or place.suffix not in ('.pth', '.pt')
    return folder if known and (folder / JSON).is_file() else None


def read_info(place: str | Path) -> tuple[Path, dict]:
    """Folder and description of a build.

    Raises:
        InputError: there is none, or its description cannot be read.
    """
    folder = find(place)
    if folder is None:
        raise InputError(
            f'{place} is no build: there is no {JSON}, which tools/deploy.py '
            'writes beside the files of a build'
        )
    try:
        info = json.loads((folder / JSON).read_text(encoding='utf-8'))
    except ValueError as error:
        raise InputError(f'{folder / JSON} is no JSON: {error}') from error
    known = info if isinstance(info, dict) else {}
    lacks = [key for key in _KEYS if key not in known]
    if lacks:
        raise InputError(
            f'{folder / JSON} lacks {", ".join(lacks)}; make the build anew '
            'with tools/deploy.py'
        )
    for name in info['files']:
        if not (folder / name).is_file():
            raise InputError(
                f'{folder} lacks {name}, which its {JSON} names; copy the '
                'whole folder of a build'
            )
    return folder, info


class Build:
    """A build, ready to run.

    Args:
        place: The folder, or one of the files in it.
        threads: Threads of the backend; 0 leaves it to the backend.

    Raises:
        InputError: no build, or its backend is missing or not known here.
    """

    def __init__(self, place: str | Path, *, threads: int = 0) -> None:
        folder, self.info = read_info(place)
        name = self.info['backend']
        if name not in BACKENDS:
            raise InputError(
                f'{folder} is a build for {name}, which is not run here; '
                f'builds for {", ".join(BACKENDS)} are'
            )
        files = [folder / file for file in self.info['files']]
        try:
            self.network = BACKENDS[name](files, self.info, threads)
        except ImportError as error:
            raise InputError(
                f'{folder} needs {error.name}, which is not installed: pip '
                f'install {error.name}'
            ) from error

    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Predict for an image (H, W, 3) uint8 in OpenCV's order.

        Returns:
            ``boxes`` (n, 4) as x1, y1, x2, y2 in pixels of the image with
            ``scores`` and ``labels`` (n,); or ``mask`` (H, W) of classes; or
            ``probabilities`` (C,).
        """
        inputs, inside = prepare(image, self.info['preprocessing'])
        return self.finish(self.network(inputs), image.shape[:2], inside)

    def finish(
        self,
        outputs: dict[str, np.ndarray],
        size: tuple[int, int],
        inside: tuple[int, int],
    ) -> dict[str, np.ndarray]:
        """Outputs for one image -> what ``__call__`` returns.

        Args:
            outputs: By name.
            size: Rows and columns of the image.
            inside: Rows and columns of the input that are image.
        """
        first, *others = (outputs[name][0] for name in self.info['outputs'])
        if self.info['task'] == 'cls':
            return {'probabilities': first}
        if self.info['task'] == 'seg':
            return {'mask': to_mask(first, size, inside, self.info)}
        real = first[:, 4] > 0  # the rest fills the fixed number up
        scale = np.float32([size[1] / inside[1], size[0] / inside[0]] * 2)
        return {
            'boxes': first[real, :4] * scale,
            'scores': first[real, 4],
            'labels': others[0][real].astype(int),
        }
