"""LiteRT's interpreter, a stand-in for it, in the hands of several threads."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mnv2_mm.runtime.litert import LiteRT

interpreters = pytest.importorskip('ai_edge_litert.interpreter')


class Interpreter:
    """Returns its input; it has memory for one."""

    def __init__(self, **_: object) -> None:
        self.memory = np.zeros(1)

    def allocate_tensors(self) -> None:
        pass

    def get_input_details(self) -> list[dict]:
        return [dict(name='x', index=0, quantization=(0.0, 0))]

    def get_output_details(self) -> list[dict]:
        return [dict(name='y', index=0, quantization=(0.0, 0))]

    def set_tensor(self, _: int, values: np.ndarray) -> None:
        self.memory = values.ravel()

    def invoke(self) -> None:
        time.sleep(0.002)

    def get_tensor(self, _: int) -> np.ndarray:
        return self.memory.copy()


def test_threads_share_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interpreters, 'Interpreter', Interpreter)
    (tmp_path / 'a.tflite').touch()
    network = LiteRT([tmp_path / 'a.tflite'])
    inputs = [np.full((1, 3, 1, 1), i, np.float32) for i in range(40)]
    with ThreadPoolExecutor(4) as pool:
        found = [result['y'][0] for result in pool.map(network, inputs)]
    assert found == list(range(40))
