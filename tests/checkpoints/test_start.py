"""Which published network a training of own data starts from."""

import pytest

from mnv2_mm.checkpoints import start
from mnv2_mm.checkpoints.hub import CACHE_VARIABLE, published_models
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
    import torch

    path = tmp_path / 'a.pth'
    torch.save({'state_dict': {'backbone.conv.weight': torch.zeros(3)}}, path)
    with pytest.raises(InputError, match='no MobileNetV2 of width 1'):
        start.write_start('det', str(path), tmp_path / 'start.pth')
