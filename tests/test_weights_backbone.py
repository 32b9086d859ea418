"""State dicts of other code bases in the backbone."""

import pytest
import torch
from torch import nn

from mnv2_mm.errors import InputError
from mnv2_mm.models.mobilenet_v2 import MobileNetV2
from mnv2_mm.weights import load_backbone

EPS = dict(type='BN', eps=1e-5)


def torchvision_net(width):
    torchvision = pytest.importorskip('torchvision')
    return torchvision.models.mobilenet_v2(width_mult=width)


def timm_net(width):
    timm = pytest.importorskip('timm')
    return timm.create_model(f'mobilenetv2_{round(width * 100):03d}')


class FlatBlock(nn.Module):
    """An inverted residual as d-li14 names it: one flat sequence."""

    def __init__(self, layers, *, shortcut):
        super().__init__()
        self.conv = nn.Sequential(*layers)
        self.shortcut = shortcut

    def forward(self, x):
        return self.conv(x) + x if self.shortcut else self.conv(x)


class FlatNet(nn.Module):
    """MobileNetV2 by the names of d-li14/mobilenetv2.pytorch."""

    def __init__(self, channels):
        super().__init__()
        stem, *outputs, last = channels

        def conv(fan_in, out, kernel=1, act=True, **kwargs):
            yield nn.Conv2d(
                fan_in, out, kernel, padding=kernel // 2, bias=False, **kwargs
            )
            yield nn.BatchNorm2d(out)
            if act:
                yield nn.ReLU6()

        parts = [nn.Sequential(*conv(3, stem, 3, stride=2))]
        channel = stem
        rows = zip(
            (1, 6, 6, 6, 6, 6, 6),
            outputs,
            (1, 2, 3, 4, 3, 3, 1),
            (1, 2, 2, 2, 1, 2, 1),
            strict=True,
        )
        for expand, out, repeats, stride in rows:
            for index in range(repeats):
                step = stride if index == 0 else 1
                hidden = expand * channel
                layers = [*conv(channel, hidden)] if expand > 1 else []
                layers += conv(hidden, hidden, 3, stride=step, groups=hidden)
                layers += conv(hidden, out, act=False)
                shortcut = step == 1 and channel == out
                parts.append(FlatBlock(layers, shortcut=shortcut))
                channel = out
        self.features = nn.Sequential(*parts)
        self.conv = nn.Sequential(*conv(channel, last))
        self.classifier = nn.Linear(last, 1000)

    def forward(self, x):
        x = self.conv(self.features(x))
        return self.classifier(x.mean((2, 3)))


def d_li14_net(width):
    return FlatNet(
        {
            1.0: (32, 16, 24, 32, 64, 96, 160, 320, 1280),
            0.5: (16, 8, 16, 16, 32, 48, 80, 160, 1280),
        }[width]
    )


def mmpretrain_net(width):
    pytest.importorskip('mmpretrain.models')
    from mmpretrain.models import MobileNetV2 as Host

    return Host(widen_factor=width)


def mmdet_net(width):
    pytest.importorskip('mmdet.models')
    from mmdet.models import MobileNetV2 as Host

    return Host(widen_factor=width, out_indices=(7,))


def mmseg_net(width):
    pytest.importorskip('mmseg.models')
    from mmseg.models import MobileNetV2 as Host

    return Host(widen_factor=width, strides=(1, 2, 2, 2, 1, 2, 1))


def randomise(net):
    """Statistics that a wrong assignment could not hide behind."""
    for tensor in net.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5)
            if tensor.dim() == 4:
                tensor.sub_(1).mul_(0.3)
    net.eval()  # returns None in the hosts
    return net


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
def test_output_equals_the_other_networks(
    make, tap, features, width, tmp_path
):
    torch.manual_seed(0)
    other = randomise(make(width))
    path = str(tmp_path / 'other.pth')
    torch.save(other.state_dict(), path)
    ours = MobileNetV2(
        width,
        (tap,),
        norm_cfg=EPS,
        init_cfg=dict(type='Pretrained', checkpoint=path),
    )
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
    assert report.flavour == 'torchvision' and not report.missing
    unused = set(report.unused)
    assert {'classifier.1.weight', 'features.18.0.weight'} <= unused
    assert len(report.matched) + len(unused) == len(other.state_dict())
    state = other.state_dict()
    del state['features.3.conv.0.0.weight']
    torch.save(state, path)
    report = load_backbone(MobileNetV2(), path)
    assert report.missing == ['layer2.1.expand_conv.conv.weight']
    assert 'left at their initial values: layer2.1' in str(report)


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
