"""One training at a time in a work dir."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from mnv2_mm.engine.work_dir_lock import lock_work_dir
from mnv2_mm.utils.errors import InputError

#: Holds the lock, with a child that inherits it as a data-loader worker does.
_HOLDER = """
import os, sys, time
from mnv2_mm.engine.work_dir_lock import lock_work_dir

with lock_work_dir(sys.argv[1]):
    if os.fork():
        print('held', flush=True)
        time.sleep(60)
    time.sleep(float(sys.argv[2]))
"""


def hold(work_dir: Path, child: float) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, '-c', textwrap.dedent(_HOLDER), str(work_dir), str(child)],
        stdout=subprocess.PIPE,
        env=os.environ | {'PYTHONPATH': os.pathsep.join(sys.path)},
    )
    assert process.stdout.readline() == b'held\n'
    return process


@pytest.mark.skipif(sys.platform == 'win32', reason='forks')
def test_second_training_names_the_first(tmp_path: Path) -> None:
    process = hold(tmp_path, child=1)
    try:
        with pytest.raises(InputError) as error, lock_work_dir(tmp_path, seconds=0):
            pass
        assert f'process {process.pid} on {os.uname().nodename}' in str(error.value)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    # killed: the child has the lock for another second
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
