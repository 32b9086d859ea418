"""DeepLab's evaluation at several scales, on a narrow network."""

import pytest
import torch

pytest.importorskip('mmseg.models')

from mmengine.registry import MODELS, init_default_scope

from mnv2_mm.utils.config import get_config


def built(kind: str, **settings: object) -> torch.nn.Module:
    cfg = get_config('official/deeplabv3_mnv2_voc').model
    cfg.update(type=kind, **settings)
    cfg.backbone.widen_factor = 0.35
    cfg.decode_head.in_channels = 112
    init_default_scope('mmseg')
    torch.manual_seed(0)
    model = MODELS.build(cfg).train()
    # statistics of images, or the random layers end in a constant
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    model.decode_head.conv_seg.weight.data *= 10
    model.decode_head.forward(model.extract_feat(torch.rand(4, 3, 65, 65)))
    return model.eval()


@pytest.fixture(scope='module')
def image() -> torch.Tensor:
    return torch.rand(1, 3, 65, 65, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_one_scale_is_the_softmax_of_the_segmentor(image: torch.Tensor) -> None:
    plain = built('EncoderDecoder')
    model = built('mnv2_mm.MultiScaleSegmentor', scales=(1.0,), flip=False)
    model.load_state_dict(plain.state_dict())
    meta = dict(img_shape=(65, 65), ori_shape=(65, 65))
    wanted = plain.whole_inference(image, [meta]).softmax(1)
    torch.testing.assert_close(model.whole_inference(image, [meta]), wanted)


@torch.no_grad()
def test_scales_and_mirror_images_are_averaged(image: torch.Tensor) -> None:
    model = built('mnv2_mm.MultiScaleSegmentor', scales=(0.5, 1.5))
    seen = []
    model.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape))
    found = model.whole_inference(image, [{}])
    assert [shape[-1] for shape in seen] == [33, 33, 97, 97]
    torch.testing.assert_close(found.sum(1), torch.ones(1, 65, 65))
    # the mirror image has the mirrored result
    mirrored = model.whole_inference(image.flip(3), [{}]).flip(3)
    model.flip = False
    without = model.whole_inference(image, [{}])
    # not exactly: a random network enlarges what the resize rounds
    assert (found - mirrored).abs().mean() < 0.02 * (found - without).abs().mean()
