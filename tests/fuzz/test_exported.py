"""Changed descriptions: a model that predicts, or InputError; no foreign file."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
pytest.importorskip('ncnn')
from exported_folders import description, write_folder
from file_mutations import mutations
from json_mutations import json_mutations

from mnv2_mm.runtime.drawing import draw
from mnv2_mm.runtime.model import ExportedModel
from mnv2_mm.utils.errors import InputError

IMAGE = np.arange(60, dtype=np.uint8).reshape(5, 4, 3)
NAMES = {'onnxruntime': ['a.onnx'], 'ncnn': ['a.param', 'a.bin']}
_OPENED: list[str] | None = None  # while a check runs


def _listen(event: str, arguments: tuple) -> None:
    if event == 'open' and _OPENED is not None:
        _OPENED.append(str(arguments[0]))


sys.addaudithook(_listen)


@contextmanager
def opened() -> Iterator[list[str]]:
    """Paths that Python opens."""
    global _OPENED
    _OPENED = found = []
    try:
        yield found
    finally:
        _OPENED = None


def use(folder: Path) -> bool:
    """Load, predict, draw; whether it did, and was not refused."""
    with opened() as paths:
        try:
            model = ExportedModel(folder)
            drawn = draw(IMAGE, model(IMAGE), model.info)
        except InputError as error:
            assert len(str(error)) < 1000
            predicted = False
        else:
            assert drawn.shape[1:] == (480, 3)
            predicted = True
    modules = tuple(map(str, (sys.prefix, sys.base_prefix, Path(__file__).parents[2])))
    foreign = [p for p in paths if not p.startswith((str(folder), *modules))]
    assert not foreign
    return predicted


@pytest.mark.parametrize('backend', ['onnxruntime', 'ncnn'])
def test_descriptions(fuzz: Callable, tmp_path: Path, backend: str) -> None:
    folder = write_folder(tmp_path / 'model', backend)
    assert use(folder)
    secret = tmp_path / NAMES[backend][0]
    secret.write_bytes((folder / secret.name).read_bytes())
    info = description(folder, *NAMES[backend], backend=backend)
    words = (str(secret), f'../{secret.name}', secret.name, 'ncnn', 'det', 'seg')

    def check(changed: object) -> None:
        (folder / 'model.json').write_text(json.dumps(changed))
        use(folder)

    fuzz(check, json_mutations(info, *words))


def test_bytes_of_a_description(fuzz: Callable, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / 'model')
    path = folder / 'model.json'

    def check(content: bytes) -> None:
        path.write_bytes(content)
        use(folder)

    fuzz(check, mutations(path.read_bytes()))


@pytest.mark.parametrize('backend', ['onnxruntime', 'ncnn'])
def test_bytes_of_a_network(fuzz: Callable, tmp_path: Path, backend: str) -> None:
    folder = write_folder(tmp_path / 'model', backend)
    path = folder / NAMES[backend][0]
    original = path.read_bytes()

    def check(content: bytes) -> None:
        path.write_bytes(content)
        assert use(folder) == (content == original)

    fuzz(check, mutations(original))
