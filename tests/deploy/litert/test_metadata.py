"""Metadata and labels of a TFLite file, read back without MediaPipe."""

import io
import zipfile

import numpy as np
import pytest

pytest.importorskip('flatbuffers')

from flatbuffers.table import Table

from mnv2_mm.deploy.litert.metadata import LABELS, encode

SPEC = dict(classes=('cat', 'dog'), mean=[127.5] * 3, std=[127.5, 64.0, 32.0])


class Reader:
    """A table of a flatbuffer, its fields by slot."""

    def __init__(self, data, position):
        self.table = Table(bytearray(data), position)

    @classmethod
    def root(cls, data):
        return cls(data, int.from_bytes(data[:4], 'little'))

    def place(self, slot):
        offset = self.table.Offset(4 + 2 * slot)
        assert offset, f'slot {slot} is empty'
        return self.table.Pos + offset

    def text(self, slot):
        return self.table.String(self.place(slot)).decode()

    def child(self, slot):
        return Reader(self.table.Bytes, self.table.Indirect(self.place(slot)))

    def children(self, slot):
        start = self.table.Vector(self.place(slot) - self.table.Pos)
        count = self.table.VectorLen(self.place(slot) - self.table.Pos)
        data = self.table.Bytes
        return [
            Reader(data, self.table.Indirect(start + 4 * index))
            for index in range(count)
        ]

    def numbers(self, slot, kind):
        start = self.table.Vector(self.place(slot) - self.table.Pos)
        count = self.table.VectorLen(self.place(slot) - self.table.Pos)
        return np.frombuffer(bytes(self.table.Bytes), kind, count, start).tolist()


@pytest.mark.parametrize(
    ('task', 'outputs', 'labeled'),
    [
        ('det', ['location', 'category', 'score', 'number of detections'], 1),
        ('cls', ['score'], 0),
        ('seg', ['segmentation_masks'], 0),
    ],
)
def test_metadata_names_the_outputs_the_pixels_and_the_labels(task, outputs, labeled):
    data = encode({**SPEC, 'task': task})
    assert data[4:8] == b'M001'
    (graph,) = Reader.root(data).children(3)
    (pixels,) = graph.children(2)
    (unit,) = pixels.children(4)
    assert unit.child(1).numbers(0, np.float32) == SPEC['mean']
    assert unit.child(1).numbers(1, np.float32) == SPEC['std']
    found = graph.children(3)
    assert [x.text(0) for x in found] == outputs
    (labels,) = found[labeled].children(6)
    assert labels.text(0) == LABELS
    if task == 'det':
        assert found[0].child(3).child(1).numbers(0, np.uint32) == [1, 0, 3, 2]


def test_the_labels_follow_the_model_as_a_zip_archive():
    schema = pytest.importorskip('ai_edge_litert.schema_py_generated')
    from ai_edge_litert.tools import flatbuffer_utils

    from mnv2_mm.deploy.litert.metadata import add_metadata

    empty = schema.ModelT()
    empty.version, empty.buffers, empty.subgraphs = 3, [schema.BufferT()], []
    data = bytes(flatbuffer_utils.convert_object_to_bytearray(empty))
    made = add_metadata(data, {**SPEC, 'task': 'cls'})
    assert made == add_metadata(data, {**SPEC, 'task': 'cls'})
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        assert archive.read(LABELS).decode().split() == ['cat', 'dog']
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(made))
    names = [bytes(x.name).decode() for x in model.metadata]
    assert names == ['min_runtime_version', 'TFLITE_METADATA']
