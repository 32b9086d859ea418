"""The Mobile DeepLabv3 head: numbers of Table 7, init, batch of one."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mnv2_mm.models.lite_aspp_head import LiteASPPHead
from mnv2_mm.registry import MODELS
from mnv2_mm.utils.errors import InputError


def head(**kwargs) -> LiteASPPHead:
    return LiteASPPHead(
        **{'in_channels': 320, 'num_classes': 21, 'in_index': 0, **kwargs}
    )


def network(output_stride=16, **kwargs) -> nn.Sequential:
    backbone = dict(
        type='mnv2_mm.MobileNetV2',
        out_indices=('layer_18',),
        output_stride=output_stride,
    )
    return nn.Sequential(MODELS.build(backbone), head(**kwargs)).eval()


# Table 7: rows "V2*" (the count with dilated convolutions is the plain one)
@pytest.mark.parametrize(
    ('rates', 'stride', 'parameters', 'billions'),
    [
        (None, 16, 2_113_557, 2.741),
        ((6, 12, 18), 16, 4_523_541, 5.364),
        (None, 8, 2_113_557, None),
    ],
)
def test_parameters_and_multiply_adds_of_table_7(rates, stride, parameters, billions):
    with torch.device('meta'):
        model = network(stride, atrous_rates=rates)
        image = torch.zeros(1, 3, 513, 513)
    assert sum(p.numel() for p in model.parameters()) == parameters
    with FlopCounterMode(display=False) as counter:
        out = model(image)
    side = 512 // stride + 1
    assert out.shape == (1, 21, side, side)
    if billions is not None:
        counted = counter.get_total_flops() / 2 / 1e9
        assert counted == pytest.approx(billions, abs=5e-4)


def test_layers_are_those_of_the_source():
    model = head(atrous_rates=(6, 12, 18))
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert [c.bias is not None for c in convs].count(True) == 1
    assert model.conv_seg.bias is not None
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 6
    assert {(n.eps, n.momentum) for n in norms} == {(1e-5, 0.0003)}
    rates = [m.conv.dilation[0] for m in model.aspp_modules]
    kernels = [m.conv.kernel_size[0] for m in model.aspp_modules]
    assert (rates, kernels) == ([1, 6, 12, 18], [1, 3, 3, 3])
    assert model.bottleneck.conv.kernel_size == (1, 1)
    assert model.bottleneck.conv.in_channels == 5 * 256
    assert type(model.dropout) is nn.Dropout and model.dropout.p == 0.1
    assert not any(isinstance(m, nn.ReLU6) for m in model.modules())
    assert model.align_corners is True
    assert model.loss_decode.avg_non_ignore is True


def test_concat_order_is_pool_then_1x1_then_atrous():
    """Official weights depend on it."""
    model = head(in_channels=4, channels=2, atrous_rates=(2,)).eval()
    seen = []
    model.bottleneck.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    x = torch.randn(1, 4, 5, 7)
    model((x,))
    fused = seen[0]
    pooled = model.image_pool[1](x.mean((2, 3), keepdim=True))
    assert torch.allclose(fused[:, :2], pooled.expand(-1, -1, 5, 7), atol=1e-6)
    assert torch.allclose(fused[:, 2:4], model.aspp_modules[0](x))
    assert torch.allclose(fused[:, 4:], model.aspp_modules[1](x))


def test_initial_weights_are_those_of_the_source():
    torch.manual_seed(0)
    model = head(atrous_rates=(6,))
    model.init_weights()
    logits = model.conv_seg.weight.detach()
    assert logits.abs().max() <= 0.02
    # a normal cut at two deviations keeps 0.88 of its deviation
    assert logits.std().item() == pytest.approx(0.0088, rel=0.03)
    assert not model.conv_seg.bias.any()
    for conv, fan_in, fan_out in (
        (model.image_pool[1].conv, 320, 256),
        (model.aspp_modules[1].conv, 9 * 320, 9 * 256),
        (model.bottleneck.conv, 3 * 256, 256),
    ):
        bound = (6 / (fan_in + fan_out)) ** 0.5
        assert conv.weight.abs().max().item() == pytest.approx(bound, rel=0.01)
        assert conv.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)


def test_batch_of_one_trains_and_its_pool_uses_running_statistics():
    model = head(in_channels=8).train()
    norm = model.image_pool[1].bn
    norm.running_mean.fill_(-0.5)
    before = norm.running_mean.clone()
    x = torch.randn(1, 8, 5, 5, requires_grad=True)
    pooled = model.image_pool(x)
    expected = (model.image_pool[1].conv(x.mean((2, 3), keepdim=True)) + 0.5) / (
        1 + 1e-5
    ) ** 0.5
    assert torch.allclose(pooled, expected.relu(), atol=1e-6)
    assert norm.training, 'the mode must be put back'
    assert torch.equal(norm.running_mean, before)
    model((x,)).square().sum().backward()
    assert torch.isfinite(x.grad).all()
    assert model.image_pool[1].conv.weight.grad.abs().sum() > 0


def test_larger_batches_use_their_own_statistics():
    model = head(in_channels=8).train()
    norm = model.image_pool[1].bn
    x = torch.randn(4, 8, 5, 5)
    values = model.image_pool[1].conv(x.mean((2, 3), keepdim=True))
    expected = nn.functional.batch_norm(
        values, None, None, training=True, eps=1e-5
    ).relu()
    assert torch.allclose(model.image_pool(x), expected, atol=1e-6)
    assert norm.num_batches_tracked == 1


def test_pool_mode_is_put_back_after_an_error():
    model = head(in_channels=8).train()
    with pytest.raises(RuntimeError):
        model.image_pool(torch.randn(1, 9, 5, 5))
    assert model.image_pool[1].bn.training


@pytest.mark.parametrize('size', [(1, 1), (33, 33), (5, 64), (23, 7)])
def test_any_feature_size(size):
    model = head(in_channels=8, atrous_rates=(6, 12, 18)).eval()
    assert model((torch.randn(2, 8, *size),)).shape == (2, 21, *size)


def test_wrong_channels_are_answered_with_the_right_ones():
    with pytest.raises(InputError) as caught:
        head(in_channels=1280)((torch.randn(2, 320, 4, 4),))
    assert '320 channels but in_channels=1280' in str(caught.value)
    assert 'decode_head.in_channels=320' in str(caught.value)


@pytest.mark.parametrize('rates', [6, '6', (6, 0), (6, 1.5), (True,)])
def test_bad_rates(rates):
    with pytest.raises(InputError, match='atrous_rates'):
        head(atrous_rates=rates)


def test_misspelt_argument_names_the_class_and_the_right_argument():
    """Also one of a parent's arguments, which ``**kwargs`` passes on."""
    with pytest.raises(InputError, match=r"LiteASPPHead .*'atrous_rates'"):
        head(atrous_rate=(6, 12, 18))
    with pytest.raises(InputError, match=r"LiteASPPHead .*'num_classes'"):
        LiteASPPHead(320, num_clases=21)


def test_exports_with_standard_operators():
    """torch.export must see plain ATen operators only."""
    model = network(atrous_rates=(6, 12, 18))
    program = torch.export.export(model, (torch.randn(1, 3, 65, 65),))
    operators = {
        str(node.target) for node in program.graph.nodes if node.op == 'call_function'
    }
    assert all(name.startswith('aten.') for name in operators), operators


def test_builds_from_a_config_of_the_host():
    from mmseg.registry import MODELS as HOST

    model = HOST.build(
        dict(type='mnv2_mm.LiteASPPHead', in_channels=320, num_classes=3)
    )
    assert isinstance(model, LiteASPPHead) and model.out_channels == 3


def test_norm_eval_keeps_the_statistics_of_batch_norm():
    """The DeepLab code's fine_tune_batch_norm=False; weights still learn."""
    model = head(norm_eval=True).train()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    before = [n.running_mean.clone() for n in norms]
    model([torch.rand(2, 320, 3, 3)]).sum().backward()
    assert model.training and model.dropout.training
    for norm, mean in zip(norms, before, strict=True):
        assert not norm.training and torch.equal(norm.running_mean, mean)
        assert norm.weight.grad is not None
    assert all(m.training for m in head().train().modules())
