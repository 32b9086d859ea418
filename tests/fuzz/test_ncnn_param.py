"""Any names and numbers in a .param file: ncnn reads what was written."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

ncnn = pytest.importorskip('ncnn')
from hypothesis import strategies as st  # noqa: E402

from mnv2_mm.deploy.ncnn.layer import Layer, with_splits  # noqa: E402
from mnv2_mm.deploy.ncnn.write import save  # noqa: E402
from mnv2_mm.runtime.ncnn import Ncnn  # noqa: E402
from mnv2_mm.utils.errors import InputError  # noqa: E402

NAMES = (
    st.text('ab=,-0 \t\n#"', min_size=1, max_size=4)
    | st.text(min_size=0, max_size=6)
    | st.integers(250, 260).map(lambda count: 'n' * count)
    | st.sampled_from(['x', 'x_split', 'x_split_0', '0=1', '-23300=1,1', '7767517'])
)
NUMBERS = st.floats(width=32) | st.integers(-(2**40), 2**40) | st.floats()
#: Layers of one input that keep the shape, with the numbers of their parameters.
KINDS = {'ReLU': 1, 'Clip': 2, 'Noop': 0, 'BinaryOp': 0, 'AbsVal': 0}


@st.composite
def layer_lists(draw: Callable) -> tuple[list[Layer], list[str]]:
    """Up to five layers that read any blob before them, and the outputs."""
    blobs = [draw(NAMES)]
    layers = [Layer('Input', draw(NAMES), [], [blobs[0]], {0: 3, 1: 2, 2: 1})]
    for _ in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(list(KINDS)))
        count = 2 if kind == 'BinaryOp' else 1
        inputs = [draw(st.sampled_from(blobs)) for _ in range(count)]
        params = {key: draw(NUMBERS) for key in range(KINDS[kind])}
        blobs.append(draw(NAMES))
        layers.append(Layer(kind, draw(NAMES), inputs, [blobs[-1]], params))
    read = {name for layer in layers for name in layer.inputs}
    return layers, [name for name in blobs if name not in read]


def test_names_and_numbers(fuzz: Callable, tmp_path: Path) -> None:
    files = tmp_path / 'a.param', tmp_path / 'a.bin'
    image = np.ones((1, 1, 2, 3), np.float32)

    def check(example: tuple[list[Layer], list[str]]) -> None:
        layers = with_splits(*example)
        try:
            save(layers, *files)
        except InputError:
            return
        network = Ncnn(files)
        found = network.net.layers()
        assert [layer.name for layer in found] == [layer.name for layer in layers]
        blobs = [name for layer in layers for name in layer.outputs]
        assert [blob.name for blob in network.net.blobs()] == blobs
        assert set(network.outputs) == set(example[1])
        numbers = [v for layer in layers[1:] for v in layer.params.values()]
        assert all(math.isfinite(v) for v in numbers)
        for value in network.run(image).values():
            assert value.shape == image.shape

    fuzz(check, layer_lists())
