"""What --amp and --fast of tools/train.py stand for."""

import subprocess
import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

from mnv2_mm.engine import fast_training
from mnv2_mm.engine.fast_training import (
    BFloat16OptimWrapper,
    set_mixed_precision,
    use_channels_last,
)
from mnv2_mm.runtime import machine
from mnv2_mm.utils.errors import InputError

on_cpu = pytest.mark.skipif(
    torch.cuda.is_available(), reason='bfloat16 is for processors'
)
linux = pytest.mark.skipif(
    not sys.platform.startswith('linux'), reason='glibc is for Linux'
)


def _config(**wrapper):
    wrapper.setdefault('optimizer', dict(type='SGD', lr=0.1))
    return Config(dict(optim_wrapper=wrapper))


@pytest.fixture
def forced(monkeypatch):
    """Bfloat16 on any processor."""
    monkeypatch.setenv(machine.FORCE_VARIABLE, '1')


@on_cpu
@pytest.mark.usefixtures('forced')
@pytest.mark.parametrize(
    'wrapper',
    [{}, dict(type='OptimWrapper', accumulative_counts=2)],
    ids=('no type', 'accumulating'),
)
def test_the_forward_pass_alone_is_in_bfloat16(wrapper):
    cfg = _config(**wrapper)
    for _ in range(2):  # a config may ask for it itself
        assert set_mixed_precision(cfg) == 'bfloat16'
    model = nn.Linear(4, 2)
    made = dict(cfg.optim_wrapper)
    made['optimizer'] = torch.optim.SGD(model.parameters(), 0.1)
    made = OPTIM_WRAPPERS.build(made)
    assert isinstance(made, BFloat16OptimWrapper)
    before = model.weight.detach().clone()
    for _ in range(2):
        with made.optim_context(model):
            out = model(torch.rand(3, 4))
        assert out.dtype == torch.bfloat16
        made.update_params(out.float().square().mean())
    assert model.weight.dtype == torch.float32
    assert not torch.equal(model.weight, before)


@on_cpu
@pytest.mark.usefixtures('forced')
def test_what_belongs_to_float16_is_taken_out():
    cfg = _config(type='AmpOptimWrapper', loss_scale=512.0, dtype='float16')
    set_mixed_precision(cfg)
    assert set(cfg.optim_wrapper) == {'type', 'optimizer'}


def test_another_wrapper_is_refused():
    with pytest.raises(InputError, match='and it is ApexOptimWrapper'):
        set_mixed_precision(_config(type='ApexOptimWrapper'))


@on_cpu
def test_without_bfloat16_fast_leaves_it_out_and_amp_is_refused(monkeypatch):
    for supported, kind in ((True, 'mnv2_mm.BFloat16OptimWrapper'), (False, None)):
        monkeypatch.setattr(
            machine, 'has_bfloat16', lambda supported=supported: supported
        )
        cfg = _config()
        line = fast_training.set_fast(cfg)
        assert cfg.optim_wrapper.get('type') == kind
        assert ('times as long' in line) != supported and '\n' not in line
    with pytest.raises(InputError, match='times as long'):
        set_mixed_precision(_config())
    monkeypatch.setenv(machine.FORCE_VARIABLE, '1')
    assert set_mixed_precision(_config()) == 'bfloat16'
    assert 'bfloat16' in fast_training.set_fast(_config())


def test_the_line_says_whether_memory_is_kept(monkeypatch):
    kept = iter((True, False))
    monkeypatch.setattr(fast_training, 'keep_freed_memory', lambda: next(kept))
    for worked in (True, False):
        cfg = _config()
        line = fast_training.set_memory_use(cfg)
        assert cfg.custom_hooks == [dict(type='mnv2_mm.ChannelsLastHook')]
        assert ('freed memory kept' in line) == worked


@pytest.mark.parametrize('place', ['custom_hooks', 'default_hooks', None])
def test_channels_last_is_asked_for_once(place):
    hook = dict(type='mnv2_mm.ChannelsLastHook')
    cfg = Config(dict(default_hooks=dict(timer=None), custom_hooks=[]))
    if place == 'custom_hooks':
        cfg.custom_hooks = [hook]
    elif place:
        cfg.default_hooks.layout = hook
    use_channels_last(cfg)
    use_channels_last(cfg)
    hooks = [*cfg.custom_hooks, *cfg.default_hooks.values()]
    assert hooks.count(hook) == 1


@linux
@pytest.mark.slow
def test_freed_memory_is_used_again():
    """Blocks that were handed back come with a fault for every page."""
    code = """
import resource
from mnv2_mm.engine.fast_training import keep_freed_memory
for mode in ('as it is', 'keep'):
    if mode == 'keep':
        assert keep_freed_memory()
    for turn in range(6):
        block = bytearray(64 << 20)
        if turn == 1:
            start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        del block
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - start)
"""
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, check=True)
    before, after = map(int, run.stdout.split())
    assert after * 10 < before
