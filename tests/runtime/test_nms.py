"""The NMS of the runtime against the NMS in the graph, in ONNX Runtime."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('onnxruntime', reason='deployment is not installed')

import onnx
import onnxruntime
from exported_folders import description, write_folder
from onnx import TensorProto, helper

from mnv2_mm.runtime.model import ExportedModel
from mnv2_mm.runtime.nms import CANDIDATES, select
from mnv2_mm.utils.errors import InputError


def candidates(count: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (N, 4) that overlap, and scores (N, C), some of them equal or 0."""
    rng = np.random.default_rng(0)
    first = rng.uniform(0, 60, (count, 2))
    boxes = np.hstack([first, first + rng.uniform(5, 60, (count, 2))])
    scores = rng.integers(0, 200, (count, classes)) / 200
    return boxes.astype(np.float32), scores.astype(np.float32)


def save(
    path: Path, nodes: list, *, inputs: dict, outputs: dict, constants: dict
) -> None:
    """Write a graph of float tensors."""
    values = [
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in x.items()]
        for x in (inputs, outputs)
    ]
    arrays = [onnx.numpy_helper.from_array(v, n) for n, v in constants.items()]
    graph = helper.make_graph(nodes, 'graph', *values, arrays)
    opsets = [helper.make_opsetid('', 13)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)


def in_a_graph(
    path: Path, boxes: np.ndarray, scores: np.ndarray, **rules: float
) -> list:
    """(class, row) of ONNX's operator, class by class."""
    names = ['boxes', 'scores', 'keep', 'iou', 'score']
    nodes = [helper.make_node('NonMaxSuppression', names, ['chosen'])]
    nodes += [helper.make_node('Cast', ['chosen'], ['pairs'], to=TensorProto.FLOAT)]
    constants = dict(keep=np.int64([rules['keep']]))
    constants |= {key: np.float32([rules[key]]) for key in ('iou', 'score')}
    inputs = {name: [1, None, None] for name in CANDIDATES}
    save(path, nodes, inputs=inputs, outputs=dict(pairs=None), constants=constants)
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    feeds = dict(boxes=boxes[None], scores=scores.T[None])
    return session.run(None, feeds)[0][:, 1:].astype(int).tolist()


@pytest.mark.parametrize('iou', [0.3, 0.6])
@pytest.mark.parametrize('keep', [5, 200, 4000])
def test_boxes_and_order_are_those_of_the_operator(
    tmp_path: Path, iou: float, keep: int
) -> None:
    boxes, scores = candidates(300, 7)
    pairs = in_a_graph(
        tmp_path / 'a.onnx', boxes, scores, iou=iou, score=0.05, keep=keep
    )
    pairs.sort(key=lambda pair: -scores[pair[1], pair[0]])  # stable, as TopK
    dets, labels = select(boxes, scores, score=0.05, iou=iou, keep=keep)
    count = min(len(pairs), keep)
    assert count > 4
    assert labels[:count].tolist() == [label for label, _ in pairs[:keep]]
    np.testing.assert_array_equal(dets[:count, :4], [boxes[r] for _, r in pairs[:keep]])
    assert len(dets) == len(labels) == keep
    assert not dets[count:].any()
    assert (labels[count:] == -1).all()


def test_nothing_is_found() -> None:
    boxes, scores = candidates(4, 2)
    scores[:], boxes[0] = 0, np.nan
    scores[0] = 1
    dets, labels = select(boxes, scores, score=-1, iou=0.5, keep=3)
    assert not dets.any()
    assert labels.tolist() == [-1, -1, -1]


def detector(folder: Path, boxes: np.ndarray, scores: np.ndarray) -> ExportedModel:
    """An exported model that has the same candidates in any image."""
    write_folder(folder)
    nodes = [helper.make_node('Mul', ['x', 'zero'], ['nothing'])]
    nodes += [helper.make_node('ReduceSum', ['nothing'], ['sum'], keepdims=0)]
    nodes += [helper.make_node('Add', [n[0], 'sum'], [n]) for n in CANDIDATES]
    save(
        folder / 'a.onnx',
        nodes,
        inputs=dict(x=[1, 3, 8, 8]),
        outputs=dict.fromkeys(CANDIDATES),
        constants=dict(b=boxes[None], s=scores[None], zero=np.float32(0)),
    )
    info = description(folder, 'a.onnx') | dict(
        task='det',
        outputs=[
            dict(
                name='boxes', columns=['x0', 'y0', 'x1', 'y1'], box_unit='input_pixel'
            ),
            dict(name='scores'),
        ],
        thresholds=dict(in_graph=False, score_thr=0.05, nms_iou=0.5, max_per_img=10),
    )
    (folder / 'model.json').write_text(json.dumps(info))
    return ExportedModel(folder)


def test_an_exported_model_without_nms_detects(tmp_path: Path) -> None:
    boxes, scores = candidates(50, 3)
    model = detector(tmp_path, boxes, scores)
    found = model(np.zeros((16, 16, 3), np.uint8))  # twice the input
    dets, labels = select(boxes, scores, score=0.05, iou=0.5, keep=10)
    real = labels >= 0
    np.testing.assert_allclose(found['boxes'], dets[real, :4] * 2)
    assert found['labels'].tolist() == labels[real].tolist()


def test_candidates_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    boxes, scores = candidates(50, 3)
    model = detector(tmp_path, boxes[:40], scores)
    with pytest.raises(InputError, match=r'boxes \(1, 40, 4\) and scores'):
        model(np.zeros((8, 8, 3), np.uint8))
