"""tools/ncnn_layers.py: times by kind of layer."""

from collections.abc import Callable

import pytest

pytest.importorskip('mmdeploy', reason='deployment is not installed')
pytest.importorskip('mmdet.models')
pytest.importorskip('ncnn')

pytest_plugins = ['deploy_networks']

Tool = Callable[..., int]


def test_every_kind_of_layer_has_a_time(
    built: Callable, run_tool: Tool, capsys: pytest.CaptureFixture
) -> None:
    folder = built('det', 'ncnn_static')
    capsys.readouterr()  # of the export
    assert run_tool('ncnn_layers', folder, '--rounds', '2') == 0
    first, total, *lines = capsys.readouterr().out.splitlines()
    assert '1 thread,' in first
    times = {kind: float(time) for kind, time in map(str.split, lines)}
    assert float(total.rpartition(' ')[2]) == pytest.approx(
        sum(times.values()), abs=0.1
    )
    kinds = {
        x.split()[0] for x in (folder / 'end2end.param').read_text().splitlines()[2:]
    }
    assert set(times) == kinds - {'Input'}
    assert times['Convolution'] > 0


def test_a_model_of_another_backend_is_refused(
    built: Callable, run_tool: Tool, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip('onnxruntime')
    assert run_tool('ncnn_layers', built('det', 'static')) == 2
    assert 'not of ncnn' in capsys.readouterr().err
