"""The backbone against the facts of TF, the paper and the hosts."""

import copy
import math

import pytest
import torch
from mmengine.model import PretrainedInit
from torch.nn.modules.batchnorm import _BatchNorm

from mnv2_mm.models.mobilenet_v2 import END_POINTS, STAGE_ENDS, MobileNetV2
from mnv2_mm.utils.errors import InputError

# stem | seven stages | last, as TF-slim builds them
WIDTHS = {
    0.35: (16, 8, 8, 16, 24, 32, 56, 112, 1280),
    0.5: (16, 8, 16, 16, 32, 48, 80, 160, 1280),
    0.75: (24, 16, 24, 24, 48, 72, 120, 240, 1280),
    1.0: (32, 16, 24, 32, 64, 96, 160, 320, 1280),
    1.3: (40, 24, 32, 40, 80, 128, 208, 416, 1664),
    1.4: (48, 24, 32, 48, 88, 136, 224, 448, 1792),
}
ALL = ('layer_1', *range(8))


@pytest.mark.parametrize('width', WIDTHS)
def test_width_rounds_as_tf(width):
    net = MobileNetV2(width, ALL)
    assert net.out_channels == WIDTHS[width]


@pytest.mark.parametrize(
    ('width', 'shrunk'), [(0.35, 448), (0.75, 960), (1.0, 1280), (1.4, 1792)]
)
def test_last_conv_shrinks_for_detection(width, shrunk):
    assert MobileNetV2(width, shrink_last=True).out_channels == (shrunk,)


@pytest.mark.parametrize('size', [224, 300, 97])
@pytest.mark.parametrize('padding', ['symmetric', 'same'])
def test_taps_have_the_announced_channels_and_strides(size, padding):
    taps = ('layer_18', 'layer_15/expansion_output', 3, 'layer_9', 7)
    net = MobileNetV2(1.0, taps, padding=padding).eval()
    assert net.out_channels == (320, 576, 64, 64, 1280)
    assert net.out_strides == (32, 16, 16, 16, 32)
    maps = net(torch.rand(1, 3, size, size))
    for x, channels, stride in zip(
        maps, net.out_channels, net.out_strides, strict=True
    ):
        side = size
        for _ in range(int(math.log2(stride))):
            side = math.ceil(side / 2)
        assert x.shape == (1, channels, side, side)


def test_expansion_tap_is_the_tensor_before_the_depthwise():
    net = MobileNetV2(1.0, ('layer_15/expansion_output', 'layer_14')).eval()
    expansion, layer_14 = net(torch.rand(1, 3, 64, 64))
    assert torch.equal(expansion, net.layer6[0].expand_conv(layer_14))
    assert expansion.min() == 0 and expansion.max() <= 6  # after ReLU6


def test_bottlenecks_are_linear():
    (x,) = MobileNetV2(1.0, ('layer_18',)).eval()(torch.rand(1, 3, 64, 64))
    assert x.min() < 0


# (stride, rate) of the depthwise convolutions of layer_8, 9-11, 12-14, 15,
# 16-17 and 18 by TF's rule
PLANS = {
    32: [(2, 1), (1, 1), (1, 1), (2, 1), (1, 1), (1, 1)],
    16: [(2, 1), (1, 1), (1, 1), (1, 1), (1, 2), (1, 2)],
    8: [(1, 1), (1, 2), (1, 2), (1, 2), (1, 4), (1, 4)],
}


@pytest.mark.parametrize('output_stride', PLANS)
def test_output_stride_follows_tf(output_stride):
    net = MobileNetV2(0.35, output_stride=output_stride)
    convs = [block.depthwise_conv.conv for block in net.blocks]
    plan = [(c.stride[0], c.dilation[0]) for c in convs]  # layer_2 first
    groups = [(8, 8), (9, 11), (12, 14), (15, 15), (16, 17), (18, 18)]
    for (first, last), expected in zip(groups, PLANS[output_stride], strict=True):
        assert set(plan[first - 2 : last - 1]) == {expected}
    assert net.out_strides == (output_stride,)
    assert net.eval()(torch.rand(1, 3, 64, 64))[0].shape[-1] == (64 // output_stride)


def test_same_padding_is_tensorflows():
    """On an even input SAME pads the bottom and the right side only."""
    net = MobileNetV2(0.35, ('layer_1',), padding='same').eval()
    x = torch.rand(1, 3, 8, 8)
    conv = net.conv1.conv
    padded = torch.nn.functional.pad(x, (0, 1, 0, 1))
    expected = torch.nn.functional.conv2d(padded, conv.weight, stride=2)
    assert torch.allclose(conv(x), expected)
    # with an odd input both rules are the same
    other = MobileNetV2(0.35, ('layer_1',)).eval()
    other.load_state_dict(net.state_dict())
    x = torch.rand(1, 3, 9, 9)
    assert torch.allclose(net(x)[0], other(x)[0])


def test_only_what_the_deepest_tap_needs_is_built():
    assert not hasattr(MobileNetV2(1.0, ('layer_18',)), 'conv2')
    assert MobileNetV2(1.0, (2,)).stages == ['layer1', 'layer2', 'layer3']


def test_feature_info_names_every_end_point_that_is_built():
    info = MobileNetV2(1.0, ('layer_15/expansion_output',)).feature_info
    assert info['layer_15/expansion_output'] == (576, 16)
    assert info['layer_14'] == (96, 16) and 'layer_16' not in info
    assert set(MobileNetV2().feature_info) == set(END_POINTS)
    ends = MobileNetV2(1.0, (*STAGE_ENDS, 'layer_18/output'))
    assert ends.out_channels == (*WIDTHS[1.0][1:], 320)
    assert ends.taps == MobileNetV2(1.0, (*range(8), 6)).taps


def test_parameter_counts():
    """Table 4: 3.47M weights with the classifier of 1000 classes."""
    net = MobileNetV2()
    weights = sum(
        m.weight.numel() for m in net.modules() if isinstance(m, torch.nn.Conv2d)
    )
    assert weights + 1280 * 1000 + 1000 == 3_470_760
    with_bn = sum(p.numel() for p in net.parameters())
    assert with_bn == 2_223_872


def test_bn_and_initialisation_are_tfs():
    net = MobileNetV2()
    norms = [m for m in net.modules() if isinstance(m, _BatchNorm)]
    assert {(m.eps, m.momentum) for m in norms} == {(1e-3, 0.003)}
    net.init_weights()
    # a normal of deviation .09 cut at two deviations has .88 of it left
    for conv in (net.conv1.conv, net.layer6[1].depthwise_conv.conv):
        assert conv.weight.abs().max() <= 0.18
    assert net.conv2.conv.weight.std().item() == pytest.approx(0.0792, abs=3e-4)


@pytest.mark.parametrize('frozen', [-1, 0, 3, 7])
def test_frozen_stages_keep_parameters_and_statistics(frozen):
    net = MobileNetV2(0.35, frozen_stages=frozen)
    assert net.train() is net
    before = {k: v.clone() for k, v in net.state_dict().items()}
    net(torch.rand(2, 3, 32, 32))[0].sum().backward()
    names = ['conv1', *(f'layer{i}' for i in range(1, 8)), 'conv2']
    for index, name in enumerate(names):
        module = getattr(net, name)
        still = index <= frozen
        assert all(p.requires_grad != still for p in module.parameters())
        assert all((p.grad is None) == still for p in module.parameters())
        same = all(
            torch.equal(before[f'{name}.{k}'], v)
            for k, v in module.state_dict().items()
        )
        assert same == still


def test_norm_eval_fixes_statistics_but_trains_parameters():
    net = MobileNetV2(0.35, norm_eval=True).train()
    norms = [m for m in net.modules() if isinstance(m, _BatchNorm)]
    assert not any(m.training for m in norms)
    assert all(p.requires_grad for p in net.parameters())


def test_with_cp_changes_no_gradient():
    torch.manual_seed(0)
    plain = MobileNetV2(0.35, ('layer_15/expansion_output',))
    saving = MobileNetV2(0.35, ('layer_15/expansion_output',), with_cp=True)
    saving.load_state_dict(plain.state_dict())
    x = torch.rand(2, 3, 64, 64)
    for net in (plain, saving):
        net.train()(x)[0].square().sum().backward()
    for a, b in zip(plain.parameters(), saving.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None)
        assert a.grad is None or torch.allclose(a.grad, b.grad)


@pytest.mark.parametrize(
    ('kwargs', 'named'),
    [
        (dict(widen_factor=0), '0.35 0.5 0.75'),
        (dict(widen_factor='1.0'), "'1.0'"),
        (dict(out_indices=(8,)), '0..7'),
        (dict(out_indices=('layer_20',)), 'layer_19'),
        (dict(out_indices=('layer_2/expansion_output',)), 'layer_3'),
        (dict(out_indices=()), 'non-empty'),
        (dict(out_indices='layer_18'), 'sequence'),
        (dict(out_indices=None), 'sequence'),
        (dict(output_stride=4), '32'),
        (dict(padding='valid'), 'symmetric'),
        (dict(frozen_stages=9), '8'),
    ],
)
def test_bad_arguments_name_the_value_and_the_remedy(kwargs, named):
    with pytest.raises(InputError) as caught:
        MobileNetV2(**kwargs)
    assert named in str(caught.value)
    assert next(iter(kwargs)) in str(caught.value)


@pytest.mark.parametrize('kind', ['Pretrained', 'mmengine.Pretrained', PretrainedInit])
def test_pretrained_weights_are_read_by_our_initializer(kind):
    """A name, a name with a scope, or the class, as in a lazy config."""
    init_cfg = dict(type=kind, checkpoint='weights.pth')
    for given in (init_cfg, [init_cfg]):
        (last,) = MobileNetV2(init_cfg=given).init_cfg
        assert last == dict(type='mnv2_mm.Pretrained', checkpoint='weights.pth')


@pytest.mark.parametrize('wrong', ['weights.pth', dict(checkpoint='weights.pth')])
def test_another_init_cfg_is_named(wrong):
    with pytest.raises(InputError, match='init_cfg'):
        MobileNetV2(init_cfg=wrong)


@pytest.mark.parametrize('training', [True, False])
def test_torch_fx_traces_it(training):
    """mmengine's ``efficient_conv_bn_eval`` does."""
    model = MobileNetV2(0.35).train(training)
    traced, x = torch.fx.symbolic_trace(model), torch.rand(2, 3, 64, 64)
    state = copy.deepcopy(model.state_dict())
    (expected,) = model(x)
    model.load_state_dict(state)  # the running statistics
    (found,) = traced(x)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ('name', 'value'),
    [('norm_cfg', 'BN'), ('norm_cfg', dict(eps=1e-3)), ('act_cfg', 'ReLU')],
)
def test_an_argument_that_is_no_dict_with_a_type_is_named(name, value):
    with pytest.raises(InputError, match=name):
        MobileNetV2(**{name: value})
