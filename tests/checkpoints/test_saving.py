"""A kill while files are written or a validation runs loses nothing."""

import os
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.runner import Runner
from toy_runner import Toy, toy_runner, truncate

from mnv2_mm.checkpoints import saving
from mnv2_mm.checkpoints.file import read
from mnv2_mm.checkpoints.resume import best_checkpoint, last_validation


class Scored(Toy):
    """The toy, with something to validate."""

    def forward(self, inputs: object, samples: object = None, mode: str = '') -> object:
        return [1] * len(inputs) if mode == 'predict' else super().forward(inputs)


class Score(BaseMetric):
    """A score for each validation of a training, which may be killed in one."""

    def __init__(self, scores: list[float | None]) -> None:
        super().__init__()
        self.scores = iter(scores)

    def process(self, data_batch: object, data_samples: object) -> None:
        self.results.append(1)

    def compute_metrics(self, results: list) -> dict[str, float]:
        score = next(self.scores)
        if score is None:
            raise KeyboardInterrupt
        return {'acc': np.float32(score)}  # as mmseg's


def run(
    work_dir: Path,
    scores: list[float | None],
    *,
    epochs: int = 3,
    keep: int = 2,
    resume: Path | None = None,
) -> Runner:
    loader = dict(
        dataset=[{'inputs': torch.rand(2)} for _ in range(4)],
        batch_size=2,
        sampler=dict(type='DefaultSampler', shuffle=False),
    )
    runner = toy_runner(
        work_dir,
        Scored(),
        train_dataloader=loader,
        val_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        val_cfg=dict(),
        val_evaluator=[Score(scores)],
        default_hooks=dict(
            checkpoint=dict(
                type='mnv2_mm.AtomicCheckpointHook',
                interval=1,
                save_best='acc',
                max_keep_ckpts=keep,
            )
        ),
        load_from=resume and str(resume),
        resume=resume is not None,
    )
    if None in scores:
        with pytest.raises(KeyboardInterrupt):
            runner.train()
    else:
        runner.train()
    return runner


def best_of(work_dir: Path, name: str) -> tuple[str, float] | None:
    found = best_checkpoint(str(work_dir), read(work_dir / name))
    return found and (Path(found[0]).name, round(found[1], 4))


def test_best_is_chosen_by_its_score(tmp_path: Path) -> None:
    torch.save({'old': torch.ones(1)}, tmp_path / 'best_acc_epoch_9.pth')
    run(tmp_path, [0.1, 0.3, 0.2])
    assert best_of(tmp_path, 'epoch_3.pth') == ('best_acc_epoch_2.pth', 0.3)
    assert last_validation(str(tmp_path)) == 6
    assert (tmp_path / 'last_checkpoint').read_text() == f'{tmp_path}/epoch_3.pth'
    assert not (tmp_path / 'epoch_1.pth').exists()
    truncate(tmp_path / 'best_acc_epoch_2.pth')
    assert best_of(tmp_path, 'epoch_3.pth') is None


@pytest.mark.parametrize('last', [2, 3])
def test_a_validation_cut_short_is_done_on_resume(tmp_path: Path, last: int) -> None:
    run(tmp_path, [*[0.1, 0.2, 0.3][: last - 1], None])
    assert last_validation(str(tmp_path)) == 2 * (last - 1)
    run(tmp_path, [0.5] + [0.4] * (3 - last), resume=tmp_path / f'epoch_{last}.pth')
    assert best_of(tmp_path, 'epoch_3.pth') == (f'best_acc_epoch_{last}.pth', 0.5)
    assert [p.name for p in tmp_path.glob('best_*')] == [f'best_acc_epoch_{last}.pth']


def test_a_lost_best_is_replaced(tmp_path: Path) -> None:
    run(tmp_path, [0.1, 0.9, 0.2])
    truncate(tmp_path / 'best_acc_epoch_2.pth')
    run(tmp_path, [0.2], resume=tmp_path / 'epoch_3.pth')
    assert best_of(tmp_path, 'epoch_3.pth') == ('best_acc_epoch_3.pth', 0.2)


def test_a_moved_training_finds_its_best(tmp_path: Path) -> None:
    run(tmp_path / 'old', [0.9, 0.2], epochs=2)
    os.rename(tmp_path / 'old', tmp_path / 'new')
    run(tmp_path / 'new', [0.3], resume=tmp_path / 'new' / 'epoch_2.pth')
    assert best_of(tmp_path / 'new', 'epoch_3.pth') == ('best_acc_epoch_1.pth', 0.9)


def test_a_new_training_forgets_the_validation_of_the_old(tmp_path: Path) -> None:
    run(tmp_path, [0.1, 0.2, 0.3])
    run(tmp_path, [None])
    assert last_validation(str(tmp_path)) is None


@pytest.mark.parametrize('keep', [1, 2])
def test_a_failed_write_leaves_the_checkpoint_before(tmp_path: Path, keep: int) -> None:
    put = 'mmengine.fileio.backends.local_backend.LocalBackend.put'

    def full(backend: object, data: bytes, path: str) -> None:
        Path(path).write_bytes(data[: len(data) // 2])
        if 'epoch_3' in path:
            raise KeyboardInterrupt

    from mmengine.fileio.backends.local_backend import LocalBackend

    original = LocalBackend.put
    with (
        mock.patch(put, lambda *a: (full if 'epoch_3' in a[2] else original)(*a)),
        pytest.raises(KeyboardInterrupt),
    ):
        run(tmp_path, [0.1, 0.2, 0.3], keep=keep)
    assert not (tmp_path / 'epoch_3.pth').exists()
    assert read(tmp_path / 'epoch_2.pth')['meta']['epoch'] == 2
    assert (tmp_path / 'last_checkpoint').read_text().endswith('epoch_2.pth')
    # what a kill leaves is removed by the next start
    left = tmp_path / '.unfinished'
    left.mkdir(exist_ok=True)
    (left / 'epoch_3.pth').write_bytes(b'half')
    run(tmp_path, [0.3], resume=tmp_path / 'epoch_2.pth', keep=keep)
    assert not list(left.iterdir())
    names = {f'epoch_{n}.pth' for n in range(4 - keep, 4)}
    assert {p.name for p in tmp_path.glob('epoch_*')} == names


def test_all_processes_validate_what_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has statistics of batch norm of its own; one saves the file."""
    sent = []
    monkeypatch.setattr(saving, 'broadcast', sent.append)
    norms = torch.nn.BatchNorm2d(3), torch.nn.BatchNorm2d(3)
    runner = SimpleNamespace(
        model=norms[0], hooks=[SimpleNamespace(ema_model=norms[1])]
    )
    saving.AtomicCheckpointHook().before_val(runner)
    wanted = [buffer for norm in norms for buffer in norm.buffers()]
    assert [id(x) for x in sent] == [id(x) for x in wanted]
