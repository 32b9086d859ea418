"""Segmentation: resize and argmax in the graph are options.

mmseg resizes the logits to the input, cuts the padding off, resizes to the
image, and takes the best class then. mmdeploy takes the best class first
and resizes its map by nearest neighbors, which costs mIoU. What a graph
ends in is chosen in ``codebase_config`` of the deploy config:

========================  =========================  =======================
``with_resize``           ``with_argmax``            output
========================  =========================  =======================
False                     False                      logits (B, C, h, w) of
                                                     the head, the default
True                      False                      logits (B, C, H, W)
True                      True                       classes (B, 1, H, W)
========================  =========================  =======================

In the first two the image gets mmseg's own prediction, in the third it
does so where it has the size of the input.
"""

from collections.abc import Mapping, Sequence
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

from mnv2_mm.deploy.tasks import CheckedTask
from mnv2_mm.utils.errors import InputError

# mmdeploy gives its registry of backend models no public name
_MODELS = vars(segmentation_model)['__BACKEND_MODEL']


def graph_ending(deploy_cfg: Mapping) -> tuple[bool, bool]:
    """``with_resize`` and ``with_argmax`` of a deploy config.

    Raises:
        InputError: argmax without resize.
    """
    options = get_codebase_config(deploy_cfg)
    resize = bool(options.get('with_resize', False))
    argmax = bool(options.get('with_argmax', False))
    if argmax and not resize:
        raise InputError(
            'codebase_config has with_argmax=True without with_resize=True: '
            'the best class would be taken of logits at a stride of 16; set '
            'both, or neither'
        )
    return resize, argmax


@FUNCTION_REWRITER.register_rewriter(
    'mnv2_mm.models.lite_aspp_head.LiteASPPHead.predict_by_feat'
)
def lite_aspp_predict_by_feat(
    self: nn.Module, seg_logits: Tensor, batch_img_metas: Sequence[Mapping]
) -> Tensor:
    """Logits of the head, resized to the input where that is asked for."""
    ctx = FUNCTION_REWRITER.get_context()
    resize, _ = graph_ending(ctx.cfg)
    if not resize:
        return seg_logits
    return interpolate(
        seg_logits,
        size=batch_img_metas[0]['img_shape'],
        mode='bilinear',
        align_corners=self.align_corners,
    )


@_MODELS.register_module('mnv2_mm_segmentor')
class BackendSegmentor(segmentation_model.End2EndModel):
    """A built segmentor with mmseg's own ending, whatever the graph's.

    The attribute ``head`` has what that ending asks the decode head for:
    ``align_corners`` and ``threshold``.
    """

    head = SimpleNamespace(align_corners=True, threshold=None)

    def forward(
        self,
        inputs: Tensor,
        data_samples: list[BaseDataElement],
        mode: str = 'predict',
        **_: object,
    ) -> list[BaseDataElement]:
        """Predict for (B, 3, H, W), in pixels of the images."""
        assert mode == 'predict', f'a build predicts; mode={mode!r}'
        name = self.output_names[0]
        output = self.wrapper({self.input_name: inputs})[name]
        resize, argmax = graph_ending(self.deploy_cfg)
        if argmax:
            return self._from_classes(output, data_samples)
        if not resize:
            output = interpolate(
                output,
                size=inputs.shape[2:],
                mode='bilinear',
                align_corners=self.head.align_corners,
            )
        ending = SimpleNamespace(
            align_corners=self.head.align_corners, decode_head=self.head
        )
        return BaseSegmentor.postprocess_result(ending, output, data_samples)

    @staticmethod
    def _from_classes(
        classes: Tensor, data_samples: list[BaseDataElement]
    ) -> list[BaseDataElement]:
        """Cut the padding off and resize a map of classes."""
        for found, sample in zip(classes, data_samples, strict=True):
            meta = sample.metainfo
            padding = meta.get('img_padding_size') or meta.get('padding_size')
            left, right, top, bottom = padding or [0] * 4
            rows, columns = found.shape[-2:]
            found = found[:, top : rows - bottom, left : columns - right]
            if tuple(found.shape[-2:]) != tuple(meta['ori_shape']):
                floats = found[None].to(torch.float32)
                floats = interpolate(floats, size=meta['ori_shape'])
                found = floats[0]
            # ncnn gives classes as floats
            found = found.to(torch.int64)
            sample.pred_sem_seg = PixelData(data=found)
        return data_samples


@MMSEG_TASK.register_module(Task.SEGMENTATION.value, force=True)
class CheckedSegmentation(CheckedTask, Segmentation):
    """mmdeploy's task for mmseg; see :class:`CheckedTask`."""

    def build_backend_model(
        self, model_files: Sequence[str] | None = None, **kwargs: object
    ) -> nn.Module:
        """The build, with what its ending takes from the decode head."""
        model = super().build_backend_model(model_files, **kwargs)
        head = self.model_cfg.model.decode_head
        model.head = SimpleNamespace(
            # LiteASPPHead's default, which is not that of mmseg's heads
            align_corners=head.get(
                'align_corners', head['type'].endswith('LiteASPPHead')
            ),
            threshold=head.get('threshold') or 0.3,
        )
        return model
