"""The notebooks of docs, executed as a reader would."""

import os
import sys
from pathlib import Path

import pytest

nbformat = pytest.importorskip('nbformat', reason="the extra 'dev' is not installed")
nbclient = pytest.importorskip('nbclient', reason="the extra 'dev' is not installed")
pytest.importorskip('ipykernel', reason="the extra 'dev' is not installed")

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / 'docs').glob('*.ipynb'))


@pytest.mark.parametrize('notebook', NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_committed_without_outputs(notebook):
    """A diff then shows what was written, and no output is out of date."""
    for cell in nbformat.read(notebook, as_version=4).cells:
        if cell.cell_type == 'code':
            assert cell.outputs == [] and cell.execution_count is None


def execute(name, folder, monkeypatch, *, left_out=0):
    """Run a notebook without its last cells in a folder; returns its outputs."""
    # the command mnv2 of this environment, and this checkout
    folders = [str(Path(sys.executable).parent), os.environ['PATH']]
    monkeypatch.setenv('PATH', os.pathsep.join(folders))
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    monkeypatch.setenv('IPYTHONDIR', str(folder / 'ipython'))
    notebook = nbformat.read(ROOT / f'docs/{name}.ipynb', as_version=4)
    del notebook.cells[len(notebook.cells) - left_out :]
    nbclient.NotebookClient(
        notebook,
        timeout=600,
        kernel_name='python3',
        resources={'metadata': {'path': str(folder)}},
    ).execute()
    nbformat.write(notebook, folder / 'executed.ipynb')
    outputs = [output for cell in notebook.cells for output in cell.get('outputs', ())]
    images = [o for o in outputs if 'image/png' in o.get('data', {})]
    assert len(images) == 2  # of the data, and with the boxes
    texts = ''.join(o.get('text', '') for o in outputs)
    assert 'training is complete' in texts
    return texts


@pytest.mark.parametrize('left_out', [1, pytest.param(0, marks=pytest.mark.slow)])
def test_quickstart(tmp_path, monkeypatch, left_out):
    """A training, a prediction and, in the last cell, an export."""
    texts = execute('quickstart', tmp_path, monkeypatch, left_out=left_out)
    assert (tmp_path / 'work_dirs/notebook/epoch_1.pth').is_file()
    if (tmp_path / 'work_dirs/export.txt').is_file():
        assert 'boxes, best score' in texts


@pytest.mark.slow  # its parts have tests of their own
def test_own_data(tmp_path, monkeypatch):
    """A prepared folder, a training, its report and a prediction."""
    pytest.importorskip('globox', reason="the extra 'data' is not installed")
    execute('own_data', tmp_path, monkeypatch)
    report = (tmp_path / 'work_dirs/mine/report.html').read_text('utf-8')
    assert 'star' in report
