"""Files of PyTorch and safetensors: what is read, what is refused."""

import importlib
import io
import json
import pickle
import re
import sys
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnv2_mm.checkpoints.readers.torch_file import read_torch
from mnv2_mm.utils.errors import InputError

A, B = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])


def saved(content, path, **kwargs):
    torch.save(content, path, **kwargs)
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'weights.pth'


@pytest.mark.parametrize(
    ('content', 'where', 'set_aside'),
    [
        ({'a': A}, 'PyTorch', {}),
        (OrderedDict(a=A), 'PyTorch', {}),
        ({'module.a': A}, 'PyTorch', {}),
        ({'_orig_mod.module.a': A}, 'PyTorch', {}),
        (
            {'state_dict': {'a': A}, 'optimizer': {'state': {0: B}}},
            'PyTorch, state_dict',
            {'optimizer': 'state of the optimizer'},
        ),
        ({'model': {'state_dict': {'a': A}}}, 'PyTorch, state_dict', {}),
        # Lightning
        ({'state_dict': {'model.a': A}}, 'PyTorch, state_dict', {}),
        # timm, torchvision's training script, RT-DETR
        (
            {'state_dict': {'a': B}, 'state_dict_ema': {'a': A}, 'epoch': 3},
            'PyTorch, state_dict_ema',
            {
                'state_dict': 'raw weights; their moving average is read',
                'epoch': 'of the training, no weights',
            },
        ),
        (
            {
                'model': {'a': B},
                'model_ema': {'module.a': A, 'n_averaged': torch.tensor(7)},
            },
            'PyTorch, model_ema',
            {
                'model': 'raw weights; their moving average is read',
                'n_averaged': 'torch.int64, no float',
            },
        ),
        (
            {'ema': {'module': {'a': A}, 'decay': 0.9}, 'model': {'a': B}},
            'PyTorch, module',
            {
                'model': 'raw weights; their moving average is read',
                'ema.decay': 'of the training, no weights',
            },
        ),
        # mmengine saves the average as state_dict
        (
            {'state_dict': {'a': A}, 'ema_state_dict': {'a': B}},
            'PyTorch, state_dict',
            {'ema_state_dict': 'raw weights, kept by EMAHook to resume'},
        ),
        # a config under the name of the weights
        (
            {'model': {'width': 1.0}, 'net': {'a': A}},
            'PyTorch, net',
            {'model': 'of the training, no weights'},
        ),
        (
            {
                'a': A,
                'bn.num_batches_tracked': torch.tensor(5),
                'steps': torch.tensor([5]),
                'arch': 'mobilenet_v2',
            },
            'PyTorch',
            {
                'bn.num_batches_tracked': 'counter of batches',
                'steps': 'torch.int64, no float',
                'arch': 'no tensor',
            },
        ),
    ],
)
@pytest.mark.parametrize('zipped', [True, False])
def test_the_weights_are_found(content, where, set_aside, zipped, path):
    saved(content, path, _use_new_zipfile_serialization=zipped)
    source = read_torch(path)
    assert source.format == where
    assert {k: v.tolist() for k, v in source.tensors.items()} == {'a': A.tolist()}
    assert source.set_aside == set_aside


@pytest.mark.parametrize(
    ('prefix', 'other'),
    [
        ('module._orig_mod.', 'n_averaged'),
        ('model.', 'criterion.weight'),
        ('model._orig_mod.', 'criterion.weight'),
    ],
)
def test_wrappers_are_left_out_where_one_key_has_none(prefix, other, path):
    weights = {f'{prefix}features.1.conv.0.0.weight': A, other: B}
    source = read_torch(saved({'state_dict': weights}, path))
    assert source.tensors.keys() == {'features.1.conv.0.0.weight', other}


def test_a_checkpoint_of_a_training_is_read(trained):
    _, checkpoint = trained('cls')
    source = read_torch(checkpoint)
    assert source.format == 'PyTorch, state_dict'
    assert source.tensors['backbone.conv1.conv.weight'].shape == (16, 3, 3, 3)
    assert source.set_aside['optimizer'] == 'state of the optimizer'
    assert 'message_hub' in source.set_aside


@pytest.mark.parametrize(
    'extra',
    [
        {'optimizer': [{'a': B}]},
        {'meta': 'my run'},
        {'meta': {'epoch': np.int64(3)}},
        {'meta': {'epoch': -1, 'dataset_meta': {'classes': {0: 'cat'}}}},
        {'message_hub': [1]},
    ],
)
def test_what_is_not_used_may_be_anything(extra, path):
    source = read_torch(saved({'state_dict': {'a': A}, **extra}, path))
    assert source.set_aside.keys() == extra.keys()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_all_floats_become_float32(dtype, path):
    source = read_torch(saved({'a': A.to(dtype)}, path))
    assert source.tensors['a'].dtype == torch.float32
    assert source.tensors['a'].tolist() == [1.0, 2.0]


def test_the_file_may_be_written_over(path):
    source = read_torch(saved({'a': torch.arange(4.0)}, path))
    path.write_bytes(b'')
    assert source.tensors['a'].tolist() == [0.0, 1.0, 2.0, 3.0]


def test_safetensors_are_told_by_their_content(tmp_path):
    save_file = pytest.importorskip('safetensors.torch').save_file
    path = tmp_path / 'weights.bin'
    save_file({'module.a': A, 'steps': torch.tensor(3)}, path)
    source = read_torch(path)
    assert source.format == 'safetensors'
    assert source.tensors['a'].tolist() == [1.0, 2.0]
    assert source.set_aside == {'steps': 'torch.int64, no float'}


def test_the_package_safetensors_may_be_absent(monkeypatch, tmp_path):
    path = tmp_path / 'weights.safetensors'
    path.write_bytes(safetensors_of([1], 4) + bytes(4))
    assert read_torch(path).tensors['a'].tolist() == [0.0]
    monkeypatch.setitem(sys.modules, 'safetensors.torch', None)
    with pytest.raises(InputError, match='pip install safetensors'):
        read_torch(path)


def safetensors_of(shape, end):
    header = json.dumps(
        {'a': {'dtype': 'F32', 'shape': shape, 'data_offsets': [0, end]}}
    ).encode()
    return len(header).to_bytes(8, 'little') + header


ran = []


def run_me():
    ran.append(True)
    return 'ran'


class Calls:
    """Pickled as a call of :func:`run_me`."""

    def __reduce__(self):
        return run_me, ()


@pytest.mark.parametrize('zipped', [True, False])
def test_a_file_cannot_run_code(zipped, path):
    content = {'state_dict': {'a': A}, 'extra': Calls()}
    saved(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=r'would run \S+run_me when read'):
        read_torch(path)
    assert not ran
    torch.load(path, weights_only=False)
    assert ran.pop()


@pytest.mark.parametrize('name', [None, 'model', 'ema'])
def test_a_whole_model_is_read_where_it_is_trusted(name, path):
    model = torch.nn.Linear(2, 2)
    saved({name: model, 'epoch': 3} if name else model, path)
    with pytest.raises(InputError, match=r'would run torch\.nn'):
        read_torch(path)
    assert read_torch(path, trust=True).tensors.keys() == {'weight', 'bias'}


def test_code_that_a_trusted_file_lacks_is_named(path, monkeypatch, tmp_path):
    (tmp_path / 'their_code.py').write_text('class Net: pass')
    monkeypatch.syspath_prepend(tmp_path)
    saved({'a': A, 'net': importlib.import_module('their_code').Net()}, path)
    monkeypatch.undo()
    del sys.modules['their_code']
    with pytest.raises(InputError, match=r'their_code.*PYTHONPATH'):
        read_torch(path, trust=True)


def archive(entries, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w', compression) as file:
        for name, content in entries.items():
            file.writestr(f'archive/{name}', content)
    return buffer.getvalue()


def torch_bytes(content, **kwargs):
    buffer = io.BytesIO()
    torch.save(content, buffer, **kwargs)
    return buffer.getvalue()


def entries_of(data):
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return {name.partition('/')[2]: file.read(name) for name in file.namelist()}


WEIGHTS = {'conv.weight': torch.arange(6.0).view(2, 3), 'bn.bias': A}
ZIPPED = torch_bytes(WEIGHTS)
LEGACY = torch_bytes(WEIGHTS, _use_new_zipfile_serialization=False)
TABLE = safetensors_of([2, 3], 24) + bytes(24)


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def claiming(data, count):
    """The old format, with another number of values in the first tensor."""
    pickled, changed = re.subn(rb'(cpuq.)K\x06', lambda m: m[1] + count, data, count=1)
    assert changed
    return pickled


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (b'', 'not a checkpoint'),
        (b'\n<!DOCTYPE html><html>404</html>', 'is a web page'),
        (b'version https://git-lfs.github.com/spec/v1', 'Git LFS'),
        (b'\x89HDF\r\n\x1a\n' + bytes(64), 'not a checkpoint'),
        (b'\x80\x02' + pickle.dumps({'a': 1}), 'not one of PyTorch'),
        (ZIPPED[:-40], 'is cut off'),
        (LEGACY[:-4], 'is damaged or cut off'),
        (LEGACY[:150], 'is damaged or cut off'),
        (TABLE[:-4], 'is damaged or cut off'),
        (TABLE[:20], 'is damaged or cut off'),
        # one bit of a weight: only the checksum can tell
        (flipped(ZIPPED, ZIPPED.index(WEIGHTS['conv.weight'].numpy())), 'Bad CRC-32'),
        (archive({'constants.pkl': b'', 'data.pkl': b''}), 'TorchScript'),
        (archive({'readme.txt': b'hello'}), 'no data.pkl'),
        (archive(entries_of(ZIPPED), zipfile.ZIP_DEFLATED), 'compressed'),
        # a terabyte, and two billion values
        (safetensors_of([10**12], 4 * 10**12) + bytes(24), 'damaged'),
        ((1 << 60).to_bytes(8, 'little') + b'{' + bytes(99), 'damaged'),
        (claiming(LEGACY, b'J\xff\xff\xff\x7f'), 'damaged'),
        (torch_bytes({'a': A[:1].expand(1 << 20, 1 << 20)}), 'room for'),
        (torch_bytes([A]), 'holds no weights'),
        (torch_bytes({0: A}), 'holds no weights'),
        (torch_bytes({'state_dict': {}}), 'holds no weights'),
        (torch_bytes({'a': torch.tensor([1])}), 'no floating-point'),
        (torch_bytes({'a': torch.empty(9, device='meta')}), 'no floating-point'),
    ],
)
def test_other_files_are_refused(content, said, path):
    path.write_bytes(content)
    with pytest.raises(InputError, match=said) as error:
        read_torch(path)
    assert str(path) in str(error.value)


def test_a_missing_file_and_a_wrong_ending_are_named(tmp_path):
    with pytest.raises(InputError, match=r'no checkpoint .*none\.pth'):
        read_torch(tmp_path / 'none.pth')
    path = saved({'a': A}, tmp_path / 'a.safetensors')
    with pytest.raises(InputError, match='no safetensors file'):
        read_torch(path)


def test_files_without_checksums_are_read(path):
    crc32 = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        saved({'a': A}, path)
    finally:
        torch.serialization.set_crc32_options(crc32)
    assert read_torch(path).tensors['a'].tolist() == [1.0, 2.0]


@st.composite
def damaged(draw, data):
    """Some bytes changed, then perhaps cut off."""
    content = bytearray(data)
    places = st.integers(0, len(data) - 1)
    changes = draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=4))
    for place, value in changes:
        content[place] = value
    return bytes(content[: draw(places | st.just(len(data)))])


@st.composite
def repacked(draw):
    """A damaged pickle in a sound archive: no checksum can tell."""
    entries = entries_of(ZIPPED)
    entries['data.pkl'] = draw(damaged(entries['data.pkl']))
    return archive(entries)


# torch names odd protocols that damaged pickles begin with
@pytest.mark.filterwarnings('ignore:Detected pickle protocol')
@pytest.mark.parametrize(
    'contents',
    [damaged(ZIPPED), damaged(LEGACY), damaged(TABLE), repacked()],
    ids=['zipped', 'legacy', 'safetensors', 'repacked'],
)
def test_damaged_files_are_read_or_refused(contents, path):
    @settings(
        max_examples=150,
        deadline=2000,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
    )
    @given(contents)
    def check(content):
        path.write_bytes(content)
        try:
            source = read_torch(path)
        except InputError as error:
            assert str(path) in str(error)
        else:
            assert sum(t.numel() for t in source.tensors.values()) < 1e5

    check()
