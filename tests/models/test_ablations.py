"""The switches of Figure 6: hand-written forwards, counts, gradients."""

import copy
from functools import partial
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn
from torch.nn import functional

from mnv2_mm.models.ablations import MobileNetV2Ablation, ResidualVariant
from mnv2_mm.models.blocks import BN_CLASSIFICATION, InvertedResidual
from mnv2_mm.models.mobilenet_v2 import MobileNetV2
from mnv2_mm.utils.errors import InputError

CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / 'figure6'
RELU6 = dict(type='ReLU6')
VARIANTS = {
    'relu6': dict(bottleneck_act=RELU6),
    'expansion': dict(shortcut='expansion'),
    'none': dict(shortcut='none'),
    'both': dict(bottleneck_act=RELU6, shortcut='expansion'),
}
COMMON = dict(norm_cfg=dict(BN_CLASSIFICATION), act_cfg=RELU6)


def randomized(net: nn.Module) -> nn.Module:
    """Eval mode with norms that are not the identity."""
    generator = torch.Generator().manual_seed(1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 1.5, generator=generator)
            for tensor in (module.bias.data, module.running_mean):
                tensor.uniform_(-0.5, 0.5, generator=generator)
    return net.eval()


def conv_bn(x: Tensor, state: dict, name: str, **kwargs) -> Tensor:
    """A convolution and its norm, from their weights alone."""
    x = functional.conv2d(x, state[f'{name}.conv.weight'], **kwargs)
    return functional.batch_norm(
        x,
        state[f'{name}.bn.running_mean'],
        state[f'{name}.bn.running_var'],
        state[f'{name}.bn.weight'],
        state[f'{name}.bn.bias'],
        eps=1e-3,
    )


def block_by_hand(
    x: Tensor,
    block: InvertedResidual,
    added: Tensor | float = 0.0,
    *,
    relu6: bool = False,
    shortcut: bool = False,
) -> tuple[Tensor, Tensor]:
    state = block.state_dict()
    expanded = x
    if 'expand_conv.conv.weight' in state:
        expanded = conv_bn(x, state, 'expand_conv').clamp(0, 6)
    expanded = expanded + added
    out = conv_bn(
        expanded,
        state,
        'depthwise_conv',
        stride=block.depthwise_conv.stride,
        padding=1,
        groups=expanded.shape[1],
    ).clamp(0, 6)
    out = conv_bn(out, state, 'linear_conv')
    if relu6:
        out = out.clamp(0, 6)
    return expanded, x + out if shortcut else out


@pytest.mark.parametrize('relu6', [False, True])
@pytest.mark.parametrize('shortcut', ['bottleneck', 'none'])
def test_block_is_what_figure_6_describes(relu6: bool, shortcut: str) -> None:
    torch.manual_seed(0)
    block = ResidualVariant(
        8, 8, bottleneck_act=RELU6 if relu6 else None, shortcut=shortcut, **COMMON
    )
    x = torch.randn(2, 8, 7, 7)
    expected = block_by_hand(
        x, randomized(block), relu6=relu6, shortcut=shortcut == 'bottleneck'
    )
    found = block.forward_with_expansion(x)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)
    assert torch.equal(block(x), found[1])
    # linear outputs have both signs, those of ReLU6 none below what is added
    added = x if shortcut == 'bottleneck' else 0
    assert bool(((found[1] - added) < -1e-5).any()) != relu6


def test_expansions_join_where_shapes_agree() -> None:
    """The whole network by hand, with the ten shortcuts of the default."""
    torch.manual_seed(0)
    net = randomized(MobileNetV2Ablation(0.5, ('layer_18',), shortcut='expansion'))
    image = torch.rand(1, 3, 64, 64)
    x, previous, joined = net.conv1(image), torch.zeros(0), []
    for layer, block in enumerate(net.blocks, start=2):
        expanded, out = block_by_hand(x, block)
        if expanded.shape == previous.shape:
            expanded, out = block_by_hand(x, block, previous)
            joined.append(layer)
        previous, x = expanded, out
    assert joined == [5, 7, 8, 10, 11, 12, 14, 15, 17, 18]
    torch.testing.assert_close(net(image)[0], x)


def test_as_many_shortcuts_as_between_bottlenecks() -> None:
    ours, theirs = MobileNetV2(), MobileNetV2Ablation(shortcut='expansion')
    assert sum(b.with_shortcut for b in ours.blocks) == 10
    assert sum(b.joins_expansion for b in theirs.blocks) == 10
    assert not any(b.with_shortcut for b in theirs.blocks)
    none = MobileNetV2Ablation(shortcut='none').blocks
    assert not any(b.with_shortcut or b.joins_expansion for b in none)


def test_default_switches_are_the_papers_network() -> None:
    paper = MobileNetV2(0.35, ('layer_15/expansion_output', 'layer_19'))
    ours = MobileNetV2Ablation(0.35, ('layer_15/expansion_output', 'layer_19'))
    assert {type(block) for block in paper.blocks} == {InvertedResidual}
    ours.load_state_dict(paper.state_dict())
    image = torch.rand(1, 3, 64, 64)
    for a, b in zip(ours.eval()(image), paper.eval()(image), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize('name', VARIANTS)
def test_same_keys_parameters_and_start(name: str) -> None:
    """One seed gives all variants one start: they are compared by pairs."""
    nets = []
    for make in (MobileNetV2, partial(MobileNetV2Ablation, **VARIANTS[name])):
        torch.manual_seed(0)
        net = make(0.35)
        net.init_weights()
        nets.append(net.state_dict())
    assert list(nets[0]) == list(nets[1])
    assert all(torch.equal(nets[0][key], nets[1][key]) for key in nets[0])


def multiply_adds(net: MobileNetV2) -> int:
    """Multiply-adds of all convolutions at 64 x 64."""
    total = 0

    def count(conv: nn.Conv2d, _: object, out: Tensor) -> None:
        nonlocal total
        total += out[0].numel() * conv.weight[0].numel()

    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    net.eval()(torch.rand(1, 3, 64, 64))
    return total


@pytest.mark.parametrize('name', VARIANTS)
def test_same_multiply_adds(name: str) -> None:
    variant = multiply_adds(MobileNetV2Ablation(0.35, **VARIANTS[name]))
    assert variant == multiply_adds(MobileNetV2(0.35))


@pytest.mark.parametrize('name', VARIANTS)
def test_gradient_reaches_every_parameter_also_recomputed(name: str) -> None:
    torch.manual_seed(0)
    taps = ('layer_15/expansion_output', 'layer_19')
    plain = MobileNetV2Ablation(0.35, taps, **VARIANTS[name])
    saving = MobileNetV2Ablation(0.35, taps, with_cp=True, **VARIANTS[name])
    saving.load_state_dict(plain.state_dict())
    x = torch.rand(2, 3, 64, 64)
    for net in (plain, saving):
        sum(out.square().sum() for out in net.train()(x)).backward()
    for a, b in zip(plain.parameters(), saving.parameters(), strict=True):
        assert a.grad.abs().sum() > 0
        torch.testing.assert_close(a.grad, b.grad)


def test_shortcut_between_expansions_is_an_identity_for_gradients() -> None:
    block = ResidualVariant(8, 8, **COMMON)
    block.joins_expansion = True
    x, previous = torch.randn(1, 8, 5, 5), torch.randn(1, 48, 5, 5)
    previous.requires_grad_()
    expanded, _ = randomized(block).forward_with_expansion(x, previous)
    expanded.sum().backward()
    assert torch.equal(previous.grad, torch.ones_like(previous))


def test_tap_is_the_joined_expansion() -> None:
    taps = ('layer_15/expansion_output', 'layer_14')
    net = randomized(MobileNetV2Ablation(0.5, taps, shortcut='expansion'))
    with_14 = MobileNetV2Ablation(
        0.5, ('layer_14/expansion_output',), shortcut='expansion'
    ).eval()
    with_14.load_state_dict(net.state_dict(), strict=False)
    image = torch.rand(1, 3, 64, 64)
    expansion, layer_14 = net(image)
    (expansion_14,) = with_14(image)
    own = net.layer6[0].expand_conv(layer_14)
    torch.testing.assert_close(expansion, own + expansion_14)


@pytest.mark.parametrize('output_stride', [8, 16])
def test_dilated_network_joins_too(output_stride: int) -> None:
    net = MobileNetV2Ablation(0.35, output_stride=output_stride, shortcut='expansion')
    (out,) = net.eval()(torch.rand(1, 3, 64, 64))
    assert out.shape[-1] == 64 // output_stride


def test_the_papers_class_names_the_switch_it_does_not_take() -> None:
    with pytest.raises(InputError, match="MobileNetV2 takes no argument 'shortcut'"):
        MobileNetV2(shortcut='none')


@pytest.mark.parametrize(
    ('kwargs', 'remedy'),
    [
        (dict(shortcut='expansions'), "'expansion' or 'none'"),
        (dict(shortcut=None), "'bottleneck'"),
        (dict(bottleneck_act='ReLU6'), "dict(type='ReLU6')"),
        (dict(bottleneck_act=dict(type='ReLU66')), "dict(type='ReLU6')"),
        (dict(bottleneck_act={}), 'None'),
    ],
)
def test_bad_switches_name_the_value_and_the_remedy(kwargs: dict, remedy: str) -> None:
    with pytest.raises(InputError) as caught:
        MobileNetV2Ablation(0.35, **kwargs)
    ((key, value),) = kwargs.items()
    assert f'{key}={value!r}' in str(caught.value)
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    ('name', 'kinds'),
    [
        ('linear_bottleneck', (None, 'bottleneck')),
        ('relu6_bottleneck', ('ReLU6', 'bottleneck')),
        ('shortcut_bottleneck', (None, 'bottleneck')),
        ('shortcut_expansion', (None, 'expansion')),
        ('no_shortcut', (None, 'none')),
    ],
)
def test_configs_change_the_block_alone(name: str, kinds: tuple) -> None:
    cfg = Config.fromfile(CONFIGS / f'mobilenet_v2_{name}.py')
    base = Config.fromfile(CONFIGS.parent / 'mnv2_in1k.py')
    with DefaultScope.overwrite_default_scope('mmengine'):
        net = MODELS.build(copy.deepcopy(cfg.model.backbone))
    blocks = net.blocks
    acts = [isinstance(block.bottleneck_act, nn.ReLU6) for block in blocks]
    assert all(acts) == any(acts) == bool(kinds[0])
    assert any(b.with_shortcut for b in blocks) == (kinds[1] == 'bottleneck')
    assert any(b.joins_expansion for b in blocks) == (kinds[1] == 'expansion')
    for key in ('bottleneck_act', 'shortcut'):
        cfg.model.backbone.pop(key, None)
    cfg.model.backbone.type = 'mnv2_mm.MobileNetV2'
    assert cfg.to_dict() == base.to_dict()
