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
    return MODELS.build(cfg).eval()


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
    torch.testing.assert_close(found, mirrored, atol=1e-5, rtol=1e-4)
    model.flip = False
    assert not torch.allclose(found, model.whole_inference(image, [{}]), atol=1e-5)
