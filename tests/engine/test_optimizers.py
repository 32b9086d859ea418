"""TensorFlow's RMSProp: a step worked by hand, defaults, timm missing."""

import math
import sys

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from mnv2_mm.engine import optimizers
from mnv2_mm.registry import OPTIMIZERS
from mnv2_mm.utils.errors import InputError


def steps(optimizer_type: str, gradients, start=1.0, **kwargs) -> list[float]:
    """The values that one weight takes."""
    weight = nn.Parameter(torch.tensor([start], dtype=torch.float64))
    optimizer = OPTIMIZERS.build(dict(type=optimizer_type, params=[weight], **kwargs))
    values = []
    for gradient in gradients:
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        values.append(weight.item())
    return values


def test_two_steps_worked_by_hand():
    # decay .9, momentum .9, epsilon 1, rate .1; gradients 2 and -1
    # ms_1 = .9 * 1 + .1 * 4 = 1.3      mom_1 = .1 * 2 / sqrt(1.3 + 1)
    # ms_2 = .9 * 1.3 + .1 * 1 = 1.27   mom_2 = .9 mom_1 - .1 / sqrt(2.27)
    first = 0.1 * 2 / math.sqrt(2.3)
    second = 0.9 * first - 0.1 * 1 / math.sqrt(2.27)
    assert first == pytest.approx(0.1318761)
    assert steps('mnv2_mm.RMSpropTF', [2.0, -1.0], lr=0.1) == pytest.approx(
        [1 - first, 1 - first - second], abs=1e-12
    )


def test_rate_is_folded_into_the_momentum_buffer():
    """After the rate drops, the old momentum still has the old rate."""
    weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = optimizers.RMSpropTF([weight], lr=1.0)
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    first = 1 / math.sqrt(2)  # ms stays 1
    optimizer.param_groups[0]['lr'] = 0.0
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert weight.item() == pytest.approx(-first - 0.9 * first)


def test_weight_decay_is_part_of_the_gradient():
    value = 1 - 0.1 * 2.5 / math.sqrt(0.9 + 0.1 * 2.5**2 + 1)
    assert steps('mnv2_mm.RMSpropTF', [2.0], lr=0.1, weight_decay=0.5) == pytest.approx(
        [value]
    )


def test_it_is_not_the_rmsprop_of_torch():
    arguments = dict(lr=0.1, alpha=0.9, momentum=0.9, eps=1.0)
    ours = steps('mnv2_mm.RMSpropTF', [2.0, -1.0], **arguments)
    torchs = steps('RMSprop', [2.0, -1.0], **arguments)
    assert ours != pytest.approx(torchs, rel=1e-2)


def test_defaults_are_those_of_the_official_recipes():
    group = optimizers.RMSpropTF([nn.Parameter(torch.ones(1))]).param_groups[0]
    wanted = dict(lr=0.045, alpha=0.9, momentum=0.9, eps=1.0, weight_decay=0)
    assert {key: group[key] for key in wanted} == wanted
    assert group['lr_in_momentum'] and not group['centered']


def test_is_the_implementation_of_timm():
    timm = pytest.importorskip('timm.optim')
    optimizer = optimizers.RMSpropTF([nn.Parameter(torch.ones(1))])
    assert isinstance(optimizer, timm.RMSpropTF)


def test_builds_through_a_config():
    wrapper = build_optim_wrapper(
        nn.Conv2d(3, 4, 1),
        dict(
            type='OptimWrapper',
            optimizer=dict(type='mnv2_mm.RMSpropTF', lr=0.1, weight_decay=1),
            paramwise_cfg=dict(bias_decay_mult=0.0),
        ),
    )
    assert type(wrapper.optimizer).__name__ == 'RMSpropTF'
    decays = [g['weight_decay'] for g in wrapper.optimizer.param_groups]
    assert decays == [1, 0]


def test_without_timm_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'timm.optim', None)
    with pytest.raises(InputError, match='pip install timm'):
        optimizers.RMSpropTF([nn.Parameter(torch.ones(1))])
