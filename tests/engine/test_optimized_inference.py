"""An optimized model predicts what the model predicts."""

import copy

import pytest
import torch

from mnv2_mm.api import init_model, predict
from mnv2_mm.engine import optimized_inference
from mnv2_mm.engine.network_graph import EAGER_CALLS
from mnv2_mm.engine.optimized_inference import optimize_for_inference
from mnv2_mm.runtime import machine
from mnv2_mm.runtime.machine import FORCE_VARIABLE
from mnv2_mm.utils.errors import InputError

MODELS = ('ssdlite_sample', 'deeplabv3_sample', 'mnv2_sample')


@pytest.fixture(autouse=True)
def _settings(tmp_path, monkeypatch):
    monkeypatch.setenv('MNV2_MM_CACHE', str(tmp_path))
    monkeypatch.setenv(FORCE_VARIABLE, '1')


def _settled(name):
    """A model from a random start, with batch norm that does something."""
    torch.manual_seed(0)
    model = init_model(name)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 2)
    return model


def _answer(model):
    x = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    x = x.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        maps = model.extract_feat(x)
        head = getattr(model, 'bbox_head', None)
        head = head or getattr(model, 'decode_head', None) or model.head
        found = head(maps)
    if isinstance(found, torch.Tensor):
        return found
    return torch.cat([x.flatten() for maps in found for x in maps])


@pytest.mark.parametrize(
    ('name', 'dtype', 'bound'),
    [
        *((name, 'float32', 1e-5) for name in MODELS),
        ('mnv2_sample', 'bfloat16', 0.05),
        # slow without the instructions
        pytest.param('ssdlite_sample', 'bfloat16', 0.05, marks=pytest.mark.slow),
        pytest.param('deeplabv3_sample', 'bfloat16', 0.05, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize('backend', ['auto', 'pytorch'])
def test_the_same_up_to_rounding(name, dtype, bound, backend):
    model = _settled(name)
    expected = _answer(model)
    optimized = optimize_for_inference(model, dtype, backend)
    for _ in range(EAGER_CALLS + 2):  # layer by layer, then as a graph
        found = _answer(optimized)
        assert found.dtype == torch.float32
        error = (found - expected).abs().max() / expected.abs().max()
        assert 0 < error < bound
    heads = ('bbox_head', 'decode_head', 'head')
    (head,) = (getattr(optimized, n) for n in heads if hasattr(optimized, n))
    assert len(head.forward.graphs) == 1
    assert not head.forward.failures
    norms = [m for m in optimized.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert not norms


def test_a_copy_does_not_use_the_original():
    model = optimize_for_inference(_settled('mnv2_sample'), 'bfloat16')
    _answer(model)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    assert _answer(other).abs().sum() > 0


@pytest.mark.parametrize(
    ('name', 'how'),
    [
        *((name, dict(optimize=True)) for name in MODELS),
        ('mnv2_sample', dict(dtype='bfloat16')),
        # slow without the instructions
        pytest.param('ssdlite_sample', dict(dtype='bfloat16'), marks=pytest.mark.slow),
        pytest.param(
            'deeplabv3_sample', dict(dtype='bfloat16'), marks=pytest.mark.slow
        ),
    ],
)
def test_the_public_function_takes_it(name, how):
    image = torch.randint(0, 256, (90, 120, 3), dtype=torch.uint8).numpy()
    model = init_model(name, **how)
    sample = predict(model, image)
    assert model.backbone.conv1.conv.weight.is_contiguous(
        memory_format=torch.channels_last
    )
    assert sample is not None


def test_an_unknown_dtype_is_named():
    with pytest.raises(InputError, match=r'float16.*float32, bfloat16'):
        init_model('mnv2_sample', dtype='float16')


def test_bfloat16_is_refused_where_it_is_slow(monkeypatch):
    monkeypatch.delenv(FORCE_VARIABLE)
    monkeypatch.setattr(machine, 'has_bfloat16', lambda: False)
    with pytest.raises(InputError, match=f'times as long.*{FORCE_VARIABLE}=1'):
        init_model('mnv2_sample', dtype='bfloat16')
    monkeypatch.setattr(machine, 'has_bfloat16', lambda: True)
    weight = init_model('mnv2_sample', dtype='bfloat16').backbone.conv1.conv.weight
    assert weight.dtype == torch.bfloat16


def test_a_backend_that_cannot_run_is_named(monkeypatch):
    with pytest.raises(InputError, match='auto, pytorch, onnxruntime'):
        init_model('mnv2_sample', optimize=True, backend='tflite')
    pytest.importorskip('onnxruntime')
    with pytest.raises(InputError, match="float32: use 'auto'"):
        init_model('mnv2_sample', dtype='bfloat16', backend='onnxruntime')
    monkeypatch.setattr(optimized_inference, 'installed', lambda name: name == 'onnx')
    with pytest.raises(InputError, match=r'pip install onnxruntime$'):
        init_model('mnv2_sample', optimize=True, backend='onnxruntime')
    assert init_model('mnv2_sample', optimize=True).head.forward.onnx is False
