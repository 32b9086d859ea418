"""openmim works with the wheel: install, list, search, download, train and test."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
#: What openmim imports and this project does not. Its dependency openxlab is for data
#: sets alone; newer ones ask for setuptools 60, which torch does not accept.
MIM = ('openmim==0.3.9', 'tabulate', 'pandas')
FLAGS = ['--cfg-options', 'train_cfg.max_epochs=1', 'train_cfg.val_interval=1']
FLAGS += ['param_scheduler.LinearLR.end=1']
FLAGS += [
    f'{loader}_dataloader.{key}'
    for loader in ('train', 'val', 'test')
    for key in ('num_workers=0', 'persistent_workers=False')
]

pytestmark = pytest.mark.slow  # a wheel, an environment, a training: minutes


@pytest.fixture(scope='module')
def mim(tmp_path_factory):
    """Run mim in an environment with these packages, but without this project."""
    root = tmp_path_factory.mktemp('mim')
    # links outside of the environment: pip removes nothing there
    (root / 'packages').mkdir()
    for path in sys.path:
        if not path.endswith('-packages'):
            continue
        for entry in Path(path).iterdir():
            target = root / 'packages' / entry.name
            ours = 'mnv2_mm-' in entry.name or entry.name.startswith('__editable__')
            if not (ours or target.exists() or entry.suffix == '.pth'):
                target.symlink_to(entry)
    venv.create(root / 'venv')
    python = root / 'venv/bin/python'
    (site,) = (root / 'venv').glob('lib/python*/site-packages')
    (site / 'packages.pth').write_text(f'{root / "packages"}\n')
    for path in sys.path:  # the repair of torchvision, where there is one
        for file in Path(path).glob('_mnv2_mm_torchvision.p*'):
            shutil.copy(file, site)
    wheel = ('wheel', '--no-build-isolation', '--no-deps', '--no-index', '-q')
    source = root / 'source'
    ignore = shutil.ignore_patterns('.*', 'work_dirs', 'data', '__pycache__')
    shutil.copytree(ROOT, source, ignore=ignore)
    env = os.environ | {'OMP_NUM_THREADS': '1', 'PIP_FIND_LINKS': str(root / 'wheels')}
    env.pop('PYTHONPATH', None)

    def run(*arguments, module='mim', **more):
        return subprocess.run(
            [python, '-m', module, *map(str, arguments)],
            cwd=root,
            env=env | more,
            capture_output=True,
            text=True,
        )

    for arguments in ((*wheel, '-w', root / 'wheels', source), ('install', *MIM)):
        more = ('--no-deps',) if arguments[0] == 'install' else ()
        done = run(*arguments, *more, module='pip')
        if done.returncode and arguments[0] == 'install':
            pytest.skip(f'openmim cannot be installed: {done.stderr[-300:]}')
        assert done.returncode == 0, done.stderr[-2000:]
    return root, run


def test_install_search_download_train_test(mim):
    from mnv2_mm.datasets.sample.writer import SampleSettings, write_sample_set

    root, run = mim

    def checked(*arguments, **env):
        done = run(*arguments, **env)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    # the project is not on the package index: the wheel comes from PIP_FIND_LINKS
    checked('install', 'mnv2_mm', PIP_NO_INDEX='1', PIP_RETRIES='0')
    assert 'mnv2' in checked('list')
    found = checked('search', 'mnv2_mm', '--config', 'ssdlite_mnv2_coco')
    assert 'configs/official/ssdlite_mnv2_coco.py' in found
    # the file of weights is there already: no network
    (root / 'dl').mkdir()
    (root / 'dl/ssdlite_mobilenet_v2_coco_2018_05_09.tar.gz').touch()
    config = ('mnv2_mm', '--config', 'ssdlite_mnv2_coco')
    checked('download', *config, '--dest', root / 'dl')
    assert 'SSDLiteHead' in (root / 'dl/ssdlite_mnv2_coco.py').read_text()

    write_sample_set(root / 'data/sample', SampleSettings(train=16, val=8))
    (root / 'mine.py').write_text("_base_ = 'mnv2_mm::ssdlite_sample.py'\n")
    checked('train', 'mnv2_mm', 'mine.py', '--work-dir', root / 'work', *FLAGS)
    weights = root / 'work/epoch_1.pth'
    assert weights.is_file()
    out = checked(
        *('test', 'mnv2_mm', 'ssdlite_sample.py', '--checkpoint', weights),
        *('--work-dir', root / 'test', *FLAGS),
    )
    assert 'Testing finished successfully' in out
    assert (root / 'test/metrics.json').is_file()
