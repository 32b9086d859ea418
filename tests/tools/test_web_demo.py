"""The Gradio page, asked by its own API: the same numbers as the Python runner."""

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from exported_folders import write_folder
from PIL import Image

from mnv2_mm.runtime.model import ExportedModel
from mnv2_mm.utils.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def tool() -> ModuleType:
    path = ROOT / 'tools/web_demo.py'
    spec = importlib.util.spec_from_file_location('web_demo', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize('kind', ['color', '16 bits', 'animation'])
def test_it_answers_as_the_runner(tool: ModuleType, tmp_path: Path, kind: str) -> None:
    pytest.importorskip('gradio', reason='gradio is not installed')
    from gradio_client import Client, handle_file

    model = ExportedModel(write_folder(tmp_path / 'model'))
    image = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    image[..., 0] //= 4  # a mistake in the order of the colors shows
    file = tmp_path / ('photo.gif' if kind == 'animation' else 'photo.png')
    if kind == 'animation':
        first, second = (Image.fromarray(x) for x in (image[..., ::-1], 255 - image))
        first.save(file, save_all=True, append_images=[second])
    else:
        pixels = image[..., 1].astype(np.uint16) * 256 if kind == '16 bits' else image
        cv2.imwrite(str(file), pixels)
    page = tool.page(model, 'toy')
    _, address, shared = page.launch(prevent_thread_lock=True, quiet=True)
    try:
        assert '127.0.0.1' in address and shared is None
        client = Client(address, verbose=False)
        photo = handle_file(str(file))
        drawn, numbers = client.predict(photo, 0.3, api_name='/predict')
    finally:
        page.close()
    (wanted,) = model.predict(file)
    assert numbers == json.loads(json.dumps(wanted.to_dict()))
    np.testing.assert_array_equal(cv2.imread(drawn), wanted.plot())


def test_a_missing_gradio_is_named(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'gradio', None)
    with pytest.raises(InputError, match=r'requirements/demo\.txt'):
        tool.page(None, 'toy')


def test_a_wrong_model_is_named(run_tool: Callable, tmp_path: Path) -> None:
    assert run_tool('web_demo', tmp_path / 'none.onnx') == 2
