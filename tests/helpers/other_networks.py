"""MobileNetV2 of other code bases, in the names that their files have."""

import pytest
from torch import nn


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


def randomize(net):
    """Statistics that a wrong assignment could not hide behind."""
    for tensor in net.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5)
            if tensor.dim() == 4:
                tensor.sub_(1).mul_(0.3)
    net.eval()  # returns None in the hosts
    return net
