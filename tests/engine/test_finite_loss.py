"""A loss of NaN or inf ends a training, and spares the checkpoints."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from toy_runner import Toy, toy_runner

from mnv2_mm.engine import FiniteLossHook
from mnv2_mm.engine.launch import build_runner
from mnv2_mm.engine.tool_runner import ToolRunner
from mnv2_mm.utils.errors import InputError


class Spoiled(Toy):
    """A toy whose loss is multiplied by NaN or inf in some steps."""

    def __init__(self, bad: set[int], *, detached: bool = False) -> None:
        super().__init__()
        self.step, self.bad, self.detached = 0, bad, detached

    def forward(
        self, inputs: object, data_samples: object = None, mode: str = 'loss'
    ) -> object:
        out = super().forward(inputs, data_samples, mode)
        self.step += 1
        if self.step not in self.bad:
            return out
        # detached: the scaler of mixed precision would leave the step out
        loss = out['loss'].detach() if self.detached else out['loss']
        return {'loss': (loss * float('nan')).requires_grad_()}


class SkippedSteps(Spoiled):
    """The weights stay as they were in a bad step, as with GradScaler."""

    def train_step(self, data: object, optim_wrapper: object) -> dict:
        kept = {key: value.clone() for key, value in self.state_dict().items()}
        out = super().train_step(data, optim_wrapper)
        if self.step in self.bad:
            self.load_state_dict(kept)
        return out


def train(tmp_path: Path, model: Toy, patience: int = 3) -> Path:
    """Eight steps, a checkpoint after each."""
    checkpoint = dict(type='CheckpointHook', interval=1, by_epoch=False)
    hooks = dict(checkpoint=checkpoint, loss=FiniteLossHook(patience))
    toy_runner(tmp_path / 'run', model, default_hooks=hooks).train()
    return tmp_path / 'run'


def test_broken_weights_end_it_before_they_are_saved(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='iteration 3'):
        train(tmp_path, Spoiled({3}))
    saved = sorted((tmp_path / 'run').glob('iter_*.pth'))
    assert [path.name for path in saved] == ['iter_1.pth', 'iter_2.pth']
    weights = torch.load(saved[-1], weights_only=False)['state_dict']
    assert all(value.isfinite().all() for value in weights.values())


def test_skipped_steps_are_counted_in_a_row(tmp_path: Path) -> None:
    run = train(tmp_path, SkippedSteps({1, 2, 4, 5, 7}))
    assert (run / 'iter_8.pth').is_file()


def test_too_many_in_a_row_end_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='iteration 6'):
        train(tmp_path, SkippedSteps({1, 4, 5, 6}))


def test_broken_statistics_of_batch_norm_end_it(tmp_path: Path) -> None:
    model = Spoiled({2}, detached=True)
    model.backbone[1].running_var.fill_(float('inf'))
    with pytest.raises(InputError, match='iteration 2'):
        train(tmp_path, model)


def test_outputs_without_a_loss_and_gradients_are_not_judged(tmp_path: Path) -> None:
    hook = FiniteLossHook(1)
    runner = toy_runner(tmp_path / 'run', Toy())
    for parameter in runner.model.parameters():
        parameter.grad = torch.full_like(parameter, float('inf'))
    for outputs in (None, {}, {'loss': torch.tensor(1e30)}, {'loss': 0.0}):
        hook.after_train_iter(runner, 0, outputs=outputs)


def test_patience_is_checked() -> None:
    with pytest.raises(InputError, match='patience'):
        FiniteLossHook(0)


def test_the_hook_is_added_once_and_can_be_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ToolRunner, 'from_cfg', lambda cfg: cfg)
    cfg = build_runner(Config({}))
    assert cfg.default_hooks.finite_loss.type == 'mnv2_mm.FiniteLossHook'
    for own in (None, dict(type='mnv2_mm.FiniteLossHook', patience=3)):
        cfg = build_runner(Config(dict(default_hooks=dict(finite_loss=own))))
        # mmengine refuses None for a hook that it does not know
        assert cfg.default_hooks.get('finite_loss') == own
