"""TensorFlow's average of the weights, alone and in mmengine's EMAHook."""

from pathlib import Path

import pytest
import torch
from mmengine.hooks import EMAHook
from mmengine.model import BaseModel, ExponentialMovingAverage
from mmengine.registry import MODELS
from mmengine.runner import Runner
from torch import nn

from mnv2_mm.engine import TFExponentialMovingAverage
from mnv2_mm.utils.errors import InputError


def network(value: float = 0.0) -> nn.Module:
    """A weight, a bias and batch norm's three buffers, all of one value."""
    model = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))
    return fill(model, value)


def fill(model: nn.Module, value: float) -> nn.Module:
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.fill_(value)
    return model


# (1 + n) / (10 + n): 1/10, 2/11, 10/19; .9999 is reached at n = 89990
@pytest.mark.parametrize(
    ('step', 'decay'),
    [
        (0, 0.1),
        (1, 2 / 11),
        (9, 10 / 19),
        (990, 0.991),
        (89_989, 89_990 / 89_999),
        (89_991, 0.9999),
        (100_000, 0.9999),
    ],
)
def test_decay_rises_to_its_value(step, decay):
    average = TFExponentialMovingAverage(network())
    assert average.decay_at(step) == pytest.approx(decay, abs=1e-15)
    assert average.decay_at(step) <= 0.9999
    fixed = TFExponentialMovingAverage(network(), warmup=False)
    assert fixed.decay_at(step) == 0.9999
    low = TFExponentialMovingAverage(network(), decay=0.5)
    assert low.decay_at(step) == pytest.approx(min(decay, 0.5))


def test_three_updates_by_hand():
    """The weights are 1, 2, 4: copied, then decays of 2/11 and 3/12.

    2 + (1 - 2) * 2 / 11 = 20/11, and 4 + (20/11 - 4) / 4 = 38/11.
    """
    model = network()
    average = TFExponentialMovingAverage(model)
    found = []
    for value in (1.0, 2.0, 4.0):
        average.update_parameters(fill(model, value))
        found.append(average.module[0].weight.item())
    assert found == pytest.approx([1, 20 / 11, 38 / 11])
    assert average.module[1].running_var.item() == pytest.approx(38 / 11)
    assert int(average.steps) == 3


@pytest.mark.parametrize(('buffers', 'wanted'), [(True, 20 / 11), (False, 2)])
def test_statistics_of_batch_norm(buffers, wanted):
    """slim averages them too; the Object Detection API has the last ones."""
    model = network()
    average = TFExponentialMovingAverage(model, update_buffers=buffers)
    for value in (1.0, 2.0):
        average.update_parameters(fill(model, value))
    norm = average.module[1]
    assert norm.weight.item() == pytest.approx(20 / 11)
    assert norm.running_mean.item() == pytest.approx(wanted)
    assert norm.running_var.item() == pytest.approx(wanted)


def test_without_warm_up_it_is_mmengines():
    model = network()
    ours = TFExponentialMovingAverage(
        model, decay=0.75, warmup=False, update_buffers=False
    )
    theirs = ExponentialMovingAverage(model, momentum=0.25)
    for value in (1.0, 2.0, 4.0):
        fill(model, value)
        ours.update_parameters(model)
        theirs.update_parameters(model)
    for key, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[key], value)


@pytest.mark.parametrize('decay', [0.0, 1.0, 1.5, -0.1])
def test_decay_out_of_range_is_named(decay):
    with pytest.raises(InputError, match=f'decay={decay}.*1 minus'):
        TFExponentialMovingAverage(network(), decay=decay)


class Toy(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))

    def forward(self, inputs, data_samples=None, mode='loss'):
        loss = self.layers(torch.stack(list(inputs))).square().mean()
        return {'loss': loss} if mode == 'loss' else loss


def train(work_dir: Path, epochs: int, **changes) -> EMAHook:
    """A run of four steps an epoch; its hook."""
    hook = EMAHook(ema_type='mnv2_mm.TFExponentialMovingAverage')
    torch.manual_seed(0)
    Runner(
        model=Toy(),
        work_dir=str(work_dir),
        train_dataloader=dict(
            dataset=[{'inputs': torch.rand(2)} for _ in range(8)],
            batch_size=2,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        custom_hooks=[hook],
        experiment_name=f'{work_dir.name}_{epochs}_{len(changes)}',
        **changes,
    ).train()
    return hook


def test_in_the_hook_and_through_a_resume(tmp_path):
    """The count of steps goes on, so that a resumed decay does not drop."""
    first = train(tmp_path, 1)
    assert isinstance(first.ema_model, TFExponentialMovingAverage)
    saved = torch.load(tmp_path / 'epoch_1.pth', weights_only=False)
    # a checkpoint's weights are the averaged ones
    for key, value in first.ema_model.module.state_dict().items():
        torch.testing.assert_close(saved['state_dict'][key], value)
    assert saved['ema_state_dict']['steps'] == 4
    last = str(tmp_path / 'epoch_1.pth')
    second = train(tmp_path, 2, load_from=last, resume=True)
    assert int(second.ema_model.steps) == 8
    assert second.ema_model.decay_at(7) == pytest.approx(8 / 17)


def test_registered_for_every_host():
    built = MODELS.build(
        dict(type='mnv2_mm.TFExponentialMovingAverage', model=network())
    )
    assert (built.decay, built.warmup) == (0.9999, True)
    assert built.update_buffers
