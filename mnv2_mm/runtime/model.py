"""Load an exported model and predict with it.

    model = ExportedModel('work_dirs/exported')
    for result in model.predict('photos/'):
        result.save('out/')

An exported model is a folder that tools/export.py writes: the files of the
backend, and model.json, which describes them. Nothing here needs torch or
OpenMMLab.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mnv2_mm.runtime.description import JSON, check_size, output_names, read_info
from mnv2_mm.runtime.litert import LiteRT
from mnv2_mm.runtime.masks import to_mask
from mnv2_mm.runtime.ncnn import Ncnn
from mnv2_mm.runtime.nms import with_nms
from mnv2_mm.runtime.onnxruntime import OnnxRuntime
from mnv2_mm.runtime.openvino import OpenVino
from mnv2_mm.runtime.predictor import MakeSample, Predictor
from mnv2_mm.runtime.preprocess import prepare
from mnv2_mm.runtime.sources import checked
from mnv2_mm.runtime.tensorrt import TensorRT
from mnv2_mm.utils.errors import InputError

#: ``BACKENDS[name](files, threads=0)`` loads; a call runs (B, 3, H, W) float32 ->
#: outputs by name, a detector's as ``Ncnn`` returns them. ``outputs`` are their
#: names, ``version`` is the backend's, and ``on_cpu`` says whether threads count.
BACKENDS = {
    'onnxruntime': OnnxRuntime,
    'ncnn': Ncnn,
    'tensorrt': TensorRT,
    'litert': LiteRT,
    'openvino': OpenVino,
}


class ExportedModel(Predictor):
    """An exported model, loaded; see :class:`Predictor` for what it predicts.

    Args:
        place: The folder, or a file in it.
        threads: Threads of the backend; 0 is the backend's default.

    Attributes:
        info: Content of model.json.
        network: The backend's wrapper, see :data:`BACKENDS`.

    Raises:
        InputError: no exported model, a damaged one, or its backend is not
            installed; or a bad number of threads.
    """

    def __init__(self, place: str | Path, *, threads: int = 0) -> None:
        # ncnn would end the process
        if not isinstance(threads, int | np.integer) or threads < 0:
            raise InputError(f'threads is {threads!r}; give 1 or more, 0 for a default')
        folder, self.info = read_info(place)
        files = [folder / file['name'] for file in self.info['files']]
        try:
            network = BACKENDS[self.info['backend']](files, threads=threads)
        except ImportError as error:
            raise InputError(
                f'{folder} needs {error.name}, which is not installed: pip '
                f'install {error.name}'
            ) from error
        self.network = with_nms(network, self.info)
        if not set(output_names(self.info)) <= set(self.network.outputs):
            raise self._other_network(f'the outputs {", ".join(self.network.outputs)}')

    def _other_network(self, found: str) -> InputError:
        wanted = f'{len(self.info["classes"])} classes in {output_names(self.info)}'
        return InputError(
            f'the network has {found}, and its {JSON} states {wanted}; export the '
            'model again with tools/export.py'
        )

    def __call__(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Predict for one image.

        Args:
            image: (H, W, 3) uint8, BGR as OpenCV reads it; or gray, (H, W).

        Returns:
            Detection: ``boxes`` (n, 4) as x1, y1, x2, y2 in pixels of the
            image, ``scores`` and ``labels`` (n,). Segmentation: ``mask``
            (H, W), the class of each pixel. Classification:
            ``probabilities`` (C,).
        """
        inputs, inside = self.prepare(image)
        return self.finish(self.network(inputs), image.shape[:2], inside)

    def prepare(self, image: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
        """The network input (1, 3, H, W), and the rows and columns without padding.

        Raises:
            InputError: the array is no image, or the model was exported for inputs
                of another size, with which ncnn computes something wrong.
        """
        image = checked(image)
        inputs, inside = prepare(image, self.info['preprocessing'])
        check_size(inputs.shape, self.info['input']['shape'])
        return inputs, inside

    def run(self, images: Sequence[np.ndarray]) -> list[tuple[dict, MakeSample]]:
        """Predict for images one by one, since exported shapes may be fixed."""
        return [(self(image), None) for image in images]

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
        found = [outputs[name] for name in output_names(self.info)]
        first, *others = self._checked(found, inside)
        if self.info['task'] == 'cls':
            return {'probabilities': first}
        if self.info['task'] == 'seg':
            return {'mask': to_mask(first, size, inside, self.info)}
        real = _real(first)
        scale = np.array([size[1] / inside[1], size[0] / inside[0]] * 2, np.float32)
        return {
            'boxes': first[real, :4] * scale,
            'scores': first[real, 4],
            'labels': others[0][real].astype(int),
        }

    def _checked(
        self, outputs: list[np.ndarray], inside: tuple[int, int]
    ) -> list[np.ndarray]:
        """The first image's outputs; raises an InputError for another network's."""
        count, ending = len(self.info['classes']), self.info['ending'] or {}
        if not all(len(x.shape) and len(x) and x.dtype.kind in 'fiu' for x in outputs):
            raise self._other_network('no outputs of numbers')
        first, *others = firsts = [x[0] for x in outputs]
        labels = np.zeros(0)
        if others:
            good = first.shape == (others[0].size, 5) and others[0].ndim == 1
            labels = others[0][_real(first)] if good else labels
        elif ending.get('argmax'):
            good, labels = first.ndim == 3 and len(first) == 1, first
        else:
            good = len(first.shape) == (3 if ending else 1) and len(first) == count
        if ending.get('resize') or ending.get('argmax'):
            good = good and np.all(np.greater_equal(first.shape[1:], inside))
        if not good or not np.all((labels >= 0) & (labels < count)):
            raise self._other_network(f'an output of the shape {first.shape}')
        return firsts


def _real(dets: np.ndarray) -> np.ndarray:
    """Which rows are detections; the rest pads to a constant number."""
    return (dets[:, 4] > 0) & np.isfinite(dets).all(1)
