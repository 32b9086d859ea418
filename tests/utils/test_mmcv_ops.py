"""The stand-ins are put into mmcv where it has no ops, and named."""

import importlib
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from unittest import mock

import pytest

import mnv2_mm.ops
from mnv2_mm.utils.mmcv_ops import SENTENCES, add_standin_ops, ops_kind


@pytest.fixture
def mmcv(tmp_path, monkeypatch):
    """The folder of an mmcv without ops, as pip installs it."""
    folder = tmp_path / 'mmcv'
    info = tmp_path / 'onedl_mmcv-2.3.6.dist-info'
    folder.mkdir()
    info.mkdir()
    (folder / '__init__.py').touch()
    (info / 'METADATA').write_text('Name: onedl-mmcv\nVersion: 2.3.6\n')
    (info / 'RECORD').write_text(f'mmcv/__init__.py,,\n{info.name}/RECORD,,\n')
    monkeypatch.delitem(sys.modules, 'mmcv', raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def test_an_mmcv_without_ops_gets_the_stand_ins_once(mmcv):
    assert ops_kind() == 'none'
    assert str(mmcv) in add_standin_ops()
    assert ops_kind() == 'stand-ins'
    assert add_standin_ops() is None
    assert 'NMS' in SENTENCES[ops_kind()]


def test_pip_removes_them_together_with_mmcv(mmcv):
    add_standin_ops()
    (mmcv / '_ext.py').write_text('an older copy')
    add_standin_ops()
    (record,) = mmcv.parent.glob('*/RECORD')
    assert record.read_text().count('mmcv/_ext.py,,\n') == 1


def test_a_compiled_module_wins_and_is_left_alone(mmcv):
    add_standin_ops()
    compiled = mmcv / f'_ext{EXTENSION_SUFFIXES[0]}'
    compiled.write_bytes(b'compiled')
    assert ops_kind() == 'compiled'
    (mmcv / '_ext.py').unlink()
    assert add_standin_ops() is None
    assert [file.name for file in mmcv.glob('_ext*')] == [compiled.name]
    assert compiled.read_bytes() == b'compiled'


def test_without_mmcv_there_is_nothing_to_do(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, 'mmcv', raising=False)
    monkeypatch.setattr(sys, 'path', [str(tmp_path)])
    assert ops_kind() == 'none'
    assert add_standin_ops() is None


def test_the_written_module_brings_the_ops(mmcv):
    """mmcv loads an op by its name, one that nobody has too."""
    add_standin_ops()
    with mock.patch.dict(sys.modules):
        sys.modules.pop('mmcv._ext', None)
        ext = importlib.import_module('mmcv._ext')
    assert ext.__file__ == str(mmcv / '_ext.py')
    assert ext.nms is mnv2_mm.ops.nms
    assert callable(ext.carafe_forward)
