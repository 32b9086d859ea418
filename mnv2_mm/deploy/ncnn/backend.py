"""ncnn as a backend of mmdeploy, without mmdeploy's C++ converter.

A detector has the outputs of the other backends, so mmdeploy's model for them
is used.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from mmdeploy.backend.base import BACKEND_MANAGERS
from mmdeploy.backend.ncnn.backend_manager import NCNNManager
from mmdeploy.core import FUNCTION_REWRITER
from mmdeploy.utils import get_backend_config
from torch import Tensor, nn

from mnv2_mm.deploy.backend import InstalledManager, precision_and_images
from mnv2_mm.runtime.ncnn import Ncnn

#: Values of ``backend_config.precision``.
PRECISIONS = ('fp32', 'fp16', 'int8')


@BACKEND_MANAGERS.register('ncnn')
class Manager(InstalledManager, NCNNManager):
    """Write and run ncnn's files."""

    needs = 'ncnn'
    runtime = Ncnn
    threads = 1
    keeps_names = False

    @classmethod
    def to_backend(
        cls,
        ir_files: Sequence[str],
        work_dir: str,
        deploy_cfg: Mapping,
        *_: object,
        calibration: Sequence[np.ndarray] | None = None,
        **__: object,
    ) -> Sequence[str]:
        """Write the .param and the .bin of an exported graph into ``work_dir``.

        int8 is calibrated with network inputs (1, 3, H, W); without them with
        the file that ``calib_config`` of the deploy config names.

        Raises:
            InputError: an unknown precision, int8 without calibration data,
                or an operator that ncnn does not have.
        """
        import onnx

        from mnv2_mm.deploy.ncnn.write import write

        precision, calibration = precision_and_images(
            deploy_cfg, work_dir, calibration, PRECISIONS
        )
        stem = Path(work_dir) / Path(ir_files[0]).stem
        files = stem.with_suffix('.param'), stem.with_suffix('.bin')
        write(
            onnx.load(ir_files[0]),
            *files,
            precision=precision,
            calibration=calibration or (),
            keep_float=get_backend_config(deploy_cfg).get('keep_float', ()),
        )
        return [str(file) for file in files]


@FUNCTION_REWRITER.register_rewriter(
    'mnv2_mm.models.ssdlite.head.SSDLiteHead.predict_by_feat', backend='ncnn'
)
def ssdlite_predict_by_feat__ncnn(
    self: nn.Module,
    cls_scores: Sequence[Tensor],
    bbox_preds: Sequence[Tensor],
    batch_img_metas: Sequence[Mapping] | None = None,
    **kwargs: object,
) -> Tensor:
    """Maps of the levels -> detections (1, K, 6), for DetectionOutput."""
    from mnv2_mm.deploy.ncnn.detection import detections

    height, width = (int(side) for side in batch_img_metas[0]['img_shape'])
    self.prior_generator.check((height, width))
    return detections(self, cls_scores, bbox_preds)
