"""Damaged TFLite files: read, or refused by InputError."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('tflite')
pytest.importorskip('flatbuffers')
from file_mutations import mutations
from tflite_writer import Entry, write

from mnv2_mm.checkpoints.readers.tflite import read_tflite
from mnv2_mm.utils.errors import InputError


def test_tflite(fuzz: Callable, tmp_path: Path) -> None:
    original = write(
        tmp_path / 'a.tflite',
        [
            Entry('input', shape=(1, 8, 6, 3), kind='uint8', scale=(0.5,), zero=(3,)),
            Entry(
                'Conv/weights',
                np.arange(54, dtype=np.int8).reshape(2, 3, 3, 3),
                scale=(0.5, 0.25),
                zero=(0, 1),
            ),
            Entry('b', np.array([1, 2], np.int32), scale=(1.0,), zero=(0,)),
            Entry('wide', np.ones((2, 1, 1, 2), np.float16)),
            Entry('map', shape=(1, 4, 3, 2)),
            Entry('anchors', np.ones((1, 4), np.uint8), scale=(0.5,), zero=(0,)),
        ],
        [
            ('DEQUANTIZE', [3], [4]),
            ('CONV_2D', [0, 1, 2], [4]),
            ('CONV_2D', [4, 3], [4]),
            (b'TFLite_Detection_PostProcess', [4, 4, 5], [4]),
        ],
    )
    path = tmp_path / 'damaged.tflite'

    def check(content: bytes) -> None:
        path.write_bytes(content)
        try:
            source = read_tflite(path)
        except InputError as error:
            assert path.name in str(error)
        else:
            assert sum(t.numel() for t in source.tensors.values()) < 10_000

    fuzz(check, mutations(original.read_bytes()))
