"""The checkpoint that a killed training continues from."""

import os
import time
from pathlib import Path

import torch
from toy_runner import truncate

from mnv2_mm.checkpoints.resume import is_complete, latest_checkpoint


def make_checkpoints(folder: Path, names: list[str]) -> None:
    for age, name in enumerate(reversed(names)):
        path = folder / name
        torch.save({'weights': torch.ones(100)}, path)
        stamp = time.time() - 100 * age
        os.utime(path, (stamp, stamp))


def test_latest_checkpoint_is_the_newest_complete_one(tmp_path: Path) -> None:
    assert latest_checkpoint(str(tmp_path / 'none')) == (None, [])
    # epoch_20 is of an older, longer run in the same folder
    make_checkpoints(tmp_path, ['epoch_20.pth', 'epoch_9.pth', 'epoch_10.pth'])
    make_checkpoints(tmp_path, ['best_mIoU_epoch_9.pth'])
    # what a run killed at this very moment leaves
    (tmp_path / 'last_checkpoint').write_text('')
    newest = str(tmp_path / 'epoch_10.pth')
    assert latest_checkpoint(str(tmp_path)) == (newest, [])


def test_cut_off_checkpoints_are_passed_over(tmp_path: Path) -> None:
    make_checkpoints(tmp_path, ['iter_1.pth', 'iter_2.pth', 'iter_3.pth'])
    times = os.stat(tmp_path / 'iter_3.pth')
    truncate(tmp_path / 'iter_3.pth')
    (tmp_path / 'iter_2.pth').write_bytes(b'')
    os.utime(tmp_path / 'iter_3.pth', (times.st_atime, times.st_mtime))
    assert not is_complete(str(tmp_path / 'iter_3.pth'))
    path, broken = latest_checkpoint(str(tmp_path))
    assert path == str(tmp_path / 'iter_1.pth')
    assert {Path(name).name for name in broken} == {'iter_2.pth', 'iter_3.pth'}
