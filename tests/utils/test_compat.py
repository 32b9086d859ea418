"""Version differences: which family is installed, and readable checkpoints."""

import os
import subprocess
import sys
import zipfile
from pickle import UnpicklingError

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader

import mnv2_mm.registry  # noqa: F401  allows mmengine's checkpoints
from mnv2_mm.utils import compat

FORCE = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD'
upstream_only = pytest.mark.skipif(
    compat.stack() != 'upstream', reason='onedl-mmengine has its own rules'
)


def python(code, **env):
    return subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code],
        capture_output=True,
        text=True,
        env={**os.environ, **env},
    )


# -------------------------------------------------------------- the family
@pytest.mark.parametrize(
    ('distributions', 'expected'),
    [
        ([], 'none'),
        (['torch', 'timm'], 'none'),
        (['mmdet'], 'upstream'),
        (['mmengine', 'mmcv', 'mmsegmentation'], 'upstream'),
        (['onedl-mmcv', 'onedl-mmpretrain'], 'onedl'),
        (['onedl-mmengine', 'mmengine'], 'mixed'),
        (['onedl-mmengine', 'mmdet'], 'mixed'),
    ],
)
def test_stack(monkeypatch, distributions, expected):
    monkeypatch.setattr(
        compat, 'version_of', lambda n: '1.0' if n in distributions else None
    )
    assert compat.stack() == expected


def test_families_of_one_module(monkeypatch):
    versions = {'mmcv': '2.1.0', 'onedl-mmcv': '2.3.6', 'mmdet': '3.3.0'}
    monkeypatch.setattr(compat, 'version_of', versions.get)
    assert compat.families('mmcv') == {'onedl': '2.3.6', 'upstream': '2.1.0'}
    assert compat.families('mmdet') == {'upstream': '3.3.0'}
    assert compat.families('mmseg') == {}


def test_this_environment_holds_one_family():
    assert compat.stack() in ('onedl', 'upstream')


def test_version_of_what_is_not_there():
    assert compat.version_of('no-such-distribution') is None
    assert not compat.installed('no_such_module')


# -------------------------------------------------------------- checkpoints
def trained():
    """What mmengine saves besides weights: histories in a message hub."""
    history = HistoryBuffer(np.array([1.5, 2.5]), np.array([1, 1]))
    history.update(3.5)
    scalar = dict(count=np.int64(3), loss=np.float64(0.25))
    return dict(
        state_dict=dict(weight=torch.ones(2)),
        message_hub=dict(log_scalars={'train/loss': history}, info=scalar),
        meta=dict(epoch=1, palette=[(1, 2, 3)]),
    )


class Calls:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def load(file):
    return CheckpointLoader.load_checkpoint(str(file), logger=None)


def test_own_checkpoints_are_read(tmp_path, monkeypatch):
    monkeypatch.setenv(FORCE, '1')
    torch.save(trained(), tmp_path / 'a.pth')
    read = load(tmp_path / 'a.pth')
    history = read['message_hub']['log_scalars']['train/loss']
    assert history.current() == 3.5
    assert history.statistics('mean') == 2.5
    assert read['message_hub']['info']['loss'] == 0.25


@upstream_only
def test_checkpoints_written_under_the_other_numpy_are_read(tmp_path):
    torch.save(trained(), tmp_path / 'a.pth')
    names = [b'numpy._core.multiarray', b'numpy.core.multiarray']
    with (
        zipfile.ZipFile(tmp_path / 'a.pth') as source,
        zipfile.ZipFile(tmp_path / 'b.pth', 'w') as target,
    ):
        for name in source.namelist():
            data = source.read(name)
            if name.endswith('data.pkl'):
                here, other = names if names[0] in data else names[::-1]
                assert here in data
                data = data.replace(here, other)
            target.writestr(name, data)
    read = load(tmp_path / 'b.pth')
    history = read['message_hub']['log_scalars']['train/loss']
    assert history.current() == 3.5


@pytest.mark.parametrize(
    ('call', 'named'),
    [
        (lambda file: Calls(os.mkdir, str(file)), '.mkdir'),
        (lambda file: Calls(eval, f"open({str(file)!r}, 'w')"), 'eval'),
    ],
    ids=['os.mkdir', 'eval'],
)
def test_a_checkpoint_that_runs_code_is_refused(tmp_path, monkeypatch, call, named):
    if compat.stack() == 'onedl':  # it warns and reads on, unless told
        monkeypatch.setenv(FORCE, '1')
    torch.save(dict(extra=call(tmp_path / 'x')), tmp_path / 'a.pth')
    with pytest.raises(UnpicklingError) as caught:
        load(tmp_path / 'a.pth')
    assert not (tmp_path / 'x').exists()
    text = compat.why_unreadable(caught.value)
    assert named in text
    assert 'would run' in text
    assert '\n' not in text


@upstream_only
@pytest.mark.parametrize(
    ('owner', 'name'), [(HistoryBuffer, '__init__'), (np.ndarray, 'tofile')]
)
def test_getattr_reaches_histories_only(tmp_path, owner, name):
    torch.save(dict(extra=Calls(getattr, owner, name)), tmp_path / 'a.pth')
    with pytest.raises(UnpicklingError, match='getattr'):
        load(tmp_path / 'a.pth')


def test_other_reasons_are_kept_to_one_line():
    error = UnpicklingError('invalid load key.\nSee the documentation.')
    assert compat.why_unreadable(error) == 'invalid load key.'
