"""MobileNetV1, NASNet-A and DeepLab's ResNet against TF and the tables."""

import functools
import math

import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool2d, max_pool2d
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from mnv2_mm.models import MobileNetV1, NASNetA
from mnv2_mm.models.baselines.nasnet_a import (
    NORMAL,
    REDUCTION,
    STAGES,
    Cell,
    FactorizedReduction,
)
from mnv2_mm.models.tapped_backbone import FeatureInfo
from mnv2_mm.registry import MODELS
from mnv2_mm.utils.errors import InputError

pytest.importorskip('mmseg.models')

from mnv2_mm.models.baselines.resnet_deeplab import DeepLabResNet

# TF-slim's end points and strides at width 1.0
V1_CHANNELS = (64, 128, 256, 512, 1024)
V1_STRIDES = (2, 4, 8, 16, 32)


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@functools.cache
def on_meta(build: type[nn.Module]) -> nn.Module:
    with torch.device('meta'):
        return build().eval()


def multiply_adds(net: nn.Module, size: int) -> float:
    """Of a network on the meta device; the counter counts two of each."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(torch.empty(1, 3, size, size, device='meta'))
    return counter.get_total_flops() / 2


@pytest.mark.parametrize(
    ('build', 'size', 'count', 'mult_adds'),
    [
        # Table 4 counts 4.232M and 568.7M with a classifier of 1000 classes
        (MobileNetV1, 224, 4_231_976 - 1_025_000, 568_740_352 - 1_024_000),
        # 5.290M with the classifier. 563.6M multiply-adds with it, and 564M
        # in the paper; a count of 568.2M also found is that of a PyTorch port
        # that computes an extra row and column in its reductions and cuts
        # them off.
        (NASNetA, 224, 5_289_978 - 1_057_000, 563_638_816 - 1_056_000),
        # 58.164M and 76.05G with the head of Table 7
        (DeepLabResNet, 513, 42_623_936, 59_702_658_752),
    ],
)
def test_counts(build, size, count, mult_adds):
    net = on_meta(build)
    assert parameters(net) == count
    assert multiply_adds(net, size) == mult_adds


@pytest.mark.parametrize('type_', ['MobileNetV1', 'NASNetA', 'DeepLabResNet'])
def test_builds_from_a_config_of_a_host(type_):
    from mmseg.registry import MODELS as HOST

    with torch.device('meta'):
        assert type(HOST.build(dict(type=f'mnv2_mm.{type_}'))) is MODELS.get(type_)


# ------------------------------------------------------------- MobileNetV1
@pytest.mark.parametrize('size', [224, 300, 97])
@pytest.mark.parametrize('padding', ['symmetric', 'same'])
def test_v1_taps_have_the_announced_channels_and_strides(size, padding):
    taps = ('Conv2d_13_pointwise', 'Conv2d_0', 'Conv2d_12_depthwise', 3)
    net = MobileNetV1(1.0, taps, padding=padding).eval()
    assert net.out_channels == (1024, 32, 512, 512)
    assert net.out_strides == (32, 2, 32, 16)
    maps = net(torch.rand(1, 3, size, size))
    for x, channels, stride in zip(
        maps, net.out_channels, net.out_strides, strict=True
    ):
        side = size
        for _ in range(int(math.log2(stride))):
            side = math.ceil(side / 2)
        assert x.shape == (1, channels, side, side)


def test_v1_stage_indices_are_the_last_pair_of_each_stride():
    names = [f'Conv2d_{k}_pointwise' for k in (1, 3, 5, 11, 13)]
    net = MobileNetV1(1.0, (*range(5), *names)).eval()
    assert net.out_channels == V1_CHANNELS * 2
    assert net.out_strides == V1_STRIDES * 2
    maps = net(torch.rand(1, 3, 33, 33))
    for a, b in zip(maps[:5], maps[5:], strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ('width', 'channels'),
    [
        (0.25, (8, 16, 32, 64, 128, 256)),
        (0.1, (8, 8, 12, 25, 51, 102)),  # truncated, at least 8
        (1.4, (44, 89, 179, 358, 716, 1433)),
    ],
)
def test_v1_width_rounds_as_tf(width, channels):
    net = MobileNetV1(width, ('Conv2d_0', *range(5)))
    assert net.out_channels == channels


# (stride, rate) of the depthwise convolutions of Conv2d_2, 4, 5, 6, 7-11, 12
# and 13 by TF's rule
V1_PLANS = {
    32: [(2, 1), (2, 1), (1, 1), (2, 1), (1, 1), (2, 1), (1, 1)],
    16: [(2, 1), (2, 1), (1, 1), (2, 1), (1, 1), (1, 1), (1, 2)],
    8: [(2, 1), (2, 1), (1, 1), (1, 1), (1, 2), (1, 2), (1, 4)],
}


@pytest.mark.parametrize('output_stride', V1_PLANS)
def test_v1_rates_follow_tf(output_stride):
    net = MobileNetV1(0.25, output_stride=output_stride).eval()
    convs = [
        pair.depthwise_conv.conv for stage in net.stages for pair in getattr(net, stage)
    ]
    assert len(convs) == 13
    plan = [(c.stride[0], c.dilation[0]) for c in convs]  # Conv2d_1 first
    groups = [(2, 2), (4, 4), (5, 5), (6, 6), (7, 11), (12, 12), (13, 13)]
    for (first, last), expected in zip(groups, V1_PLANS[output_stride], strict=True):
        assert set(plan[first - 1 : last]) == {expected}, first
    assert net.out_strides == (output_stride,)
    (x,) = net(torch.rand(1, 3, 64, 64))
    assert x.shape[-1] == 64 // output_stride


def test_v1_pairs_are_activated_twice_and_have_no_shortcut():
    net = MobileNetV1(1.0, ('Conv2d_7_depthwise', 3), init_cfg=None).eval()
    depth, point = net(20 * torch.rand(1, 3, 64, 64))
    assert depth.min() == point.min() == 0
    norm = net.layer4[-1].pointwise_conv.bn
    with torch.no_grad():
        norm.weight.zero_()
    assert not net(torch.rand(1, 3, 64, 64))[1].any()


def test_v1_builds_only_what_the_deepest_tap_needs():
    net = MobileNetV1(1.0, ('Conv2d_11_pointwise',))
    assert net.stages == ['layer1', 'layer2', 'layer3', 'layer4']
    assert not hasattr(net, 'layer5')


def test_v1_bn_and_initialisation_are_tfs():
    net = MobileNetV1()
    norms = [m for m in net.modules() if isinstance(m, _BatchNorm)]
    assert len(norms) == 27
    assert {(m.eps, m.momentum) for m in norms} == {(1e-3, 3e-4)}
    net.init_weights()
    weight = net.layer5[1].pointwise_conv.conv.weight.detach()
    assert weight.abs().max() <= 0.18
    assert weight.std().item() == pytest.approx(0.0792, abs=3e-4)


# ---------------------------------------------------------------- NASNet-A
@pytest.mark.parametrize('size', [(64, 64), (97, 130)])
def test_nasnet_maps_have_the_announced_channels_and_strides(size):
    net = NASNetA(1, 96, stem_channels=8, out_indices=(2, 0, 1)).eval()
    assert net.out_channels == (96, 24, 48)
    assert net.out_strides == (32, 8, 16)
    maps = net(torch.randn(1, 3, *size))
    sides = [[(side - 3) // 2 + 1] for side in size]  # no padding here
    for column in sides:
        while len(column) < 5:
            column.append(math.ceil(column[-1] / 2))
    rows, columns = sides
    for x, channels, level in zip(maps, net.out_channels, (4, 2, 3), strict=True):
        assert x.shape == (1, channels, rows[level], columns[level])
        assert x.min() >= 0


def test_nasnet_published_size():
    net = on_meta(NASNetA)
    assert (net.out_channels, net.out_strides) == ((1056,), (32,))
    (x,) = net(torch.empty(1, 3, 224, 224, device='meta'))
    assert x.shape == (1, 1056, 7, 7)
    cells = [cell for name in STAGES[1:] for cell in getattr(net, name)]
    assert len(cells) == 3 * 4 + 2
    convs = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    kernels = {c.kernel_size[0] for c in convs if c.groups == c.in_channels}
    assert kernels == {3, 5, 7}


def test_nasnet_reads_the_map_before_the_last_too():
    """A cell after a reduction takes the map before that, reduced."""
    net = NASNetA(1, 96, stem_channels=8)
    assert isinstance(net.layer2[1].fit_before, FactorizedReduction)
    assert not isinstance(net.layer2[0].fit_before, FactorizedReduction)
    x = torch.randn(2, 3, 64, 64)
    before = net(x)[0].detach()
    with torch.no_grad():
        net.layer3[1].fit_before.conv.norm.weight.zero_()
    assert not torch.equal(net(x)[0], before)


@pytest.mark.parametrize('stride', [1, 2])
def test_nasnet_cells_are_those_of_the_figure(stride):
    """Written out: no count shows which map an operation reads."""
    cell = Cell(
        NORMAL if stride == 1 else REDUCTION,
        4,
        here=FeatureInfo(6, 8),
        before=FeatureInfo(5, 8),
        stride=stride,
        norm_cfg=dict(type='BN'),
    ).eval()
    here, before = torch.randn(1, 6, 9, 9), torch.randn(1, 5, 9, 9)
    h, b = cell.fit_here(here), cell.fit_before(before)
    left, right = cell.left, cell.right
    if stride == 1:
        wanted = [
            b,
            left[0](h) + right[0](b),
            left[1](b) + right[1](b),
            avg_pool(h) + b,
            2 * avg_pool(b),
            left[4](h) + h,
        ]
        kernels = [5, 3, 5, 3, 3]
    else:
        first = left[0](h) + right[0](b)
        second = max_pool2d(h, 3, 2, 1) + right[1](b)
        wanted = [
            second,
            avg_pool(h, 2) + right[2](b),
            second + avg_pool(first),
            left[4](first) + max_pool2d(h, 3, 2, 1),
        ]
        kernels = [5, 7, 7, 5, 3]
    out = cell(here, before)
    assert torch.allclose(out, torch.cat(wanted, 1), atol=1e-6)
    assert cell.out == FeatureInfo(out.shape[1], 8 * stride)
    ops = [op for pair in zip(left, right, strict=True) for op in pair]
    ops = [op for op in ops if isinstance(op, nn.Sequential)]
    assert [op[1].kernel_size[0] for op in ops] == kernels


def avg_pool(x: torch.Tensor, stride: int = 1) -> torch.Tensor:
    """3x3 average of the pixels that are there."""
    ones = torch.ones_like(x)
    total, there = (avg_pool2d(t, 3, stride, 1) for t in (x, ones))
    return total / there


@pytest.mark.parametrize('side', [6, 7])
def test_factorized_reduction_reads_every_second_pixel_twice(side):
    """Even pixels feed the first half of the channels, odd ones the rest."""
    net = FactorizedReduction(1, 2, dict(type='BN')).eval()
    nn.init.ones_(net.conv.conv.weight)
    x = torch.rand(1, 1, side, side) + 1
    out = net(x) * (1 + net.conv.norm.eps) ** 0.5
    assert torch.allclose(out[:, :1], x[:, :, ::2, ::2])
    odd = x[:, :, 1::2, 1::2]
    assert out.shape[-1] == math.ceil(side / 2)
    assert torch.allclose(out[:, 1:, : side // 2, : side // 2], odd)
    assert not out[:, 1:, side // 2 :].any()  # beyond the edge: zeros


def test_nasnet_batch_norm_and_initialisation():
    net = NASNetA(1, 96, stem_channels=8)
    norms = [m for m in net.modules() if isinstance(m, _BatchNorm)]
    assert {(m.eps, m.momentum) for m in norms} == {(1e-3, 3e-4)}
    net.init_weights()
    weight = net.layer3[0].fit_here.conv.weight
    wanted = (2 / weight.shape[0]) ** 0.5  # fan out
    assert weight.std().item() == pytest.approx(wanted, rel=0.1)


def test_nasnet_branches_do_not_change_what_others_read():
    """An activation in place would hand negative-free maps to the pools."""
    net = NASNetA(1, 96, stem_channels=8)
    for module in net.modules():
        if isinstance(module, nn.ReLU):
            assert not module.inplace


# ------------------------------------------------------------------ ResNet
# (stride, rate) of the 3x3 convolutions: last unit of the stages 1, 2 and 3,
# another unit of stage 3, the units of stage 4
RESNET_PLANS = {
    32: [(2, 1), (2, 1), (2, 1), (1, 1), (1, 1), (1, 2), (1, 4)],
    16: [(2, 1), (2, 1), (1, 1), (1, 1), (1, 2), (1, 4), (1, 8)],
    8: [(2, 1), (1, 1), (1, 2), (1, 2), (1, 4), (1, 8), (1, 16)],
}


@pytest.mark.parametrize('output_stride', RESNET_PLANS)
def test_resnet_rates_follow_tf(output_stride):
    with torch.device('meta'):
        net = DeepLabResNet(50, (0, 1, 2, 3), output_stride=output_stride).eval()
    units = [net.layer1[-1], net.layer2[-1], net.layer3[-1], net.layer3[0], *net.layer4]
    plan = [(u.conv2.stride[0], u.conv2.dilation[0]) for u in units]
    assert plan == RESNET_PLANS[output_stride]
    strides = tuple(min(s, output_stride) for s in (8, 16, 32, 32))
    assert net.out_strides == strides
    assert net.out_channels == (256, 512, 1024, 2048)
    maps = net(torch.empty(1, 3, 65, 65, device='meta'))
    assert [x.shape[-1] for x in maps] == [64 // s + 1 for s in strides]


def test_resnet_strides_in_the_last_unit_only():
    net = DeepLabResNet(50, output_stride=32)
    for stage in (net.layer1, net.layer2, net.layer3):
        *first, last = stage
        assert {u.conv2.stride for u in first} == {(1, 1)}
        assert last.conv2.stride == (2, 2)
        # every second pixel as it is
        x = torch.rand(1, 2, 5, 5)
        assert torch.equal(last.downsample(x), x[:, :, ::2, ::2])
    assert net.layer4[-1].downsample is None


def test_resnet_stem_is_64_64_128():
    net = DeepLabResNet(50)
    convs = [m for m in net.stem if isinstance(m, nn.Conv2d)]
    assert [c.out_channels for c in convs] == [64, 64, 128]
    assert {c.kernel_size for c in convs} == {(3, 3)}
    norms = [m for m in net.modules() if isinstance(m, _BatchNorm)]
    assert {(m.eps, m.momentum) for m in norms} == {(1e-5, 0.05)}
    net.init_weights()
    assert all((m.weight == 1).all() for m in norms)


# --------------------------------------------------------------------- all
def small(name: str, **kwargs) -> nn.Module:
    if name == 'v1':
        return MobileNetV1(0.25, **kwargs)
    if name == 'nasnet':
        return NASNetA(1, 96, stem_channels=8, **kwargs)
    return DeepLabResNet(50, **kwargs)


@pytest.mark.parametrize('name', ['v1', 'nasnet'])
@pytest.mark.parametrize('size', [32, 64])
def test_batch_of_one_trains(name, size):
    """At 32 px the last map is one pixel, whose variance does not exist."""
    net = small(name).train()
    (x,) = net(torch.rand(1, 3, size, size))
    x.square().sum().backward()
    grads = [p.grad for p in net.parameters() if p.grad is not None]
    assert all(torch.isfinite(g).all() for g in grads)
    assert len(grads) == len(list(net.parameters()))


@pytest.mark.parametrize(
    ('name', 'stem'), [('v1', 'conv1'), ('nasnet', 'stem'), ('resnet', 'stem')]
)
def test_frozen_stages_keep_parameters_and_statistics(name, stem):
    net = small(name, frozen_stages=2)
    assert net.train() is net
    before = {k: v.clone() for k, v in net.state_dict().items()}
    net(torch.rand(2, 3, 64, 64))[0].sum().backward()
    for part in (stem, 'layer1', 'layer2', 'layer3'):
        module = getattr(net, part)
        still = part != 'layer3'
        assert all(p.requires_grad != still for p in module.parameters())
        same = all(
            torch.equal(before[f'{part}.{k}'], v)
            for k, v in module.state_dict().items()
        )
        assert same == still, part


@pytest.mark.parametrize('name', ['v1', 'nasnet', 'resnet'])
def test_norm_eval_fixes_statistics_but_trains_parameters(name):
    net = small(name, norm_eval=True).train()
    norms = [m for m in net.modules() if isinstance(m, _BatchNorm)]
    assert not any(m.training for m in norms)
    assert all(p.requires_grad for p in net.parameters())


@pytest.mark.parametrize(
    ('build', 'kwargs', 'named'),
    [
        (MobileNetV1, dict(widen_factor=0), '0.25 0.5 0.75'),
        (MobileNetV1, dict(out_indices=(5,)), '0..4'),
        (MobileNetV1, dict(out_indices=('Conv2d_14_pointwise',)), 'Conv2d_13'),
        (MobileNetV1, dict(out_indices=('Conv2d_0_depthwise',)), 'Conv2d_1_'),
        (MobileNetV1, dict(out_indices='Conv2d_0'), 'sequence'),
        (MobileNetV1, dict(output_stride=4), '32'),
        (MobileNetV1, dict(padding='valid'), 'symmetric'),
        (MobileNetV1, dict(frozen_stages=6), '5'),
        (NASNetA, dict(num_repeats=0), 'at least 1'),
        (NASNetA, dict(penultimate_channels=1000), 'multiple of 96'),
        (NASNetA, dict(out_indices=(3,)), '0..2'),
        (NASNetA, dict(out_indices=()), 'non-empty'),
        (NASNetA, dict(frozen_stages=4), '3'),
        (DeepLabResNet, dict(depth=18), '101'),
        (DeepLabResNet, dict(out_indices=(4,)), '0..3'),
        (DeepLabResNet, dict(output_stride=12), '16'),
        (DeepLabResNet, dict(multi_grid=(1, 2)), 'three'),
    ],
)
def test_bad_arguments_name_the_value_and_the_remedy(build, kwargs, named):
    with pytest.raises(InputError) as caught:
        build(**kwargs)
    assert named in str(caught.value)
    assert next(iter(kwargs)) in str(caught.value)
