"""The table of the backends: its rows, and the page that has it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

pytest.importorskip('mmdeploy', reason='deployment is not installed')

from mnv2_mm.analysis.markdown import update
from mnv2_mm.benchmark import deployment_table
from mnv2_mm.benchmark.deployment_table import PYTORCH, Table, markdown
from mnv2_mm.utils.errors import InputError

pytest_plugins = ['deploy_networks']

DOCS = Path(__file__).resolve().parents[2] / 'docs'
ROW = {'bytes': 1_234_567, 'accuracy': 0.443, 'difference': '1e-4 px'}


def test_the_page_has_the_table_of_the_json_file() -> None:
    content = json.loads((DOCS / 'deployment_table.json').read_text())
    page, section = DOCS / 'deployment.md', 'deployment_table'
    assert not update(page, markdown(content), section=section, write=False)


def test_markdown() -> None:
    timed = ROW | {'milliseconds': [31.2, 17.4]}
    entry = {'config': 'tiny', 'score': 'mAP', 'images': 8}
    text = markdown({'det': entry | {'rows': {PYTORCH: ROW, 'ncnn int8': timed}}})
    lines = text.splitlines()
    assert lines[2] == f'| {PYTORCH} | 1.23 | 0.443 |  |  |  |'
    assert lines[3] == '| ncnn int8 | 1.23 | 0.443 | 1e-4 px | 31.2 | 17.4 |'
    assert '`tiny`, 8 images' in text
    # the times are a second step
    text = markdown({'det': entry | {'rows': {PYTORCH: ROW}}})
    assert text.splitlines()[2] == f'| {PYTORCH} | 1.23 | 0.443 |  |'


def test_a_table_of_ones_own(
    network: Callable,
    run_tool: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """It has no row of another network, and the documentation stays as it is."""
    pytest.importorskip('mmpretrain.models')
    monkeypatch.setattr(deployment_table, 'BACKENDS', {})
    before = (DOCS / 'deployment_table.json').read_bytes()
    config, checkpoint, _ = network('cls')
    flags = config, checkpoint, '--work-dir', tmp_path
    assert run_tool('deployment_table', *flags, '--time') == 2
    assert 'without --time' in capfd.readouterr().err
    assert not list(tmp_path.glob('*.*'))
    assert run_tool('deployment_table', *flags) == 0
    content = json.loads((tmp_path / 'deployment_table.json').read_text())
    assert [*content] == ['cls']
    assert [*content['cls']['rows']] == [PYTORCH]
    assert '`tiny_cls`, ' in (tmp_path / 'deployment_table.md').read_text()
    other = tmp_path / 'other.pth'
    weights = torch.load(checkpoint, weights_only=False)
    torch.save(weights | {'meta': {}}, other)
    assert run_tool('deployment_table', config, other, *flags[2:]) == 2
    assert 'another config or checkpoint' in capfd.readouterr().err
    assert run_tool('deployment_table', config, other, '--docs') == 2
    assert (DOCS / 'deployment_table.json').read_bytes() == before


@pytest.mark.parametrize('content', ['{}', '3', '{"det": {"rows": {"PyTo'])
def test_a_file_without_a_table(
    run_tool: Callable, tmp_path: Path, capfd: pytest.CaptureFixture[str], content: str
) -> None:
    file = tmp_path / 'deployment_table.json'
    file.write_text(content)
    assert run_tool('deployment_table', '--work-dir', tmp_path) == 2
    assert str(file) in capfd.readouterr().err
    assert not file.with_suffix('.md').exists()


@pytest.mark.slow
def test_an_interrupted_table_goes_on(
    network: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two backends of a small network, stopped after the first row."""
    for name in ('onnxruntime', 'ncnn', 'mmdet.models'):
        pytest.importorskip(name)
    backends = {'onnxruntime': ('fp32',), 'ncnn': ('fp32',), 'none': ('fp32',)}
    monkeypatch.setattr(deployment_table, 'BACKENDS', backends)
    config, checkpoint, _ = network('det')
    content: dict = {}
    arguments = str(config), str(checkpoint)

    def stop() -> None:
        if len(content['det']['rows']) == 2:
            raise KeyboardInterrupt

    table = Table(content, *arguments, work_dir=tmp_path, options=None)
    with pytest.raises(KeyboardInterrupt):
        table.measure(stop, print)
    content = json.loads(json.dumps(content))
    first = dict(content['det']['rows'])
    said: list[str] = []
    table = Table(content, *arguments, work_dir=tmp_path, options=None)
    table.measure(lambda: None, said.append)
    rows = content['det']['rows']
    assert [*rows] == [PYTORCH, 'onnxruntime fp32', 'ncnn fp32']
    assert said[0] == 'det: ncnn fp32'
    assert any('left out' in line for line in said)  # the backend `none`
    assert {name: rows[name] for name in first} == first
    for name, row in rows.items():
        assert row['accuracy'] == pytest.approx(rows[PYTORCH]['accuracy'], abs=0.01)
        assert row['bytes'] > 1e5
        count = row['difference'].partition('(')[2].split(' of ')
        assert count[0] == count[1].split()[0], name  # all boxes matched
    monkeypatch.setattr('mnv2_mm.runtime.timing.LEAST_RUNS', 3)
    table.time(lambda: None, said.append)
    assert all(time > 0 for row in rows.values() for time in row['milliseconds'])
    assert content['det']['environment']['instruction_set']


def test_the_row_of_pytorch_is_json(
    network: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mmseg's metric is a number of numpy."""
    pytest.importorskip('mmseg.models')
    monkeypatch.setattr(deployment_table, 'BACKENDS', {})
    config, checkpoint, _ = network('seg')
    content: dict = {}
    arguments = str(config), str(checkpoint)
    table = Table(content, *arguments, work_dir=tmp_path, options=None)
    table.measure(lambda: None, print)
    assert json.loads(json.dumps(content)) == content
    assert 0 <= content['seg']['rows'][PYTORCH]['accuracy'] <= 100


def test_a_config_of_no_host(tmp_path: Path) -> None:
    (tmp_path / 'a.py').write_text('x = 1\n')
    with pytest.raises(InputError, match='default_scope'):
        Table({}, str(tmp_path / 'a.py'), '', work_dir=tmp_path, options=None)
