"""Damaged and hostile checkpoints: read, or refused by InputError."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from file_mutations import mutations
from hypothesis import strategies as st
from mmengine.logging import HistoryBuffer
from toy_runner import Toy

from mnv2_mm.checkpoints.file import read
from mnv2_mm.checkpoints.guard import load
from mnv2_mm.checkpoints.readers.torch_file import read_torch
from mnv2_mm.utils.errors import InputError

# torch names odd protocols that damaged pickles begin with
pytestmark = pytest.mark.filterwarnings('ignore')


def checkpoint() -> dict:
    """As of a training with all that mmengine adds."""
    history = HistoryBuffer([0.5, 0.25], [1, 1])
    return {
        'meta': {
            'epoch': 1,
            'iter': 4,
            'dataset_meta': {'classes': ('a', 'b', 'c'), 'palette': [(0, 0, 0)] * 3},
            'preprocessing': {'mean': [0.0] * 3, 'std': [1.0] * 3},
        },
        'state_dict': Toy().state_dict(),
        'message_hub': {
            'log_scalars': {'train/loss': history},
            'runtime_info': {'iter': 4, 'best_score': np.float32(0.5)},
            'resumed_keys': {'train/loss': True},
        },
        'optimizer': {'state': {0: {'momentum_buffer': torch.ones(2)}}},
    }


def saved(content: object, **kwargs: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **kwargs)
    return buffer.getvalue()


def repacked(data: bytes, pickled: bytes) -> bytes:
    """The archive with another pickle and new checksums."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, 'w') as new:
        for name in old.namelist():
            new.writestr(name, pickled if name.endswith('.pkl') else old.read(name))
    return buffer.getvalue()


def pickle_of(data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return file.read('archive/data.pkl')


def safetensors() -> bytes:
    entry = {'dtype': 'F32', 'shape': [2, 3], 'data_offsets': [0, 24]}
    header = json.dumps({'a': entry, '__metadata__': {'b': 'c'}}).encode()
    return len(header).to_bytes(8, 'little') + header + bytes(24)


ZIPPED = saved(checkpoint())
LEGACY = saved(checkpoint(), _use_new_zipfile_serialization=False)


def opened(path: Path) -> None:
    """Read by every way; only InputError may come out."""
    for way in (read, read_torch, lambda path: load(Toy(), str(path))):
        try:
            way(path)
        except InputError as error:
            assert path.name in str(error)


@pytest.mark.parametrize(
    'contents',
    [
        mutations(ZIPPED),
        mutations(pickle_of(ZIPPED)).map(lambda pickled: repacked(ZIPPED, pickled)),
        mutations(LEGACY),
        mutations(safetensors()),
    ],
    ids=['zipped', 'pickle', 'legacy', 'safetensors'],
)
def test_damaged_bytes(contents: object, fuzz: Callable, tmp_path: Path) -> None:
    path = tmp_path / 'damaged.pth'

    def check(content: bytes) -> None:
        path.write_bytes(content)
        opened(path)

    fuzz(check, contents)


def values() -> st.SearchStrategy:
    """Values that can be pickled and read, of any shape."""
    odd = [
        torch.tensor([float('nan')]),
        torch.ones(2, 2).to_sparse(),
        torch.quantize_per_tensor(torch.ones(2), 1.0, 0, torch.qint8),
        torch.empty(3, device='meta'),
        torch.ones(1).expand(1 << 40),
        torch.ones(2, dtype=torch.complex64),
        np.float32(1),
        np.zeros(2, dtype=object),
        HistoryBuffer([1], [1]),
        torch.float32,
        torch.Size([1]),
    ]
    plain = (
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
    )
    leaves = plain | st.sampled_from(odd)
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.tuples(inner)
            | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
        ),
        max_leaves=5,
    )


def places(content: object, path: tuple = ()) -> list[tuple]:
    """Every place in nested dictionaries."""
    found = [path] if path else []
    if isinstance(content, dict):
        for key, value in content.items():
            found += places(value, (*path, key))
    return found


def test_values_of_wrong_types(fuzz: Callable, tmp_path: Path) -> None:
    path = tmp_path / 'damaged.pth'

    def check(example: tuple[tuple, object]) -> None:
        (*outer, last), value = example
        content = inner = checkpoint()
        for key in outer:
            inner = inner[key]
        inner[last] = value
        try:
            path.write_bytes(saved(content))
        except (pickle.PicklingError, RuntimeError, TypeError):
            return  # no such file can be
        opened(path)

    fuzz(check, st.tuples(st.sampled_from(places(checkpoint())), values()))
