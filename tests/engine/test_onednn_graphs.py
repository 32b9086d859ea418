"""Parts of a network as graphs."""

import copy

import pytest
import torch
from torch import nn

from mnv2_mm.engine.onednn_graphs import MAX_SIZES, GraphForward, can_graph

needs_onednn = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason='this torch has no oneDNN'
)
pytestmark = needs_onednn


class Part(nn.Module):
    """Takes and gives nested sequences, as a detector's head."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.calls = 0

    def forward(self, maps):
        self.calls += 1
        found = [torch.relu(self.conv(x)) for x in maps]
        return found, tuple(2 * x for x in found)


@pytest.fixture
def part():
    torch.manual_seed(0)
    part = Part().eval()
    part.forward = GraphForward(part)
    return part


def _maps(side=8):
    return [torch.rand(1, 3, side, side), torch.rand(2, 3, 5, 7)]


@torch.no_grad()
def test_the_second_call_makes_a_graph_that_the_third_runs(part):
    maps = _maps()
    first = part(maps)
    assert not part.forward.graphs
    second = part(maps)
    assert len(part.forward.graphs) == 1
    assert not part.forward.failures
    calls = part.calls
    other = [x + 1 for x in maps]
    third = part(other)
    assert part.calls == calls
    right = part.forward.eager(other)
    for found, wanted in ((second, first), (third, right)):
        assert type(found) is tuple
        assert type(found[0]) is list
        assert type(found[1]) is tuple
        for one, two in zip(
            (*found[0], *found[1]), (*wanted[0], *wanted[1]), strict=True
        ):
            torch.testing.assert_close(one, two)


@torch.no_grad()
def test_each_size_has_its_graph_up_to_a_number(part):
    for side in range(8, 8 + MAX_SIZES + 2):
        maps = _maps(side)
        right = part.forward.eager(maps)[1]
        for _ in range(3):
            found = part(maps)[1]
            for one, two in zip(found, right, strict=True):
                torch.testing.assert_close(one, two)
    assert len(part.forward.graphs) == MAX_SIZES


def test_gradients_go_through_the_layers(part):
    maps = _maps()
    for _ in range(3):
        found = part(maps)
    assert not part.forward.graphs
    found[0][0].sum().backward()
    assert part.conv.weight.grad is not None


class Branching(nn.Module):
    """What a trace cannot follow: it decides by the values."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        x = self.conv(x)
        return x * 2 if x[..., 0].mean() > x[..., -1].mean() else x


class Talking(Branching):
    """What gives something else than tensors."""

    def forward(self, x):
        return self.conv(x), 'done'


@torch.no_grad()
@pytest.mark.parametrize(
    ('kind', 'reason'), [(Branching, 'differ'), (Talking, 'tensors')]
)
def test_what_is_no_graph_runs_as_before(kind, reason):
    torch.manual_seed(0)
    part = kind().eval()
    part.forward = forward = GraphForward(part)
    x = torch.rand(1, 3, 8, 8)
    for _ in range(3):
        found, right = part(x), forward.eager(x)
        if isinstance(found, tuple):
            found, right = found[0], right[0]
        assert torch.equal(found, right)
    (why,) = forward.failures.values()
    assert reason in why


@torch.no_grad()
def test_a_copy_has_its_own_weights(part):
    maps = _maps()
    right = part(maps)[0][0]
    part(maps)
    other = copy.deepcopy(part)
    part.conv.weight.zero_()
    for _ in range(3):
        torch.testing.assert_close(other(maps)[0][0], right)
    assert len(other.forward.graphs) == 1


def test_not_for_other_types():
    assert can_graph(nn.Conv2d(3, 3, 1))
    assert not can_graph(nn.Conv2d(3, 3, 1).to(torch.float16))
    assert not can_graph(nn.ReLU())
