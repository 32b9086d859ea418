"""What a prediction and a training step compute, counted: a guard that needs no clock.

A number above its bound is work that was added; one below is a bound to lower.
"""

from collections import Counter

import numpy as np
import pytest

pytest.importorskip('mmdet.models')
pytest.importorskip('mmseg.models')
pytest.importorskip('mmpretrain.models')

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mnv2_mm.api import get_config, init_model
from mnv2_mm.benchmark.detectors import training_step
from mnv2_mm.engine.network_graph import EAGER_CALLS, _Flat, export
from mnv2_mm.engine.predictor import Model
from mnv2_mm.utils.compat import installed

IMAGE = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
#: Config: name of the head, convolutions and activations, all operators of a
#: prediction layer by layer, and those that a graph leaves to torch.
PREDICTIONS = {
    'ssdlite_mnv2_coco': ('bbox_head', 88, 59, 430, 250),
    'deeplabv3_mnv2_voc': ('decode_head', 55, 37, 125, 30),
    'mnv2_in1k': ('head', 52, 35, 130, 25),
}
#: Of an image that keeps its ratio in 513x513.
SIZES = {'ssdlite_mnv2_coco': 320, 'deeplabv3_mnv2_voc': 385, 'mnv2_in1k': 224}


class Operators(TorchDispatchMode):
    """Counts the operators that run, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__ != 'detach':  # of no_grad; does nothing
            self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture(scope='module')
def network():
    """A network as load makes it, from random weights."""
    made = {}

    def get(name):
        if name not in made:
            cfg = get_config(name)
            cfg.model.backbone.init_cfg = None
            if name.startswith('ssdlite'):
                # no box: the rounds of NMS depend on the boxes, thus on the processor
                cfg.model.test_cfg.score_thr = 1.0
            made[name] = init_model(cfg, optimize=True)
        return made[name]

    return get


@pytest.mark.parametrize('name', PREDICTIONS)
def test_a_prediction(network, name, tmp_path, monkeypatch):
    monkeypatch.setenv('MNV2_MM_CACHE', str(tmp_path))
    head, convolutions, activations, eager, rest = PREDICTIONS[name]
    model = Model(network(name))
    with Operators() as seen:
        model.run([IMAGE])
    assert seen.counts['convolution'] == convolutions
    assert seen.counts['hardtanh_'] + seen.counts['relu_'] == activations
    assert not [name for name in seen.counts if 'norm' in name]
    assert seen.counts.total() <= eager
    if not installed('onnxruntime'):
        return
    for _ in range(EAGER_CALLS):
        model.run([IMAGE])
    assert not getattr(model.network, head).forward.failures
    with Operators() as seen:
        model.run([IMAGE])
    assert not seen.counts['convolution']  # the graph computes all of the network
    assert seen.counts.total() <= rest


@pytest.mark.parametrize('name', PREDICTIONS)
def test_an_exported_network(network, name):
    onnx = pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    head, convolutions, activations, *_ = PREDICTIONS[name]
    side = SIZES[name]
    with torch.no_grad():
        flat = _Flat(getattr(network(name), head).forward)
        graph = onnx.load_from_string(export(flat, torch.rand(1, 3, side, side))).graph
    kinds = Counter(node.op_type for node in graph.node)
    assert kinds['Conv'] == convolutions
    assert kinds['Clip'] + kinds['Relu'] == activations
    assert kinds['Add'] == 10  # the shortcuts
    # no padding, no shape arithmetic: pooling, resizing and the last layer at most
    assert kinds.total() <= convolutions + activations + 10 + 3


@pytest.mark.parametrize('channels_last', [False, True])
def test_a_training_step(channels_last):
    step = training_step(2, channels_last=channels_last)
    step()  # makes the momentum
    with Operators() as seen:
        step()
    assert seen.counts['convolution'] == seen.counts['convolution_backward'] == 88
    assert seen.counts['native_batch_norm'] == 76
    copies = ('clone', 'copy_', '_to_copy', 'contiguous')
    assert sum(seen.counts[name] for name in copies) <= 32
    assert seen.counts.total() <= 2300
