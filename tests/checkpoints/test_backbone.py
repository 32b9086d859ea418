"""State dicts of other code bases in the backbone."""

import pytest
import torch
from other_networks import (
    d_li14_net,
    mmdet_net,
    mmpretrain_net,
    mmseg_net,
    randomize,
    timm_net,
    torchvision_net,
)

from mnv2_mm.checkpoints import load_backbone
from mnv2_mm.models.mobilenet_v2 import MobileNetV2
from mnv2_mm.utils.errors import InputError

EPS = dict(type='BN', eps=1e-5)


@pytest.mark.parametrize('width', [1.0, 0.5])
@pytest.mark.parametrize(
    ('make', 'tap', 'features'),
    [
        (torchvision_net, 7, lambda net, x: net.features(x)),
        (timm_net, 7, lambda net, x: net.forward_features(x)),
        (d_li14_net, 7, lambda net, x: net.conv(net.features(x))),
        (mmpretrain_net, 7, lambda net, x: net(x)[0]),
        (mmdet_net, 7, lambda net, x: net(x)[0]),
        (mmseg_net, 6, lambda net, x: net(x)[-1]),
    ],
)
def test_output_equals_the_other_networks(make, tap, features, width, tmp_path):
    torch.manual_seed(0)
    other = randomize(make(width))
    path = str(tmp_path / 'other.pth')
    torch.save(other.state_dict(), path)
    # all arguments of mmengine's initializer
    init_cfg = dict(type='Pretrained', checkpoint=path, prefix=None, map_location='cpu')
    ours = MobileNetV2(width, (tap,), norm_cfg=EPS, init_cfg=init_cfg)
    ours.init_weights()
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected, (got,) = features(other, x), ours.eval()(x)
    assert torch.allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_the_report_accounts_for_every_tensor(tmp_path):
    other = torchvision_net(1.0)
    path = str(tmp_path / 'other.pth')
    torch.save(other.state_dict(), path)
    report = load_backbone(MobileNetV2(1.0, ('layer_18',)), path)
    assert report.key_map == 'torchvision' and not report.missing
    unused = set(report.unused)
    assert {'classifier.1.weight', 'features.18.0.weight'} <= unused
    state = other.state_dict()
    counted = [key for key in state if not key.endswith('num_batches_tracked')]
    assert sorted([*report.matched.values(), *unused]) == sorted(counted)
    del state['features.3.conv.0.0.weight']
    torch.save(state, path)
    report = load_backbone(MobileNetV2(), path)
    assert report.missing == ['layer2.1.expand_conv.conv.weight']
    assert 'layer2.1.expand_conv.conv.weight' in str(report)


def test_a_prefix_is_stripped_and_named_when_wrong(tmp_path):
    net = MobileNetV2(0.35)
    path = str(tmp_path / 'detector.pth')
    weights = {f'model.backbone.{k}': v for k, v in net.state_dict().items()}
    torch.save(dict(state_dict=weights), path)
    other = MobileNetV2(0.35)
    assert not load_backbone(other, path, prefix='model.backbone').missing
    with pytest.raises(InputError, match='prefix'):
        load_backbone(other, path)


@pytest.mark.parametrize(
    ('weights', 'named'),
    [
        ({'fc.weight': torch.zeros(2)}, 'fc.weight'),
        ({}, 'no weights'),
        (MobileNetV2(1.0).state_dict(), 'widen_factor'),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights, named, tmp_path):
    path = str(tmp_path / 'other.pth')
    torch.save(weights, path)
    net = MobileNetV2(0.5)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with pytest.raises(InputError, match=named):
        load_backbone(net, path)
    after = net.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items())


def test_a_missing_file_is_named():
    with pytest.raises(InputError, match=r'no/such\.pth'):
        load_backbone(MobileNetV2(0.35), 'no/such.pth')
