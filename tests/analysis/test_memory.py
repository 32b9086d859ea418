"""Equation 2 on networks small enough for a hand calculation; Table 3."""

import pytest
import torch
from mmcv.cnn import fuse_conv_bn
from torch import Tensor, nn

from mnv2_mm.analysis.memory import (
    StorageTracker,
    largest_by_resolution,
    measured_peak,
    peak_memory,
    transitions,
)
from mnv2_mm.analysis.table3 import count_columns, kilobytes
from mnv2_mm.analysis.trace import trace
from mnv2_mm.models import MobileNetV2


class Residual(nn.Module):
    """4 -> 24 -> 4 channels around a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1)
        self.wide = nn.Conv2d(4, 24, 1)
        self.norm = nn.BatchNorm2d(24)
        self.narrow = nn.Conv2d(24, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return x + self.narrow(torch.relu_(self.norm(self.wide(x))))


@pytest.fixture
def residual() -> nn.Module:
    return Residual().eval().to('meta')


def test_peak_is_the_operation_with_its_shortcut(residual: nn.Module):
    """Pixels times: shortcut 4, expanded 24, normalized 24."""
    peak = peak_memory(residual, (5, 5))
    assert peak.values == 25 * (4 + 24 + 24)
    assert peak.layer == 'norm'
    assert peak.bytes == 4 * peak.values


def test_the_image_does_not_count():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 1, 1)).to('meta')
    assert peak_memory(model, (2, 2)).values == 4 * (4 + 1)


def test_mobilenet_v2_peaks_where_its_expansion_is_filtered():
    """96 channels at 112 and at 56 in the first block of stage 2."""
    peak = peak_memory(fuse_conv_bn(MobileNetV2().eval()).to('meta'), (224, 224))
    assert peak.layer == 'layer2.0.depthwise_conv.conv'
    assert peak.values == 96 * (112**2 + 56**2)


def test_split_divides_the_inner_memory():
    """Block input 16, half an expansion before and after the depthwise.

    In the second half the input is no longer needed.
    """
    model = MobileNetV2(expansion_split=2).eval().to('meta')
    peak = peak_memory(model, (224, 224))
    values = 112**2 * (16 + 48) + 56**2 * 48
    assert peak.layer == 'layer2.0'
    assert values <= peak.values < values * 1.005  # weights with batch norm folded


def test_blocks_hide_what_does_not_leave_them(residual: nn.Module):
    record = trace(residual, (5, 5))
    (row,) = largest_by_resolution(record)
    assert (row.size, row.channels, row.layer) == ((5, 5), 24, 'wide')
    blocks = {'wide': 'a', 'norm': 'a', 'narrow': 'a'}
    model = nn.Sequential(nn.Conv2d(3, 4, 1), residual.wide, residual.narrow)
    record = trace(model.to('meta'), (5, 5))
    blocks = {'1': 'a', '2': 'a'}
    (row,) = largest_by_resolution(record, blocks=blocks)
    assert (row.channels, row.values) == (4, 100)
    assert transitions(record, blocks) == [((1, 4, 5, 5), (1, 4, 5, 5))]


@pytest.mark.parametrize('size', [(32, 48)])
def test_measured_agrees_with_computed(size):
    """A chain, where nothing but the next operation holds a tensor."""
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU6(inplace=True),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.Conv2d(32, 8, 1),
    ).eval()
    measured = measured_peak(model, torch.rand(1, 3, *size))
    computed = peak_memory(model.to('meta'), size)
    assert measured == computed.bytes


def test_tracker_sees_what_is_freed():
    with StorageTracker() as tracker:
        a = torch.zeros(100)
        view = a[:50]
        del a
        assert tracker.current == 400  # the view holds it
        del view
        assert tracker.current == 0
        torch.zeros(10)
    assert tracker.peak == 400


@pytest.fixture(scope='module')
def table3() -> dict[str, list[tuple[int, float]]]:
    pytest.importorskip('mmpretrain.models')
    return {
        name: [
            (by_size[side], round(kilobytes(side, by_size[side]), 1))
            for side in (112, 56, 28, 14, 7, 1)
            if side in by_size
        ]
        for name, by_size in count_columns().items()
    }


def test_table3(table3):
    assert table3['MobileNetV1'] == [
        (64, 1605.6),
        (128, 802.8),
        (256, 401.4),
        (512, 200.7),
        (1024, 100.4),
        (1024, 2.0),
    ]
    assert table3['MobileNetV2, as the paper counts'] == [
        (16, 401.4),
        (32, 200.7),
        (64, 100.4),
        (160, 62.7),
        (320, 31.4),
        (1280, 2.6),
    ]
    between = table3['MobileNetV2, between blocks']
    assert between[:4] == [(16, 401.4), (24, 150.5), (32, 50.2), (96, 37.6)]
    assert between[4:] == [(1280, 125.4), (1280, 2.6)]
    assert table3['MobileNetV2, first layer kept'][0] == (32, 802.8)
    inside = table3['MobileNetV2, inside of blocks too']
    assert [c for c, _ in inside[:4]] == [96, 144, 192, 576]


def test_table3_shufflenet(table3):
    g2, g3 = table3['ShuffleNet 2x, g=2'], table3['ShuffleNet 2x, g=3']
    assert g2 == [(48, 301.1), (400, 627.2), (800, 313.6), (1600, 156.8), (1600, 3.2)]
    assert [c for c, _ in g3] == [48, 480, 960, 1920, 1920]
    assert max(kb for _, kb in g3) == 752.6
