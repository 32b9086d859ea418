"""Frozen graphs, alone and in archives, without TensorFlow."""

import gzip
import sys
import tarfile
import tracemalloc

import numpy as np
import pytest
from graph_writer import archive, field, floats, frozen, node, tensor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip('google.protobuf')

from mnv2_mm.checkpoints.readers import archive as archives
from mnv2_mm.checkpoints.readers.tensorflow import is_tensorflow, read_tensorflow
from mnv2_mm.utils.errors import InputError

NAME = 'MobilenetV2/Conv/weights'


@pytest.fixture(autouse=True)
def without_tensorflow(monkeypatch):
    monkeypatch.setitem(sys.modules, 'tensorflow', None)


def graph(path, value):
    path.write_bytes(node(NAME, 'Const', value=value))
    return path


BITS = np.float32([1.5, -2]).view('<u4') >> 16


@pytest.mark.parametrize(
    'value, wanted',
    [
        (tensor(np.float32([1.5, -2])), [1.5, -2]),
        (tensor(np.float16([1.5, -2])), [1.5, -2]),
        (tensor(np.float64([1.5, -2])), [1.5, -2]),
        (tensor(BITS.astype('<u2'), kind=14), [1.5, -2]),
        (tensor([0, 0], kind=1, stored=floats(1.5, -2)), [1.5, -2]),
        # a number as a field of its own, as old writers do
        (tensor([0], kind=1, stored=b'\x2d\x00\x00\xc0\x3f'), [1.5]),
        # the last one fills the shape
        (tensor([0] * 4, kind=1, stored=floats(1.5, -2)), [1.5, -2, -2, -2]),
        (tensor([0, 0], kind=1, stored=b''), [0, 0]),
        # half_val holds bits
        (tensor([0, 0], kind=19, stored=field(13, 0x3E00)), [1.5, 1.5]),
        (tensor([0, 0], kind=14, stored=field(13, int(BITS[0]))), [1.5, 1.5]),
    ],
)
def test_values(tmp_path, value, wanted):
    source = read_tensorflow(graph(tmp_path / 'graph.pb', value))
    assert source.tensors[NAME].tolist() == wanted
    assert source.format == 'TensorFlow frozen graph'


def test_shapes_and_reasons(tmp_path):
    values = np.arange(54, dtype=np.float32).reshape(3, 3, 3, 2)
    path = tmp_path / 'graph.pb'
    path.write_bytes(frozen({NAME: values}))
    source = read_tensorflow(path)
    np.testing.assert_array_equal(source.tensors[NAME], values)
    assert len(source.set_aside) == 30
    assert len(set(source.set_aside.values())) == 1  # one line of the report


@pytest.mark.parametrize(
    'value, said',
    [
        (tensor([0], kind=1, shape=[1 << 20] * 2, stored=floats(1)), '1099511627776'),
        (tensor([0], kind=1, shape=[-1], stored=floats(1)), 'damaged'),
        (tensor(np.float32([1, 2]), shape=[3]), 'damaged'),
        (tensor([0], kind=1, shape=[1], stored=floats(1, 2)), 'damaged'),
        (tensor(np.int32([1])), 'no variables'),
    ],
)
def test_false_constants_are_refused(tmp_path, value, said):
    with pytest.raises(InputError, match=said):
        read_tensorflow(graph(tmp_path / 'graph.pb', value))


@pytest.mark.parametrize('content', [b'<html>404</html>', b'', b'\xff' * 99])
def test_other_files_are_refused(content, tmp_path):
    path = tmp_path / 'graph.pb'
    path.write_bytes(content)
    with pytest.raises(InputError, match=str(path)):
        read_tensorflow(path)


def test_protobuf_may_be_absent(tmp_path, monkeypatch):
    from mnv2_mm.checkpoints.readers import graph_messages

    graph_messages.graph_def.cache_clear()
    monkeypatch.setitem(sys.modules, 'google.protobuf', None)
    monkeypatch.setitem(sys.modules, 'google.protobuf.descriptor_pb2', None)
    with pytest.raises(InputError, match='pip install protobuf'):
        read_tensorflow(graph(tmp_path / 'graph.pb', tensor(np.float32([1]))))


@settings(
    max_examples=100,
    deadline=2000,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_damaged_graphs(tmp_path, data):
    content = bytearray(frozen({NAME: np.ones((2, 3)), 'a/biases': np.ones(4)})[:400])
    for _ in range(data.draw(st.integers(0, 4))):
        index = data.draw(st.integers(0, len(content) - 1))
        content[index] = data.draw(st.integers(0, 255))
    path = tmp_path / 'damaged.pb'
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        source = read_tensorflow(path)
    except InputError as error:
        assert 'damaged.pb' in str(error)
    else:
        assert sum(t.numel() for t in source.tensors.values()) < 2e6


# ----------------------------------------------------------------- archives
@pytest.mark.parametrize(
    'file, member',
    [
        ('a.tar.gz', 'ssd_2018/frozen_inference_graph.pb'),
        ('a.tgz', './mobilenet_v2_0.35_96_frozen.pb'),
    ],
)
def test_the_graph_of_an_archive_is_read(tmp_path, file, member):
    path = archive(
        tmp_path / file,
        {
            '../../outside.txt': b'x',
            'ssd_2018/saved_model/saved_model.pb': b'\xff',
            member: frozen({NAME: [1.5]}),
        },
    )
    assert is_tensorflow(path)
    source = read_tensorflow(path)
    assert source.tensors[NAME].tolist() == [1.5]
    assert source.path == str(path)
    assert [p.name for p in tmp_path.iterdir()] == [file]


def test_other_archives_are_refused(tmp_path, monkeypatch):
    path = tmp_path / 'a.tgz'
    archive(path, {'saved_model.pb': b'', 'model.ckpt.index': b''})
    with pytest.raises(InputError, match=r'a\.tgz holds no frozen graph'):
        read_tensorflow(path)
    archive(path, {'x_frozen.pb': b''}, kind=tarfile.SYMTYPE)
    with pytest.raises(InputError, match='holds no frozen graph'):
        read_tensorflow(path)
    archive(path, {'x_frozen.pb': np.random.default_rng(0).bytes(9999)})
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match='damaged or cut off'):
        read_tensorflow(path)
    path.write_bytes(b'<html>moved</html>')
    with pytest.raises(InputError, match='damaged or cut off'):
        read_tensorflow(path)


@pytest.mark.parametrize('limit', ['LARGEST_GRAPH', '_LARGEST_ARCHIVE'])
def test_sizes_in_archives_are_bounded(tmp_path, monkeypatch, limit):
    path = archive(
        tmp_path / 'a.tgz', {'x': bytes(2000), 'x_frozen.pb': frozen({NAME: [1.0]})}
    )
    monkeypatch.setattr(archives, limit, 1000)
    with pytest.raises(InputError, match='holds no frozen graph'):
        read_tensorflow(path)


@pytest.mark.parametrize('kind', [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_long_name_takes_no_memory(tmp_path, kind):
    """tarfile reads it whole, here 64 MiB of a file of 64 KiB."""
    path, name = tmp_path / 'a.tgz', tarfile.TarInfo('x')
    name.type, name.size = kind, 64 << 20
    with gzip.open(path, 'wb') as file:
        file.write(name.tobuf(tarfile.GNU_FORMAT))
        for _ in range(64):
            file.write(bytes(1 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match='holds no frozen graph'):
            read_tensorflow(path)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
