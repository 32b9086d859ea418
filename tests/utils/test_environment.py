"""Importing patches nothing; the environment is repaired where it must be."""

import os
import shutil
import subprocess
import sys
from itertools import permutations
from pathlib import Path

import pytest

from mnv2_mm.utils import environment

ROOT = Path(__file__).resolve().parents[2]


def python(code, **env):
    return subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code],
        capture_output=True,
        text=True,
        env={**os.environ, **env},
    )


def test_importing_the_package_is_light_and_patches_nothing():
    done = python(
        'import sys, time\n'
        'before, start = list(sys.meta_path), time.process_time()\n'
        'import mnv2_mm\n'
        'seconds = time.process_time() - start\n'
        "heavy = {'torch', 'torchvision', 'numpy', 'mmengine', 'mmcv'}\n"
        'print(sorted(heavy & set(sys.modules)), sys.meta_path == before)\n'
        'print(seconds)\n'
    )
    seen, seconds = done.stdout.splitlines()
    assert seen == '[] True', done.stderr
    assert float(seconds) < 0.1


def test_the_public_functions_are_imported_when_used():
    done = python(
        'import sys, mnv2_mm\n'
        "assert 'mnv2_mm.api' not in sys.modules\n"
        "print(mnv2_mm.init_model.__module__, 'torch' in sys.modules)\n"
        'mnv2_mm.no_such_name\n'
    )
    assert done.stdout == 'mnv2_mm.api False\n'
    assert "no attribute 'no_such_name'" in done.stderr


HOSTS = ('mmdet.apis', 'mmseg.apis', 'mmpretrain.apis')


@pytest.mark.slow
@pytest.mark.parametrize('order', permutations((*HOSTS, 'torchvision')), ids=str)
def test_hosts_are_imported_in_any_order_without_this_package(order):
    """24 processes that import everything: minutes long."""
    done = python('; '.join(f'import {name}' for name in order))
    assert done.returncode == 0, done.stderr


@pytest.mark.slow  # tools/run_tests.sh imports them at its start
@pytest.mark.parametrize('first', (*HOSTS, 'torchvision.transforms'))
def test_each_host_can_be_imported_first(first):
    pytest.importorskip(first.partition('.')[0])
    done = python(f"import {first}, sys; print('mnv2_mm.registry' in sys.modules)")
    assert done.stdout.endswith('False\n'), done.stderr


BROKEN = 'operator torchvision::nms does not exist'


@pytest.mark.parametrize('fails', [True, False])
def test_the_repair_is_written_where_it_is_needed_only(tmp_path, monkeypatch, fails):
    (tmp_path / f'{environment.MODULE}.py').write_text('an older copy')
    monkeypatch.setattr(environment, '_torchvision_fails', lambda: fails)
    said = environment.repair_torchvision(tmp_path)
    files = sorted(file.name for file in tmp_path.iterdir())
    if fails:
        assert environment.MODULE in said
        assert files == [f'{environment.MODULE}.pth', f'{environment.MODULE}.py']
    else:
        assert said is None
        assert files == []


def test_the_written_files_repair_a_torchvision_without_operators(tmp_path):
    """A torchvision that fails as the index's does beside a CPU torch."""
    package = tmp_path / 'torchvision'
    package.mkdir()
    (package / '__init__.py').write_text(
        'import torch\n'
        "torch.library.register_fake('torchvision::nms')(lambda *a: a[0])\n"
    )
    (package / '_C.so').write_bytes(b'no library')
    hook = tmp_path / 'hook'
    hook.mkdir()
    shutil.copy(environment.__file__, hook / f'{environment.MODULE}.py')
    (hook / f'{environment.MODULE}.pth').write_text(environment._LINE)
    code = (
        'import site, sys, torch\n'
        # this environment may have the hook already
        'sys.meta_path[:] = [entry for entry in sys.meta_path '
        "if type(entry).__name__ != '_BeforeTorchvision']\n"
        'try:\n'
        '    import torchvision\n'
        'except RuntimeError as error:\n'
        '    print(error)\n'
        f'site.addsitedir({str(hook)!r})\n'
        'import torchvision; print(torch.ops.torchvision.nms)\n'
    )
    path = dict(PYTHONPATH=os.pathsep.join((str(tmp_path), str(ROOT))))
    done = python(code, **path)
    assert BROKEN in done.stdout
    assert 'torchvision.nms' in done.stdout.splitlines()[-1], done.stderr


def test_a_torchvision_that_does_not_fit_is_explained():
    from mnv2_mm.utils.config import get_config
    from mnv2_mm.utils.config_errors import readable_config_errors
    from mnv2_mm.utils.errors import InputError

    cfg = get_config('ssdlite_sample')
    with pytest.raises(InputError, match='--repair'), readable_config_errors(cfg):
        raise RuntimeError(BROKEN)
    with pytest.raises(RuntimeError, match=r'^other$'), readable_config_errors(cfg):
        raise RuntimeError('other')
