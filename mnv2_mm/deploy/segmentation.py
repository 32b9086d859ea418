"""Export segmentation, with or without resize and argmax in the graph.

mmseg resizes the logits to the input, crops the padding, resizes to the image,
and then takes the best class; mmdeploy takes the best class first, which costs
mIoU. ``codebase_config`` of the deploy config sets where the graph ends:

========================  =========================  =======================
``with_resize``           ``with_argmax``            output
========================  =========================  =======================
False                     False                      logits (B, C, h, w) of
                                                     the head, the default
True                      False                      logits (B, C, H, W)
True                      True                       classes (B, 1, H, W)
========================  =========================  =======================

The first two give mmseg's own prediction; the third does for images of the
input size.
"""

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace

import torch
from mmdeploy.codebase.mmseg.deploy import Segmentation, segmentation_model
from mmdeploy.codebase.mmseg.deploy.segmentation import MMSEG_TASK
from mmdeploy.core import FUNCTION_REWRITER
from mmdeploy.utils import Task, get_codebase_config
from mmengine.structures import BaseDataElement, PixelData
from mmseg.models.segmentors import BaseSegmentor
from torch import Tensor, nn
from torch.nn.functional import interpolate

from mnv2_mm.deploy.mmdeploy import backend_segmentors
from mnv2_mm.deploy.tasks import CheckedTask
from mnv2_mm.utils.errors import InputError


def graph_ending(deploy_cfg: Mapping) -> tuple[bool, bool]:
    """``with_resize`` and ``with_argmax`` of a deploy config.

    Raises:
        InputError: argmax without resize.
    """
    options = get_codebase_config(deploy_cfg)
    resize, argmax = (bool(options.get(f'with_{x}')) for x in ('resize', 'argmax'))
    if argmax and not resize:
        raise InputError(
            'codebase_config has with_argmax=True without with_resize=True, '
            'which would take the best class at 1/16 of the resolution; set '
            'both, or neither'
        )
    return resize, argmax


@FUNCTION_REWRITER.register_rewriter(
    'mnv2_mm.models.lite_aspp_head.LiteASPPHead.predict_by_feat'
)
def lite_aspp_predict_by_feat(
    self: nn.Module, seg_logits: Tensor, batch_img_metas: Sequence[Mapping]
) -> Tensor:
    """Logits of the head (B, C, h, w), resized to the input on request."""
    resize, _ = graph_ending(FUNCTION_REWRITER.get_context().cfg)
    if not resize:
        return seg_logits
    size = batch_img_metas[0]['img_shape']
    return interpolate(seg_logits, size, None, 'bilinear', self.align_corners)


@backend_segmentors().register_module('mnv2_mm_segmentor')
class BackendSegmentor(segmentation_model.End2EndModel):
    """An exported segmentor with mmseg's own postprocessing."""

    #: what the postprocessing reads of the decode head
    head = SimpleNamespace(align_corners=True, threshold=None)

    def forward(
        self,
        inputs: Tensor,
        data_samples: list[BaseDataElement],
        mode: str = 'predict',
        **_: object,
    ) -> list[BaseDataElement]:
        """Predict for (B, 3, H, W), in pixels of the images."""
        assert mode == 'predict', f'an exported model only predicts; mode={mode!r}'
        (output,) = self.wrapper({self.input_name: inputs}).values()
        resize, argmax = graph_ending(self.deploy_cfg)
        if argmax:
            return self._from_classes(output, data_samples)
        corners = self.head.align_corners
        if not resize:
            output = interpolate(output, inputs.shape[2:], None, 'bilinear', corners)
        ending = SimpleNamespace(align_corners=corners, decode_head=self.head)
        return BaseSegmentor.postprocess_result(ending, output, data_samples)

    @staticmethod
    def _from_classes(
        classes: Tensor, data_samples: list[BaseDataElement]
    ) -> list[BaseDataElement]:
        """Crop the padding and resize a class map (B, 1, H, W)."""
        for found, sample in zip(classes, data_samples, strict=True):
            meta = sample.metainfo
            padding = meta.get('img_padding_size') or meta.get('padding_size')
            left, right, top, bottom = padding or [0] * 4
            rows, columns = found.shape[-2:]
            found = found[:, top : rows - bottom, left : columns - right]
            # nearest neighbor; nothing changes at the same size
            found = interpolate(found[None].to(torch.float32), meta['ori_shape'])[0]
            sample.pred_sem_seg = PixelData(data=found.to(torch.int64))
        return data_samples


@MMSEG_TASK.register_module(Task.SEGMENTATION.value, force=True)
class CheckedSegmentation(CheckedTask, Segmentation):
    """mmdeploy's task for mmseg; see :class:`CheckedTask`."""

    def build_pytorch_model(self, *args: object, **kwargs: object) -> nn.Module:
        """The model; raises an InputError for one that predicts part by part."""
        model = super().build_pytorch_model(*args, **kwargs)
        if (mode := model.test_cfg.get('mode', 'whole')) != 'whole':
            raise InputError(
                f'model.test_cfg.mode is {mode!r}, and a graph predicts the image as a '
                'whole; give --model-options model.test_cfg.mode=whole, or use the '
                'checkpoint'
            )
        return model

    def build_backend_model(
        self,
        model_files: Sequence[str] | None = None,
        data_preprocessor_updater: Callable | None = None,
        **kwargs: object,
    ) -> nn.Module:
        """The exported model, with the settings of the decode head."""
        model = super().build_backend_model(
            model_files, data_preprocessor_updater, **kwargs
        )
        head = self.model_cfg.model.decode_head
        model.head = SimpleNamespace(
            # LiteASPPHead's default, which is not that of mmseg's heads
            align_corners=head.get(
                'align_corners', head['type'].endswith('LiteASPPHead')
            ),
            threshold=head.get('threshold') or 0.3,
        )
        return model
