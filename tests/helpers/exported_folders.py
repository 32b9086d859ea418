"""A small exported model: the mean of each channel as the score of a class."""

import json
from pathlib import Path

import pytest

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
import onnx
from onnx_graphs import GraphBuilder

from mnv2_mm.deploy.ncnn.write import write
from mnv2_mm.runtime.description import File


def description(folder: Path, *names: str, backend: str = 'onnxruntime') -> dict:
    """Content of model.json for files of a folder."""
    resize = dict(do='resize', keep_ratio=False, interpolation='bilinear')
    return dict(
        mnv2_mm='0',
        format=2,
        task='cls',
        config=None,
        backend=backend,
        precision='fp32',
        files=[File.of(folder / name).model_dump() for name in names],
        input=dict(name='x', shape=[1, 3, 8, 8]),
        outputs=[dict(name='y1')],
        classes=['blue', 'green', 'red'],
        palette=[[0, 0, 255], [0, 255, 0], [255, 0, 0]],
        preprocessing=dict(
            steps=[dict(resize, size=[8, 8])],
            mean=[0.0] * 3,
            std=[255.0] * 3,
            color_order='BGR',
            pad_to=None,
            pad_multiple=1,
            pad_value=0.0,
        ),
    )


def network() -> onnx.ModelProto:
    """(1, 3, 8, 8) -> (1, 3)."""
    builder = GraphBuilder(1, 3, 8, 8)
    builder.add('Flatten', builder.add('GlobalAveragePool', 'x'))
    return builder.model()


def write_folder(folder: Path, backend: str = 'onnxruntime', **changes: object) -> Path:
    """Write the files and model.json, changed; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    names = ['a.param', 'a.bin'] if backend == 'ncnn' else ['a.onnx']
    if backend != 'ncnn':
        onnx.save(network(), folder / names[0])
    else:
        write(network(), *(folder / name for name in names))
    info = description(folder, *names, backend=backend) | changes
    (folder / 'model.json').write_text(json.dumps(info))
    return folder
