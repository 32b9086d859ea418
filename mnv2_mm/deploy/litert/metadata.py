"""Pack labels and metadata into a TFLite file, for MediaPipe and the Task Library.

The metadata (TFLite's metadata_schema.fbs) is a second flatbuffer inside of the
model, and the labels are a zip archive after it. MediaPipe's own writer is not used:
that of mediapipe 1.2.3 cannot be imported (its wheel lacks a compiled module), and
the package brings an OpenCV that replaces the one of the hosts.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

LABELS = 'labels.txt'
#: Names that the clients look for, see MediaPipe's metadata_info.py.
_NAMES: Mapping[str, Sequence[str]] = {
    'det': ('location', 'category', 'score', 'number of detections'),
    'cls': ('score',),
    'seg': ('segmentation_masks',),
}
_MODELS = {'det': 'ObjectDetector', 'cls': 'ImageClassifier', 'seg': 'ImageSegmenter'}
# values of the schema's enumerations and unions
_AXIS_LABELS, _VALUE_LABELS = 2, 3
_FEATURE, _IMAGE, _BOX = 1, 2, 3
_NORMALIZATION, _RGB, _BOUNDARIES, _RATIO, _SOFTMAX = 1, 1, 1, 0, 2


def add_metadata(data: bytes, spec: Mapping[str, Any]) -> bytes:
    """Add metadata and labels to a TFLite file.

    Args:
        data: Content of the file.
        spec: ``task``, ``classes``, ``mean`` and ``std`` of RGB pixels from 0 to 255.
    """
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(data))
    for name, content in (
        ('min_runtime_version', b'1.5.0'.ljust(16, b'\0')),
        ('TFLITE_METADATA', encode(spec)),
    ):
        buffer, entry = schema.BufferT(), schema.MetadataT()
        buffer.data = np.frombuffer(content, np.uint8)
        model.buffers.append(buffer)
        entry.name, entry.buffer = name, len(model.buffers) - 1
        model.metadata = [x for x in model.metadata or () if text(x.name) != name]
        model.metadata.append(entry)
    packed = io.BytesIO(bytes(flatbuffer_utils.convert_object_to_bytearray(model)))
    with zipfile.ZipFile(packed, 'a') as archive:
        # a fixed date, so that two exports of a model are the same file
        info = zipfile.ZipInfo(LABELS, (1980, 1, 1, 0, 0, 0))
        archive.writestr(info, ''.join(f'{name}\n' for name in spec['classes']))
    return packed.getvalue()


def text(name: bytes | str) -> str:
    """A name in a TFLite file, which some writers give as bytes."""
    return name.decode() if isinstance(name, bytes) else name


def encode(spec: Mapping[str, Any]) -> bytes:
    """The metadata of a model as a flatbuffer."""
    import flatbuffers

    builder = flatbuffers.Builder(0)
    table = partial(_table, builder)
    task, names = spec['task'], _NAMES[spec['task']]
    kind = _VALUE_LABELS if task == 'det' else _AXIS_LABELS
    labels = table({0: LABELS, 1: 'names of the classes', 2: ('Int8', kind)})
    normalization = table({0: ('Float32', spec['mean']), 1: ('Float32', spec['std'])})
    unit = table({0: ('Uint8', _NORMALIZATION), 1: normalization})
    image = table({0: ('Int8', _RGB)})
    content = table({0: ('Uint8', _IMAGE), 1: image})
    pixels = table({0: 'image', 1: 'RGB image', 3: content, 4: [unit]})
    outputs = []
    for name in names:
        fields: dict[int, Any] = {0: name}
        if name == 'location':
            # index: which of the four numbers are left, top, right, bottom
            box = table(
                {
                    0: ('Uint32', (1, 0, 3, 2)),
                    1: ('Int8', _BOUNDARIES),
                    2: ('Int8', _RATIO),
                }
            )
            pair = table({0: ('Int32', 2), 1: ('Int32', 2)})
            fields[3] = table({0: ('Uint8', _BOX), 1: box, 2: pair})
        elif name in ('category', 'score'):
            value = {0: ('Uint8', _FEATURE), 1: table({})}
            if task == 'det':
                value[2] = table({0: ('Int32', 2), 1: ('Int32', 2)})
            fields[3] = table(value)
        if name in ('category', 'segmentation_masks') or task == 'cls':
            fields[6] = [labels]
        outputs.append(table(fields))
    graph: dict[int, Any] = {2: [pixels], 3: outputs}
    if task == 'det':
        graph[8] = [table({0: 'detection_result', 1: list(names[:3])})]
    if task == 'seg':
        options = flatbuffers.Builder(0)
        options.Finish(_table(options, {0: ('Int8', _SOFTMAX)}), b'V001')
        data = builder.CreateByteVector(bytes(options.Output()))
        graph[9] = [table({0: 'SEGMENTER_METADATA', 1: data})]
    # the version of MediaPipe's parser that knows these fields
    whole = table({0: _MODELS[task], 3: [table(graph)], 7: '1.5.0'})
    builder.Finish(whole, b'M001')
    return bytes(builder.Output())


def _table(builder: Any, fields: Mapping[int, Any]) -> int:
    """Write a table and return its offset.

    Fields by slot: text, a list of texts or offsets, an offset, or a pair of type and
    number or numbers.
    """
    ready: dict[int, tuple[str, Any]] = {}
    for slot, value in fields.items():
        if isinstance(value, str):
            value = builder.CreateString(value)
        elif isinstance(value, list):
            items = [
                builder.CreateString(x) if isinstance(x, str) else x for x in value
            ]
            value = _vector(builder, 'UOffsetTRelative', items)
        elif isinstance(value, tuple) and isinstance(value[1], Sequence):
            value = _vector(builder, *value)
        ready[slot] = value if isinstance(value, tuple) else ('UOffsetTRelative', value)
    builder.StartObject(max(ready, default=-1) + 1)
    for slot, (kind, value) in ready.items():
        getattr(builder, f'Prepend{kind}Slot')(slot, value, 0)
    return builder.EndObject()


def _vector(builder: Any, kind: str, values: Sequence[Any]) -> int:
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        getattr(builder, f'Prepend{kind}')(value)
    return builder.EndVector()
