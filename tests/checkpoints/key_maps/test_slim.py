"""TF-slim's tensors in the order of mmdet's."""

import re

import pytest
import torch
from slim_variables import classifier

from mnv2_mm.checkpoints.key_maps.slim import _slots, is_slim, translate_slim


def test_background_moves_from_first_to_last():
    tf = torch.arange(2 * 4).float()  # two anchors: bg, a, b, c each
    key = 'bbox_head.cls_convs.0.weight'
    assert _slots(tf, key, 2, True).tolist() == [1, 2, 3, 0, 5, 6, 7, 4]
    weight = torch.rand(8, 5, 1, 1)
    moved = _slots(weight, key, 2, True)
    assert torch.equal(moved[3], weight[0]) and moved.shape == weight.shape
    assert torch.equal(_slots(weight, key, 2, False), weight)


OTHER = 'MobilenetV2/expanded_conv_5/project/Conv2D'  # of the same shape


def tf2(scope, leaf):
    """Names of the converters of TensorFlow 2."""
    norm = f'{scope}/BatchNorm/FusedBatchNormV3'
    if leaf == 'depthwise_weights':
        return f'{norm};{scope}/depthwise;{OTHER}', norm
    return f'{scope}/Conv2D', norm


def dense(scope, leaf):
    if 'Logits' in scope:
        return 'Logits/MatMul;MobilenetV2/Logits/Conv2d_1c_1x1/Conv2D', 'Logits/biases'
    return tf2(scope, leaf)


def keras(scope, leaf):
    """Names of TensorFlow 2's research code, which counts blocks from 1."""
    ends = {
        'Conv': 'Conv2d_0_0',
        'Conv_1': 'Conv2d_18_1',
        'Logits/Conv2d_1c_1x1': 'top/Conv2d_1x1_output',
    }
    name = scope.removeprefix('MobilenetV2/')
    match = re.fullmatch(r'expanded_conv(?:_(\d+))?/(\w+)', name)
    name = f'expanded_conv_{int(match[1] or 0) + 1}/{match[2]}' if match else ends[name]
    filter_name, norm = tf2(f'model/{name}', leaf)
    return [n.replace('/BatchNorm/', '/batch_norm/') for n in (filter_name, norm)]


@pytest.mark.parametrize(
    ('names', 'mean'),
    [(tf2, 127.5), (dense, 127.5), (keras, 127.0)],
    ids=['tf2', 'dense', 'keras'],
)
def test_names_of_tflite_files_of_tensorflow_2(tmp_path, names, mean):
    """The same tensors as by TF-slim's names."""
    pytest.importorskip('tflite')
    from tflite_writer import write_network

    from mnv2_mm.checkpoints.readers.tflite import read_tflite

    values = classifier(0.35, classes=11)
    wanted = read_tflite(write_network(tmp_path / 'slim.tflite', values))
    wanted = translate_slim(wanted).tensors
    path = tmp_path / 'other.tflite'
    source = read_tflite(write_network(path, values, names=names, dense=names is dense))
    assert is_slim(source.tensors)
    found = translate_slim(source)
    assert not found.unused
    assert found.preprocessing.mean == (mean,) * 3
    assert found.tensors.keys() == wanted.keys()
    assert all(torch.equal(found.tensors[key], wanted[key]) for key in wanted)
