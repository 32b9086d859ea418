"""A network as one graph: by ONNX Runtime, and by oneDNN."""

import copy
import warnings

import pytest
import torch
from torch import nn

from mnv2_mm.engine import network_graph
from mnv2_mm.engine.network_graph import EAGER_CALLS, MAX_SIZES, use_graph
from mnv2_mm.engine.onnx_export import export
from mnv2_mm.models import MobileNetV2
from mnv2_mm.runtime.onnxruntime import OnnxRuntime
from mnv2_mm.utils.compat import installed

BACKENDS = [
    pytest.param(
        True,
        id='onnxruntime',
        marks=pytest.mark.skipif(
            not (installed('onnxruntime') and installed('onnx')),
            reason='deployment is not installed',
        ),
    ),
    pytest.param(
        False,
        id='onednn',
        marks=pytest.mark.skipif(
            not torch.backends.mkldnn.is_available(), reason='this torch has no oneDNN'
        ),
    ),
]


class Head(nn.Module):
    """Gives nested sequences, as a detector's head; counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 4, 1)
        self.calls = 0

    def forward(self, feats):
        self.calls += 1
        maps = [torch.relu(self.conv(x)) for x in feats]
        return maps, tuple(x.mean((2, 3)) for x in maps)


class Branching(Head):
    """What a trace cannot follow: it decides by the values."""

    def forward(self, feats):
        x = self.conv(feats[0])
        return x * 2 if x[..., 2].mean() > x[..., -3].mean() else x


class Talking(Head):
    """What gives something else than tensors."""

    def forward(self, feats):
        return self.conv(feats[0]), 'done'


class ImageClassifier(nn.Module):
    """Has the face of mmpretrain's."""

    def __init__(self, head: type[nn.Module] = Head) -> None:
        super().__init__()
        self.backbone = nn.Conv2d(3, 8, 3, padding=1)
        self.head = head()

    def extract_feat(self, x, stage='neck'):
        return [self.backbone(x), self.backbone(x)[..., 1:]]

    def predict(self, x):
        return self.head(self.extract_feat(x))


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def made(onnx, head=Head):
    torch.manual_seed(0)
    network = ImageClassifier(head).eval()
    use_graph(network, onnx=onnx)
    return network


def image(side=8):
    return torch.rand(1, 3, side, 9)


def flat(found):
    (maps, means) = found
    assert type(maps) is list and type(means) is tuple
    return [*maps, *means]


def check(network, x):
    """What it predicts is what its layers compute; returns whether a graph did."""
    forward, calls = network.head.forward, network.head.calls
    found = flat(network.predict(x))
    by_graph = network.head.calls == calls
    for one, other in zip(found, flat(forward.eager(x)), strict=True):
        torch.testing.assert_close(one, other)
    return by_graph


@pytest.mark.parametrize('onnx', BACKENDS)
def test_a_few_images_run_by_layers_and_the_others_by_a_graph(onnx):
    network = made(onnx)
    ran = [check(network, image()) for _ in range(EAGER_CALLS + 3)]
    assert ran == [False] * (EAGER_CALLS + 1) + [True] * 2  # one more to compare with
    assert not network.head.forward.failures


def test_each_size_has_its_graph_up_to_a_number():
    network = made(False)
    for side in range(8, 8 + MAX_SIZES + 2):
        for _ in range(EAGER_CALLS + 2):
            check(network, image(side))
    assert len(network.head.forward.graphs) == MAX_SIZES


def test_gradients_go_through_the_layers():
    network = made(False)
    with torch.enable_grad():
        for _ in range(EAGER_CALLS + 2):
            maps, _ = network.predict(image())
        maps[0].sum().backward()
    assert not network.head.forward.graphs
    assert network.backbone.weight.grad is not None


@pytest.mark.parametrize('onnx', BACKENDS)
@pytest.mark.parametrize(
    ('head', 'reason'), [(Branching, 'differ'), (Talking, 'tensors')]
)
def test_what_is_no_graph_runs_as_before(onnx, head, reason, monkeypatch):
    lines = []
    monkeypatch.setattr(network_graph, 'print_log', lambda text, *_: lines.append(text))
    network = made(onnx, head)
    x = torch.linspace(0, 9, 9).expand(1, 3, 8, 9)  # its mirror image branches
    for _ in range(EAGER_CALLS + 2):
        found, right = network.predict(x), network.head.forward.eager(x)
        if isinstance(found, tuple):
            found, right = found[0], right[0]
        assert torch.equal(found, right)
    (why,) = network.head.forward.failures.values()
    assert reason in why
    assert len(lines) == 1
    assert why in lines[0]


def test_a_copy_has_its_own_weights():
    network, x = made(False), image()
    right = network.predict(x)[0][0]
    for _ in range(EAGER_CALLS + 1):
        network.predict(x)
    other = copy.deepcopy(network)
    network.head.conv.weight.zero_()
    for _ in range(EAGER_CALLS + 2):
        torch.testing.assert_close(other.predict(x)[0][0], right)
    assert len(other.head.forward.graphs) == 1


def test_other_models_run_as_before():
    class TwoStageDetector(ImageClassifier):
        pass

    network = TwoStageDetector().eval()
    use_graph(network, onnx=False)
    assert 'forward' not in vars(network.head)


@pytest.mark.skipif(
    not (installed('onnxruntime') and installed('onnx')), reason='needs ONNX Runtime'
)
@pytest.mark.parametrize('size', [(43, 64), (86, 128), (64, 33)])
def test_same_padding_of_odd_and_even_sides_is_exported(size):
    """With other padding on the rows than on the columns."""
    model = MobileNetV2(0.35, (2, 6), padding='same', output_stride=8).eval()
    x = torch.rand(1, 3, *size)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        found = OnnxRuntime([export(model, x)])(x.numpy()).values()
        for one, other in zip(found, model(x), strict=True):
            torch.testing.assert_close(torch.from_numpy(one), other, atol=1e-4, rtol=0)
