"""ncnn as a backend of mmdeploy, without mmdeploy's C++ converter.

Replaces mmdeploy's manager of this name. The exported graph is written as
ncnn's two files by :mod:`mnv2_mm.deploy.ncnn.write` in the precision of
``backend_config.precision``. A detector has the outputs of the other
backends, so mmdeploy's model for them is used.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from mmdeploy.backend.base import BACKEND_MANAGERS
from mmdeploy.backend.ncnn.backend_manager import NCNNManager
from mmdeploy.core import FUNCTION_REWRITER
from mmdeploy.utils import get_backend_config
from torch import Tensor, nn

from mnv2_mm.deploy.backend import (
    InstalledManager,
    RuntimeWrapper,
    precision_and_images,
)
from mnv2_mm.deploy.ncnn.write import PRECISIONS, write
from mnv2_mm.runtime.ncnn import Ncnn

if TYPE_CHECKING:
    import onnx


@BACKEND_MANAGERS.register('ncnn')
class Manager(InstalledManager, NCNNManager):
    """Write and run ncnn's files."""

    needs = 'ncnn'

    @classmethod
    def build_wrapper(
        cls,
        backend_files: Sequence[str],
        device: str = 'cpu',
        input_names: Sequence[str] | None = None,
        output_names: Sequence[str] | None = None,
        deploy_cfg: Mapping | None = None,
        **_: object,
    ) -> RuntimeWrapper:
        """Load the .param and the .bin; they run on the CPU."""
        options = get_backend_config(deploy_cfg) if deploy_cfg else {}
        threads = int(options.get('num_threads', 1))
        return RuntimeWrapper(Ncnn(backend_files, threads=threads))

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
        """Write the .param and the .bin of an exported graph.

        Args:
            ir_files: The exported .onnx.
            work_dir: Folder for the files.
            deploy_cfg: Deploy config.
            calibration: Network inputs (1, 3, H, W) for int8; if None, they
                are read from the file that ``calib_config`` of the deploy
                config names.

        Raises:
            InputError: an unknown precision, int8 without calibration data,
                or an operator that ncnn does not have.
        """
        import onnx

        precision, calibration = precision_and_images(
            deploy_cfg, work_dir, calibration, PRECISIONS
        )
        model = with_global_pools(onnx.load(ir_files[0]))
        stem = Path(work_dir) / Path(ir_files[0]).stem
        files = stem.with_suffix('.param'), stem.with_suffix('.bin')
        write(
            model,
            *files,
            precision=precision,
            calibration=calibration,
            keep_float=tuple(get_backend_config(deploy_cfg).get('keep_float', ())),
        )
        return [str(file) for file in files]


def with_global_pools(model: 'onnx.ModelProto') -> 'onnx.ModelProto':
    """Replace mmdeploy's AdaptiveAvgPool2d to 1x1 by GlobalAveragePool.

    mmdeploy exports it for a layer that its own build of ncnn has.
    """
    from onnx import numpy_helper

    constants = {i.name: i for i in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == 'Constant':
            constants[node.output[0]] = node.attribute[0].t
    for node in model.graph.node:
        if (node.domain, node.op_type) != ('mmdeploy', 'AdaptiveAvgPool2d'):
            continue
        size = constants.get(node.input[1])
        if size is not None and (numpy_helper.to_array(size) == 1).all():
            node.domain, node.op_type = '', 'GlobalAveragePool'
            del node.input[1:], node.attribute[:]
    return model


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
    from mnv2_mm.deploy.ncnn.detection import Detections

    height, width = (int(side) for side in batch_img_metas[0]['img_shape'])
    self.prior_generator.check((height, width))
    return Detections(self)(cls_scores, bbox_preds)
