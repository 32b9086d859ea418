"""``mnv2_mm::NAME`` in configs, in mmengine's hub and in the hosts' inferencers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from mnv2_mm.utils.config import config_path, get_config
from mnv2_mm.utils.config_names import PTH, _accept_in_hub, _find_for_hub, add_names
from mnv2_mm.utils.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
NAME = 'ssdlite_mnv2_coco'


@pytest.fixture
def child(tmp_path: Path) -> Path:
    """A config of a user, in a folder of their own."""
    path = tmp_path / 'mine.py'
    path.write_text(
        f"_base_ = 'mnv2_mm::{NAME}.py'\n"
        'model = dict(bbox_head=dict(num_classes=3))\n'
        'my_pipeline = _base_.train_pipeline\n'
    )
    return path


@pytest.fixture(scope='module')
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stands for site-packages after `python -m mnv2_mm.check --repair`."""
    folder = tmp_path_factory.mktemp('site')
    assert PTH in add_names(folder)
    assert add_names(folder) is None
    return folder


def python(code: str, site: Path, *flags: str) -> str:
    """Output of a program that imports nothing of this package itself."""
    add = f'import site; site.addsitedir({str(site)!r})'
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', *flags, '-c', f'{add}\n{code}'],
        env=os.environ | {'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout + (done.stderr if '-S' in flags else '')


@pytest.mark.parametrize(
    ('name', 'file'),
    [
        (NAME, f'{NAME}.py'),
        (f'{NAME}.py', f'{NAME}.py'),
        (f'official/{NAME}.py', f'official/{NAME}.py'),
        ('_base_/models/ssdlite_mnv2.py', '_base_/models/ssdlite_mnv2.py'),
        ('table6/yolov2', 'table6/yolov2.py'),
    ],
)
def test_a_name_is_the_path_of_a_file(name, file):
    assert config_path(f'mnv2_mm::{name}') == ROOT / 'configs' / file


def test_an_exported_model_is_no_config(tmp_path):
    """Its Python may be a stranger's, or lie beside the config of a training."""
    for name in ('deploy_config.py', 'build_engine.py'):
        (tmp_path / name).write_text('raise SystemExit("this file has been run")')
    (tmp_path / 'model.json').write_text('{}')
    with pytest.raises(InputError, match='is an exported model'):
        get_config(tmp_path)
    (tmp_path / 'mini.py').touch()
    assert config_path(tmp_path) == tmp_path / 'mini.py'


@pytest.mark.parametrize('name', ['ssdlite_mnv2_cocoo', 'official/no_such.py', ''])
def test_an_unknown_name_is_an_input_error(name, tmp_path):
    with pytest.raises(InputError, match='there is no config'):
        config_path(f'mnv2_mm::{name}')
    path = tmp_path / 'child.py'
    path.write_text(f"_base_ = 'mnv2_mm::{name}'\n")
    with pytest.raises(InputError, match=r'child\.py.*there is no config'):
        get_config(path)


def test_a_base_by_name_is_what_the_path_gives(child):
    before = Config._get_cfg_path
    named = get_config(child).to_dict()
    assert Config._get_cfg_path is before  # for good, nothing changed
    text = child.read_text().replace(f'mnv2_mm::{NAME}.py', f'{config_path(NAME)}')
    child.write_text(text)
    # also the types of the host: none has the scope mnv2_mm
    assert named == get_config(child).to_dict()
    assert named['model']['bbox_head']['num_classes'] == 3


def test_other_packages_and_relative_bases_are_read_as_before(tmp_path):
    (tmp_path / 'base.py').write_text('a = 1\n')
    path = tmp_path / 'child.py'
    path.write_text("_base_ = 'base.py'\n")
    assert get_config(path).a == 1
    path.write_text("_base_ = 'no_such_package::folder/base.py'\n")
    with pytest.raises(InputError, match='no_such_package'):
        get_config(path)


def test_mmengine_alone_reads_names_in_a_repaired_environment(child, site):
    out = python(
        f"""
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.infer import BaseInferencer
print(Config.fromfile({str(child)!r}).model.bbox_head.num_classes)
print(Config.fromfile('mnv2_mm::{NAME}').filename)
print(get_config('mnv2_mm::official/mnv2_in1k.py').filename)
""",
        site,
    ).splitlines()
    assert out[0] == '3'
    assert out[1].endswith(f'configs/{NAME}.py')
    assert out[2].endswith('configs/official/mnv2_in1k.py')


def test_the_hub_builds_a_model_by_its_name():
    from mmengine.config import utils
    from mmengine.hub import hub

    _accept_in_hub(utils)  # as install() does at the import
    _find_for_hub(hub)
    model = hub.get_model('mnv2_mm::official/mnv2_in1k.py')
    assert type(model).__module__.startswith('mmpretrain.')


def test_the_pth_file_is_silent_without_this_package(site):
    assert python('', site, '-I', '-S') == ''


INFERENCERS = {
    'det': 'from mmdet.apis import DetInferencer as I; '
    'i = I("mnv2_mm::official/ssdlite_mnv2_coco.py", device="cpu")',
    'seg': 'from mmseg.apis import MMSegInferencer as I; '
    'i = I("mnv2_mm::deeplabv3_mnv2_voc", device="cpu")',
    'cls': 'from mmpretrain import ImageClassificationInferencer as I; '
    'i = I("mnv2_mm::mnv2_in1k.py", pretrained=False, device="cpu")',
}


@pytest.mark.slow
@pytest.mark.parametrize('task', INFERENCERS)
def test_the_hosts_inferencers_take_names(task, site):
    """Three processes that import a host."""
    run = '\nimport numpy; print(type(i(numpy.zeros((90, 120, 3), "uint8"))).__name__)'
    assert python(INFERENCERS[task] + run, site).strip().endswith(('dict', 'list'))
