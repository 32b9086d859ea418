"""The block computed in parts is the block (section 5.1)."""

import pytest
import torch
from mmcv.cnn import fuse_conv_bn
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mnv2_mm.analysis.complexity import count
from mnv2_mm.analysis.trace import trace
from mnv2_mm.models import MobileNetV2, MobileNetV2Ablation
from mnv2_mm.models import blocks as layers
from mnv2_mm.models.split_inference import split_bounds
from mnv2_mm.utils.errors import InputError

TAPS = ('layer_3', 'layer_15/expansion_output', 'layer_19')


def lived_in(model: nn.Module) -> nn.Module:
    """Batch norm that does something, as after a training."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


def set_split(model: nn.Module, split: object) -> None:
    for module in model.modules():
        if isinstance(module, layers.InvertedResidual):
            module.expansion_split = split


@pytest.mark.parametrize('padding', ['symmetric', 'same'])
@pytest.mark.parametrize('output_stride', [32, 8])
@torch.no_grad()
def test_network_agrees(padding: str, output_stride: int):
    """Strides, rates, shortcuts, t=1, even and odd maps, a batch of two."""
    model = lived_in(
        MobileNetV2(0.35, TAPS, padding=padding, output_stride=output_stride)
    )
    image = torch.rand(2, 3, 65, 44) * 2 - 1
    expected = model(image)
    every = padding == 'same' and output_stride == 8
    for split in (2, 3, 5, 1000) if every else (3,):
        set_split(model, split)
        for ours, whole in zip(model(image), expected, strict=True):
            assert whole.abs().max() > 0.05
            torch.testing.assert_close(ours, whole, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_fused_network_agrees():
    model = fuse_conv_bn(lived_in(MobileNetV2(0.35)))
    image = torch.rand(1, 3, 48, 48)
    (whole,) = model(image)
    set_split(model, 'full')
    torch.testing.assert_close(model(image)[0], whole, rtol=1e-4, atol=1e-4)


def block(**kwargs) -> layers.InvertedResidual:
    return lived_in(
        layers.InvertedResidual(
            8,
            kwargs.pop('out_channels', 8),
            norm_cfg=kwargs.pop('norm_cfg', dict(type='BN')),
            act_cfg=dict(type='ReLU6'),
            **kwargs,
        )
    )


@pytest.mark.parametrize(('split', 'widest'), [(2, 24), (5, 10), ('full', 1)])
def test_no_more_of_the_expansion_than_a_part(split, widest):
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = block(stride=2, out_channels=4, expansion_split=split)

        @torch.no_grad()
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.block(image.new_empty(1, 8, *image.shape[2:]))

    record = trace(Block().to('meta'), (10, 10))
    assert record.shapes[:2] == [(1, 3, 10, 10), (1, 8, 10, 10)]
    inner = [
        shape[1]
        for shape in record.shapes[2:]
        if len(shape) == 4 and shape[0] == 1 and shape[2:] != (1, 1)
    ]
    assert max(inner) == widest


def test_split_costs_no_multiply_adds():
    plain = MobileNetV2(0.5).eval().to('meta')
    parts = MobileNetV2(0.5, expansion_split=3).eval().to('meta')
    assert count(parts, (64, 64)).cost() == count(plain, (64, 64)).cost()


def test_training_and_one_part_take_the_plain_path(monkeypatch):
    def forbidden(*_: object) -> None:
        raise AssertionError('split')

    monkeypatch.setattr(layers, 'split_forward', forbidden)
    x = torch.rand(2, 8, 6, 6)
    block()(x)
    block(expansion_split=4).train()(x)
    with pytest.raises(AssertionError, match='split'):
        block(expansion_split=4)(x)


def test_a_tapped_expansion_is_whole(monkeypatch):
    taps = tuple(f'layer_{n}/expansion_output' for n in range(3, 19))
    seen = []
    original = layers.split_forward

    def spy(module, x):
        seen.append(module)
        return original(module, x)

    monkeypatch.setattr(layers, 'split_forward', spy)
    model = MobileNetV2(0.35, taps, expansion_split=2).eval()
    maps = model(torch.rand(1, 3, 32, 32))
    assert [x.shape[1] for x in maps] == list(model.out_channels)
    assert seen == [model.layer1[0]]  # which has no expansion


def test_gradients_flow_in_eval_mode():
    model = block(expansion_split=3)
    whole = block()
    whole.load_state_dict(model.state_dict())
    x = torch.rand(1, 8, 5, 5, requires_grad=True)
    (ours,) = torch.autograd.grad(model(x).square().sum(), x)
    (theirs,) = torch.autograd.grad(whole(x).square().sum(), x)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ('channels', 'split', 'bounds'),
    [
        (16, 3, [0, 5, 10, 16]),
        (4, 9, [0, 1, 2, 3, 4]),
        (3, 'full', [0, 1, 2, 3]),
        (6, 1, [0, 6]),
    ],
)
def test_bounds(channels, split, bounds):
    assert split_bounds(channels, split) == bounds


@pytest.mark.parametrize('split', [0, -2, 1.5, 'half', None, True])
def test_wrong_splits_are_named(split):
    with pytest.raises(InputError, match='expansion_split=') as raised:
        MobileNetV2(expansion_split=split)
    assert repr(split) in str(raised.value)


def test_other_norms_are_named():
    model = block(norm_cfg=dict(type='GN', num_groups=2), expansion_split=2)
    with pytest.raises(InputError, match='GroupNorm'):
        model(torch.rand(1, 8, 4, 4))


@pytest.mark.parametrize(
    'switch', [dict(shortcut='none'), dict(bottleneck_act=dict(type='ReLU6'))]
)
def test_figure_6_blocks_are_not_split(switch):
    with pytest.raises(InputError, match='expansion_split=2 is for the bloc'):
        MobileNetV2Ablation(expansion_split=2, **switch)


# ------------------------------------------------------ tools/memory_split.py
def test_tool(run_tool, capfd):
    flags = ['--shape', 32, '--split', 1, 2, '--rounds', 2]
    assert run_tool('memory_split', 'mnv2_in1k', *flags) == 0
    lines = capfd.readouterr().out.strip().splitlines()
    assert [line.split()[0] for line in lines[2:]] == ['1', '2']
    computed = [float(line.split()[1]) for line in lines[2:]]
    measured = [float(line.split()[2]) for line in lines[2:]]
    assert computed[1] < computed[0] and measured[1] < measured[0]


@pytest.mark.parametrize(
    ('flags', 'words'),
    [
        (['--split', '0'], 'expansion_split=0'),
        (['--split', 'all'], "expansion_split='all'"),
        (['--rounds', '0'], '--rounds 0'),
        (['--shape', '0'], 'the input size [0]'),
        (['pspnet_mnv2x'], 'did you mean'),
    ],
)
def test_tool_says_what_is_wrong(run_tool, capfd, flags, words):
    assert run_tool('memory_split', *flags) == 2
    assert words in capfd.readouterr().err
