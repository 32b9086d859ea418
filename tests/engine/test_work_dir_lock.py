"""One training at a time in a work dir."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from mnv2_mm.engine.work_dir_lock import lock_work_dir
from mnv2_mm.utils.errors import InputError


def hold(work_dir: Path, child: float) -> int:
    """Hold the lock in another process; return its number.

    It has a child that inherits the lock as a data-loader worker does.
    """
    reading, writing = os.pipe()
    if process := os.fork():
        os.close(writing)
        with open(reading, 'rb') as said:
            assert said.read(4) == b'held'
        return process
    try:
        with lock_work_dir(str(work_dir)):
            if os.fork():
                os.write(writing, b'held')
                time.sleep(60)
            time.sleep(child)
    finally:
        os._exit(0)


@pytest.mark.skipif(sys.platform == 'win32', reason='forks')
def test_second_training_names_the_first(tmp_path: Path) -> None:
    process = hold(tmp_path, child=0.5)
    try:
        with pytest.raises(InputError) as error, lock_work_dir(tmp_path, seconds=0):
            pass
        assert f'process {process} on {os.uname().nodename}' in str(error.value)
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    # killed: the child has the lock for another half of a second
    with lock_work_dir(tmp_path):
        pass


def test_ranks_of_one_run_share_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lock_work_dir(tmp_path):
        monkeypatch.setenv('RANK', '1')
        with lock_work_dir(tmp_path, seconds=0):
            pass
    monkeypatch.setenv('RANK', '0')
    with lock_work_dir(tmp_path, seconds=0):  # released
        pass
