"""Convolution with TensorFlow's SAME padding, against mmcv's."""

import pytest
import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.conv2d_adaptive_padding import Conv2dAdaptivePadding

from mnv2_mm.models import same_conv
from mnv2_mm.models.same_conv import SameConv2d

LAYOUTS = (torch.contiguous_format, torch.channels_last)


def _gradients(conv, x):
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    out = conv(x)
    weights = torch.linspace(-1, 1, out.numel()).view_as(out)
    (out * weights).sum().backward()
    return out.detach(), x.grad, conv.weight.grad


@pytest.mark.parametrize('layout', LAYOUTS, ids=('first', 'last'))
@pytest.mark.parametrize('size', [(8, 8), (9, 9), (9, 8), (1, 2)])
@pytest.mark.parametrize(
    ('kernel', 'stride', 'dilation'),
    [(3, 1, 1), (3, 2, 1), (3, 1, 2), (1, 2, 1), (5, 2, 1), ((3, 2), 2, 1)],
)
def test_values_and_gradients_are_mmcvs(size, kernel, stride, dilation, layout):
    torch.manual_seed(0)
    options = dict(stride=stride, dilation=dilation, groups=4)
    plain = Conv2dAdaptivePadding(4, 8, kernel, **options)
    ours = SameConv2d(4, 8, kernel, stride, 7, dilation, groups=4)
    ours.load_state_dict(plain.state_dict())
    x = torch.rand(2, 4, *size).contiguous(memory_format=layout)
    pairs = zip(_gradients(ours, x), _gradients(plain, x), strict=True)
    for found, expected in pairs:
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ('size', 'stride', 'copies'), [(8, 1, 0), (9, 1, 0), (9, 2, 0), (8, 2, 1)]
)
def test_nothing_is_copied_where_both_sides_are_alike(
    monkeypatch, size, stride, copies
):
    calls = []
    kept = same_conv.padded
    monkeypatch.setattr(same_conv, 'padded', lambda *a: calls.append(a) or kept(*a))
    SameConv2d(2, 2, 3, stride=stride)(torch.rand(1, 2, size, size))
    assert len(calls) == copies


@pytest.mark.parametrize('layout', LAYOUTS, ids=('first', 'last'))
def test_the_padding_that_has_a_gradient_is_the_plain_one(layout):
    x = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    x = x.contiguous(memory_format=layout).requires_grad_()
    found = same_conv.padded(x, (0, 1), (1, 2), x.dtype)
    assert torch.equal(found, F.pad(x, (1, 2, 0, 1)))
    assert found.is_contiguous(memory_format=layout)
    torch.autograd.gradcheck(lambda x: same_conv.padded(x, (0, 1), (1, 2), x.dtype), x)


def test_strided_depthwise_keeps_float32_inside_bfloat16():
    """oneDNN's bfloat16 gradient of it is slow, and less exact besides."""
    conv = SameConv2d(4, 4, 3, stride=2, groups=4, bias=False)
    x = torch.rand(2, 4, 8, 8).bfloat16()
    with torch.autocast('cpu', torch.bfloat16):
        found = conv(x)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, conv(x.float()).bfloat16())
    assert SameConv2d(4, 4, 3, groups=4).bfloat16()(x).dtype == x.dtype
    x.requires_grad_()
    with torch.autocast('cpu', torch.bfloat16):
        conv(x).float().sum().backward()
    found = x.grad.clone()
    assert found.dtype == torch.bfloat16
    x.grad = None
    conv(x.float()).sum().backward()
    assert torch.equal(found, x.grad)


@pytest.mark.parametrize('layout', LAYOUTS, ids=('first', 'last'))
@pytest.mark.parametrize('dilation', [2, 4, (4, 1)])
@pytest.mark.parametrize('size', [(12, 12), (9, 10), (3, 2)])
def test_dilated_depthwise_is_the_plain_one(size, dilation, layout):
    """In training the grids that a dilation connects are images of the batch."""
    torch.manual_seed(0)
    plain = Conv2dAdaptivePadding(4, 4, 3, dilation=dilation, groups=4)
    ours = SameConv2d(4, 4, 3, dilation=dilation, groups=4)
    ours.load_state_dict(plain.state_dict())
    x = torch.rand(2, 4, *size).contiguous(memory_format=layout)
    pairs = zip(_gradients(ours, x), _gradients(plain, x), strict=True)
    for found, expected in pairs:
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(('training', 'expected'), [(True, (1, 1)), (False, (2, 2))])
def test_only_training_avoids_the_dilated_gradient(monkeypatch, training, expected):
    """oneDNN's takes several times as long; its forward pass does not."""
    seen = []
    monkeypatch.setattr(
        same_conv, 'dilated_depthwise', lambda *args: seen.append((1, 1))
    )
    conv2d = F.conv2d
    monkeypatch.setattr(
        F, 'conv2d', lambda *args: seen.append(args[5]) or conv2d(*args)
    )
    SameConv2d(4, 4, 3, dilation=2, groups=4).train(training)(torch.rand(1, 4, 8, 8))
    assert seen == [expected]
