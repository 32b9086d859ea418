"""LiteRT as a backend of mmdeploy: a TFLite file that Google's clients read.

mmdeploy has no such backend. The file takes (1, H, W, 3) and holds its labels and
the scaling of pixels, see :mod:`mnv2_mm.deploy.litert.metadata`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from mmdeploy.backend.base import BACKEND_MANAGERS, BaseBackendManager
from mmdeploy.codebase.base import BaseTask
from mmdeploy.core import FUNCTION_REWRITER
from mmdeploy.utils import get_backend_config, get_codebase_config
from torch import Tensor, nn

from mnv2_mm.deploy.backend import InstalledManager, precision_and_images
from mnv2_mm.deploy.graph import simplify
from mnv2_mm.engine.description import preprocessing
from mnv2_mm.runtime.litert import LiteRT
from mnv2_mm.utils.errors import InputError

#: Values of ``backend_config.precision``.
PRECISIONS = ('fp32', 'fp16', 'int8')


@BACKEND_MANAGERS.register('litert')
class LiteRTManager(InstalledManager, BaseBackendManager):
    """Writes and runs the .tflite."""

    needs = 'ai_edge_litert'
    runtime = LiteRT
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
        processor: BaseTask | None = None,
        model: nn.Module | None = None,
        **__: object,
    ) -> Sequence[str]:
        """Write the .tflite of an exported graph into ``work_dir``.

        Args:
            ir_files: The exported .onnx.
            work_dir: Folder for the file.
            deploy_cfg: Deploy config.
            calibration: Network inputs (B, 3, H, W) for int8; without them the file
                that ``calib_config`` of the deploy config names.
            processor: Task processor of the export.
            model: The PyTorch model. Without these two, as in mmdeploy's own tools,
                for a network that takes BGR, and for a detector without Google's four
                outputs, no metadata is written.

        Raises:
            InputError: a package is missing, an unknown precision, ``keep_float``,
                ``uint8`` where it cannot be, int8 without calibration data, or an
                operator that is not converted.
        """
        from mnv2_mm.deploy.litert import convert, detection
        from mnv2_mm.deploy.litert.metadata import add_metadata

        convert.require()
        precision, calibration = precision_and_images(
            deploy_cfg, work_dir, calibration, PRECISIONS
        )
        uint8 = bool(get_backend_config(deploy_cfg).get('uint8'))
        if uint8 and (precision != 'int8' or model is None):
            raise InputError(
                "backend_config.uint8 needs precision='int8' and tools/export.py"
            )
        if get_backend_config(deploy_cfg).get('keep_float'):
            raise InputError(
                'backend_config.keep_float is not offered for litert, whose converter '
                "does not keep the nodes' names; leave it out"
            )
        graph = onnx.load(ir_files[0])
        ending = detection.cut(graph)
        data = convert.to_tflite(simplify(graph))
        if precision == 'fp16':
            data = convert.to_fp16(data)
        elif precision == 'int8':
            # boxes need float32
            ends = uint8 and get_codebase_config(deploy_cfg)['type'] != 'mmdet'
            pixels = pixel_range(model) if uint8 else None
            data = convert.to_int8(data, calibration or (), pixels=pixels, ending=ends)
        if ending is not None:
            data = detection.append(data, ending)
        if processor is not None and model is not None:
            spec = preprocessing(processor.model_cfg.test_pipeline, model)
            hosts = {'mmdet': 'det', 'mmseg': 'seg', 'mmpretrain': 'cls'}
            spec['task'] = hosts[processor.model_cfg.default_scope]
            known = spec['task'] != 'det' or ending is not None
            if spec['color_order'] == 'RGB' and known:
                spec['classes'] = model.dataset_meta['classes']
                data = add_metadata(data, spec)
        file = Path(work_dir) / f'{Path(ir_files[0]).stem}.tflite'
        file.write_bytes(data)
        return [str(file)]


def pixel_range(model: nn.Module) -> tuple[float, float]:
    """The network input of pixels 0 and 255.

    Raises:
        InputError: it differs between channels, and uint8 has one scale.
    """
    processor = model.data_preprocessor
    ends = [(value - processor.mean) / processor.std for value in (0, 255)]
    if not all(torch.allclose(end, end.mean()) for end in ends):
        raise InputError(
            'backend_config.uint8 needs the same mean and std in all channels of '
            'model.data_preprocessor; leave it out'
        )
    low, high = (float(end.mean()) for end in ends)
    return low, high


@FUNCTION_REWRITER.register_rewriter(
    'mnv2_mm.models.ssdlite.head.SSDLiteHead.predict_by_feat', backend='litert'
)
def ssdlite_predict_by_feat__litert(
    self: nn.Module,
    cls_scores: Sequence[Tensor],
    bbox_preds: Sequence[Tensor],
    batch_img_metas: Sequence[Mapping] | None = None,
    cfg: Mapping | None = None,
    **kwargs: object,
) -> tuple[Tensor, ...]:
    """Maps of the levels -> codes and scores for TFLite_Detection_PostProcess.

    With ``codebase_config.postprocess_op=False`` the NMS consists of plain operators.
    """
    from mnv2_mm.deploy.detection import candidates, nms_rules, select
    from mnv2_mm.deploy.litert.detection import ending

    maps = cls_scores, bbox_preds, batch_img_metas
    test_cfg = self.test_cfg if cfg is None else cfg
    options = get_codebase_config(FUNCTION_REWRITER.get_context().cfg)
    if options.get('postprocess_op', True):
        return ending(self, *maps, test_cfg)
    rules = nms_rules(test_cfg)
    return select(*candidates(self, *maps, rules), dynamic=False, **rules)
