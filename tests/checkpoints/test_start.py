"""Which published network a training of own data starts from."""

import pytest
import torch
from other_networks import mmdet_net, mmpretrain_net, torchvision_net

from mnv2_mm.checkpoints import start
from mnv2_mm.checkpoints.file import read
from mnv2_mm.checkpoints.hub import CACHE_VARIABLE, published_models
from mnv2_mm.models import MobileNetV2
from mnv2_mm.utils.errors import InputError


@pytest.fixture
def had(tmp_path, monkeypatch):
    """Names that can be had; without the network only those in the cache."""
    names: set[str] = set()

    def checkpoint_of(model):
        if model.name not in names:
            raise InputError(f'{model.file} could not be downloaded\nFetch it by hand')
        return tmp_path / model.name

    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(start, 'checkpoint_of', checkpoint_of)
    return names


def test_the_best_that_can_be_had(had, tmp_path, capsys):
    assert start._published('det')[0] is None
    assert capsys.readouterr().out.count('could not be downloaded') == 4
    had.add('mnv2_in1k_quant')
    assert start._published('det')[1] == 'mnv2_in1k_quant'
    had |= {'ssd_mnv2_openimages', 'deeplabv3_mnv2_voc'}
    assert start._published('det')[1] == 'ssd_mnv2_openimages'
    assert start._published('seg')[1] == 'deeplabv3_mnv2_voc'
    assert start._published('cls')[1] == 'mnv2_in1k_quant'


def test_one_in_the_cache_is_taken_before_a_download(had, tmp_path):
    had |= {'ssdlite_mnv2_coco', 'ssd_mnv2_openimages'}
    assert start._published('det')[1] == 'ssdlite_mnv2_coco'
    (tmp_path / published_models()['ssd_mnv2_openimages'].file).touch()
    assert start._published('det')[1] == 'ssd_mnv2_openimages'


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / 'a.pth'
    torch.save({'state_dict': {'backbone.conv.weight': torch.zeros(3)}}, path)
    with pytest.raises(InputError, match='no MobileNetV2 of width 1'):
        start.write_start('det', str(path), tmp_path / 'start.pth')


@pytest.mark.parametrize('make', [mmpretrain_net, mmdet_net, torchvision_net])
def test_weights_of_another_code_base_are_converted(make, tmp_path):
    """The hosts' names begin with "backbone." too, as ours do."""
    weights, path = make(1.0).state_dict(), tmp_path / 'a.pth'
    if make is not torchvision_net:
        weights = {f'backbone.{key}': value for key, value in weights.items()}
    if make is mmdet_net:  # of SSDLite
        weights |= {
            'neck.extra_layers.0.1.depthwise_conv.conv.weight': torch.ones(
                256, 1, 3, 3
            ),
            'bbox_head.reg_convs.1.0.conv.weight': torch.ones(1280, 1, 3, 3),
        }
    if make is mmpretrain_net:  # of other classes
        weights['head.fc.weight'] = torch.ones(3, 1280)
    torch.save({'state_dict': weights}, path)
    _, found, training = start.write_start('det', str(path), tmp_path / 'start.pth')
    assert 'backbone.layer1.0.depthwise_conv.conv.weight' in found
    assert ('neck.extra_layers.0.1.conv.weight' in found) == (make is mmdet_net)
    assert ('head.fc.weight' in found) == (make is torchvision_net)
    assert read(tmp_path / 'start.pth')['state_dict'].keys() == found.keys()
    assert training['padding'] == 'symmetric'
    assert training['mean'] == [123.675, 116.28, 103.53]


def test_own_weights_are_copied(tmp_path):
    weights = {f'backbone.{k}': v for k, v in MobileNetV2().state_dict().items()}
    meta = {'padding': 'same', 'preprocessing': {'mean': [128.0] * 3, 'std': [128] * 3}}
    path, target = tmp_path / 'a.pth', tmp_path / 'start.pth'
    torch.save({'state_dict': weights, 'meta': meta}, path)
    training = start.write_start('det', str(path), target)[2]
    assert target.read_bytes() == path.read_bytes()
    assert training == {'padding': 'same'}
    # a training records its config
    config = {'model.backbone.padding': "'symmetric'"}
    config |= {
        f'model.data_preprocessor.{key}.{n}': str(value)
        for key, value in (('mean', 123.0), ('std', 58.0))
        for n in range(3)
    }
    for config_there, wanted in ((config, 'symmetric'), ('damaged', None)):
        meta = {'mnv2_mm_training': {'config': config_there}}
        torch.save({'state_dict': weights, 'meta': meta}, path)
        training = start.write_start('det', str(path), target)[2]
        assert training.get('padding') == wanted
        assert ('mean' in training) == (wanted is not None)
