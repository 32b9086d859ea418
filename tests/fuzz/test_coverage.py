"""Fuzzing by coverage, in the long form and where atheris is installed.

``pip install atheris``: 35 MB, for Linux and Python 3.11 or later, and so in no extra.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

SECONDS = 30  # a reader
HELPERS = Path(__file__).parents[1] / 'helpers'


def seed_of(reader: str, folder: Path) -> bytes:
    """A small valid file."""
    path = folder / 'valid'
    if reader == 'checkpoint':
        torch.save({'meta': {'epoch': 1}, 'state_dict': {'a': torch.ones(2)}}, path)
    elif reader == 'tflite':
        from tflite_writer import Entry, write

        image = Entry('input', shape=(1, 8, 6, 3), kind='uint8', scale=(1,), zero=(0,))
        weights = np.ones((2, 3, 3, 3), np.int8)
        entries = [image, Entry('w', weights, scale=(1, 1), zero=(0, 0))]
        entries.append(Entry('map', shape=(1, 4, 3, 2)))
        write(path, entries, [('CONV_2D', [0, 1], [2])])
    elif reader == 'graph':
        from graph_writer import frozen

        path.write_bytes(frozen({'Conv/weights': np.ones((1, 1, 3, 2))}))
    else:
        from exported_folders import write_folder

        path = write_folder(folder / 'model') / 'model.json'
    return path.read_bytes()


@pytest.mark.parametrize('reader', ['checkpoint', 'tflite', 'graph', 'description'])
def test_new_branches_raise_nothing_else(
    reader: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    pytest.importorskip('atheris')
    if 'fuzz' not in request.config.option.markexpr:
        pytest.skip('the long form alone')
    corpus = tmp_path / 'corpus'
    corpus.mkdir()
    (corpus / 'seed').write_bytes(seed_of(reader, tmp_path))
    done = subprocess.run(
        [
            sys.executable,
            HELPERS / 'coverage_fuzzing.py',
            reader,
            corpus,
            f'-max_total_time={SECONDS}',
            '-rss_limit_mb=4096',
        ],
        cwd=tmp_path,
        env=os.environ | {'PYTHONPATH': os.pathsep.join([*sys.path])},
        capture_output=True,
        text=True,
        errors='replace',
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert 'Done' in done.stderr
