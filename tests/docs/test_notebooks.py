"""docs/quickstart.ipynb, executed as a reader would."""

import os
import sys
from pathlib import Path

import pytest

nbformat = pytest.importorskip('nbformat', reason="the extra 'dev' is not installed")
nbclient = pytest.importorskip('nbclient', reason="the extra 'dev' is not installed")
pytest.importorskip('ipykernel', reason="the extra 'dev' is not installed")

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / 'docs/quickstart.ipynb'


def read():
    return nbformat.read(NOTEBOOK, as_version=4)


def test_it_is_committed_without_outputs():
    """A diff then shows what was written, and no output is out of date."""
    for cell in read().cells:
        if cell.cell_type == 'code':
            assert cell.outputs == [] and cell.execution_count is None


def test_every_cell_runs(tmp_path, monkeypatch):
    """A training, a prediction and, where mmdeploy is installed, an export."""
    # the command mnv2 of this environment, and this checkout
    folders = [str(Path(sys.executable).parent), os.environ['PATH']]
    monkeypatch.setenv('PATH', os.pathsep.join(folders))
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    monkeypatch.setenv('IPYTHONDIR', str(tmp_path / 'ipython'))
    notebook = read()
    nbclient.NotebookClient(
        notebook,
        timeout=600,
        kernel_name='python3',
        resources={'metadata': {'path': str(tmp_path)}},
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get('outputs', ())]
    images = [o for o in outputs if 'image/png' in o.get('data', {})]
    assert len(images) == 2  # of the data, and with the boxes
    texts = ''.join(o.get('text', '') for o in outputs)
    assert 'training is complete' in texts
    assert (tmp_path / 'work_dirs/notebook/epoch_1.pth').is_file()
    if (tmp_path / 'work_dirs/export.txt').is_file():
        assert 'boxes, best score' in texts
    nbformat.write(notebook, tmp_path / 'executed.ipynb')
