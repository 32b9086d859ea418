"""Load an exported model and predict with it.

    model = ExportedModel('work_dirs/exported')
    found = model(cv2.imread('photo.jpg'))

An exported model is a folder that tools/deploy.py writes: the files of the
backend, and model.json, which describes them. Nothing here needs torch or
OpenMMLab.
"""

import json
from pathlib import Path

import numpy as np

from mnv2_mm.runtime.masks import to_mask
from mnv2_mm.runtime.ncnn import Ncnn
from mnv2_mm.runtime.onnxruntime import OnnxRuntime
from mnv2_mm.runtime.preprocess import prepare
from mnv2_mm.runtime.tensorrt import TensorRT
from mnv2_mm.utils.errors import InputError

#: Name of the description in the folder of an exported model.
JSON = 'model.json'
#: Keys that it must have.
_KEYS = 'task backend precision files input outputs classes palette preprocessing'
#: ``BACKENDS[name](files, threads=0)`` loads; a call runs (B, 3, H, W) float32 ->
#: outputs by name. ``outputs`` are their names, ``version`` is the backend's, and
#: ``on_cpu`` says whether threads count.
BACKENDS = {'onnxruntime': OnnxRuntime, 'ncnn': Ncnn, 'tensorrt': TensorRT}


def find(place: str | Path) -> Path | None:
    """Folder of the exported model that a folder or one of its files names."""
    place = Path(place)
    folder = place if place.is_dir() else place.parent
    known = place.is_dir() or place.suffix not in ('.pth', '.pt')
    return folder if known and (folder / JSON).is_file() else None


def read_info(place: str | Path) -> tuple[Path, dict]:
    """The folder of an exported model, and the content of its model.json.

    Raises:
        InputError: no model.json, a damaged one, or a file that it names is
            missing.
    """
    folder = find(place)
    if folder is None:
        raise InputError(
            f'{place} is no exported model, as it has no {JSON}; export the model '
            'with tools/deploy.py'
        )
    try:
        info = json.loads((folder / JSON).read_text(encoding='utf-8'))
    except ValueError as error:
        raise InputError(f'{folder / JSON} is not valid JSON: {error}') from error
    known = info if isinstance(info, dict) else {}
    missing = [key for key in _KEYS.split() if key not in known]
    if missing:
        raise InputError(
            f'{folder / JSON} lacks {", ".join(missing)}; export the model '
            'again with tools/deploy.py'
        )
    for name in info['files']:
        if not (folder / name).is_file():
            raise InputError(
                f'{folder} lacks {name}, which its {JSON} names; copy the whole folder'
            )
    return folder, info


class ExportedModel:
    """An exported model, loaded.

    Args:
        place: The folder, or a file in it.
        threads: Threads of the backend; 0 is the backend's default.

    Attributes:
        info: Content of model.json.
        network: The backend's wrapper, see :data:`BACKENDS`.

    Raises:
        InputError: no exported model, or its backend is unknown or not
            installed.
    """

    def __init__(self, place: str | Path, *, threads: int = 0) -> None:
        folder, self.info = read_info(place)
        name = self.info['backend']
        if name not in BACKENDS:
            raise InputError(
                f'{folder} is for the backend {name!r}; known are {", ".join(BACKENDS)}'
            )
        files = [folder / file for file in self.info['files']]
        try:
            self.network = BACKENDS[name](files, threads=threads)
        except ImportError as error:
            raise InputError(
                f'{folder} needs {error.name}, which is not installed: pip '
                f'install {error.name}'
            ) from error

    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Predict for one image.

        Args:
            image: (H, W, 3) uint8, BGR as OpenCV reads it.

        Returns:
            Detection: ``boxes`` (n, 4) as x1, y1, x2, y2 in pixels of the
            image, ``scores`` and ``labels`` (n,). Segmentation: ``mask``
            (H, W), the class of each pixel. Classification:
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
        """Convert the network's outputs to what ``__call__`` returns.

        ``size`` is rows and columns of the image, ``inside`` those of the
        network input that are not padding.
        """
        first, *others = (outputs[name][0] for name in self.info['outputs'])
        if self.info['task'] == 'cls':
            return {'probabilities': first}
        if self.info['task'] == 'seg':
            return {'mask': to_mask(first, size, inside, self.info)}
        real = first[:, 4] > 0  # the rest pads to a constant number
        scale = np.array([size[1] / inside[1], size[0] / inside[0]] * 2, np.float32)
        return {
            'boxes': first[real, :4] * scale,
            'scores': first[real, 4],
            'labels': others[0][real].astype(int),
        }
