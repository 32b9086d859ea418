"""What a wheel holds, the scripts' manners, and nothing of this machine."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
SETUP = ROOT / 'tools/setup_env.sh'
STACKS = ('onedl', 'upstream')


def tracked():
    """Paths of the tracked files; of all files where there is no git."""
    done = subprocess.run(
        ['git', 'ls-files', '-z'], cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode == 0:
        names = done.stdout.split('\0')[:-1]
        return [ROOT / name for name in names if (ROOT / name).is_file()]
    skip = {'.venv', '.venv-upstream', 'work_dirs', 'data', '__pycache__'}
    files = (path for path in ROOT.rglob('*') if path.is_file())
    return [f for f in files if not skip & set(f.relative_to(ROOT).parts)]


@pytest.fixture(scope='module')
def copy(tmp_path_factory):
    """A clean copy of the tracked files, to build in."""
    target = tmp_path_factory.mktemp('source') / 'mnv2_mm'
    for file in tracked():
        place = target / file.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, place)
    return target


def pip(*arguments, cwd=ROOT):
    done = subprocess.run(
        [sys.executable, '-m', 'pip', *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# ------------------------------------------------------------------- builds
@pytest.fixture(scope='module')
def wheel(copy, once):
    options = ('--no-build-isolation', '--no-deps', '--no-index')
    out = once('wheel', lambda out: pip('wheel', *options, '-w', out, copy))
    (path,) = out.glob('*.whl')
    with zipfile.ZipFile(path) as archive:
        yield archive


def metadata(archive):
    (name,) = [n for n in archive.namelist() if n.endswith('/METADATA')]
    return Parser().parsestr(archive.read(name).decode())


def test_wheel_carries_what_mim_reads(wheel, copy):
    found = {
        name.removeprefix('mnv2_mm/.mim/')
        for name in wheel.namelist()
        if name.startswith('mnv2_mm/.mim/')
    }
    folders = ('configs', 'tools', 'requirements')
    expected = {
        str(file.relative_to(copy))
        for folder in folders
        for file in (copy / folder).rglob('*')
        if file.is_file()
    }
    assert found == expected | {'model-index.yml'}
    assert 'configs/ssdlite_mnv2_coco.py' in found


def test_wheel_holds_this_package_alone(wheel, copy):
    tops = {name.partition('/')[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith('.dist-info')} == {'mnv2_mm'}
    modules = {n for n in wheel.namelist() if n.endswith('.py')}
    for file in (copy / 'mnv2_mm').rglob('*.py'):
        assert str(file.relative_to(copy)) in modules


def test_wheel_requires_pydantic_alone(wheel):
    requirements = metadata(wheel).get_all('Requires-Dist')
    base = [r for r in requirements if not re.search(r'; extra == .\w+.$', r)]
    assert [re.match(r'[\w-]+', requirement).group() for requirement in base] == [
        'pydantic'
    ]


def test_extras_name_the_tested_versions(wheel):
    pins = dict(constraints('onedl'))
    onedl = [
        requirement.partition(';')[0].strip()
        for requirement in metadata(wheel).get_all('Requires-Dist')
        if requirement.endswith("extra == 'onedl'")
        or requirement.endswith('extra == "onedl"')
    ]
    assert len(onedl) == 13
    for requirement in onedl:
        name, _, version = requirement.partition('==')
        assert pins[name] == version
    every = ' '.join(metadata(wheel).get_all('Requires-Dist'))
    assert 'mmdeploy' not in every


def test_wheel_has_a_console_script_and_its_types(wheel):
    (name,) = [n for n in wheel.namelist() if n.endswith('/entry_points.txt')]
    assert 'mnv2 = mnv2_mm.commands.main:main' in wheel.read(name).decode()
    assert 'mnv2_mm/py.typed' in wheel.namelist()
    assert 'mnv2_mm/analysis/report/page.html.jinja' in wheel.namelist()
    assert 'mnv2_mm/runtime/web/sw.js' in wheel.namelist()


@pytest.mark.parametrize('stack', STACKS)
def test_each_list_of_requirements_is_pinned(stack):
    """setup.py and tools/setup_env.sh read the same lists."""
    pins = dict(constraints(stack))
    lists = ['base', stack, 'dev', 'docs', 'report']
    onedl = ['deploy', 'convert', 'data', 'litert', 'openvino', 'demo']
    lists += onedl if stack == 'onedl' else []
    for name in lists:
        lines = (ROOT / f'requirements/{name}.txt').read_text().splitlines()
        names = [re.split('[<>=!#]', line)[0] for line in lines]
        assert any(names)
        for entry in filter(None, names):
            assert entry in pins, f'{entry} of {name}.txt'


def test_no_upper_bound_on_python(wheel):
    assert metadata(wheel)['Requires-Python'] == '>=3.10'


def test_editable_install_links(copy, tmp_path):
    shutil.copytree(copy, tmp_path / 'tree')
    code = 'from setuptools import build_meta as b; b.build_editable("..")'
    for _ in range(2):  # a second install replaces the links
        subprocess.run(
            [sys.executable, '-c', code],
            cwd=tmp_path / 'tree',
            check=True,
            capture_output=True,
        )
    mim = tmp_path / 'tree/mnv2_mm/.mim'
    names = {'configs', 'tools', 'model-index.yml', 'requirements'}
    assert {entry.name for entry in mim.iterdir()} == names
    for entry in mim.iterdir():
        assert entry.is_symlink()
        assert not os.path.isabs(os.readlink(entry))
        assert entry.samefile(tmp_path / 'tree' / entry.name)


def test_editable_install_replaces_nothing(copy, tmp_path):
    report = tmp_path / 'report.json'
    options = ('--dry-run', '--no-build-isolation', '--no-index', '--quiet')
    pip('install', *options, '--report', report, '-e', copy)
    installs = json.loads(report.read_text())['install']
    assert [i['metadata']['name'] for i in installs] == ['mnv2_mm']


def test_model_index_names_files_that_are_there():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    models = list(index['Models'])
    for file in index['Import']:
        models += yaml.safe_load((ROOT / file).read_text())['Models']
    assert len(models) >= 3
    for model in models:
        assert (ROOT / model['Config']).is_file()
    for collection in index['Collections']:
        assert (ROOT / collection['README']).is_file()


# -------------------------------------------------------------- constraints
def constraints(stack):
    file = ROOT / f'requirements/constraints-{stack}.txt'
    for line in file.read_text().splitlines():
        if line and not line.startswith('#'):
            name, _, version = line.partition('==')
            yield name, version


@pytest.mark.parametrize('stack', STACKS)
def test_constraints_are_exact(stack):
    pairs = list(constraints(stack))
    for name, version in pairs:
        assert re.fullmatch(r'[a-z0-9-]+', name)
        assert re.fullmatch(r'\d+(\.\d+)*', version), name
    assert len({name for name, _ in pairs}) == len(pairs)


def test_stacks_share_their_versions():
    onedl, upstream = (dict(constraints(stack)) for stack in STACKS)
    for name in onedl.keys() & upstream.keys():
        assert onedl[name] == upstream[name]
    assert not {n for n in upstream if n.startswith('onedl-')}


# -------------------------------------------------------------- portability
FOREIGN = {
    'a path of one machine': r'(?<![\w.~-])/(work|farm|root|home|Users)/\w',
    'a package index': r'\bpypi\.|pythonhosted\.|download\.pytorch\.'
    r'|index-url[= ]+https?:',
}


@pytest.mark.parametrize('what', FOREIGN)
def test_nothing_of_one_machine(what):
    found = []
    for file in tracked():
        if file == Path(__file__).resolve():
            continue
        text = file.read_bytes().decode('utf-8', 'ignore')
        for match in re.finditer(FOREIGN[what], text):
            found.append(f'{file.relative_to(ROOT)}: {match.group()}')
    assert not found


@pytest.mark.parametrize(
    'file',
    [f for f in tracked() if f.suffix == '.sh' or f.parent.name == '.ci'],
    ids=lambda f: f.name,
)
def test_shell_scripts_parse(file):
    done = subprocess.run(['bash', '-n', str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------- setup_env
def setup_env(*arguments, **env):
    return subprocess.run(
        ['bash', str(SETUP), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **env},
    )


def test_help():
    done = setup_env('--help')
    assert done.returncode == 0
    for option in ('--stack', '--venv', '--python', '--compile-ops'):
        assert option in done.stdout


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--stak', 'onedl'], "unknown option '--stak'"),
        (['--stack'], '--stack needs a value'),
        (['--stack', 'openmmlab'], "unknown stack 'openmmlab': onedl or"),
        (['--stack=openmmlab'], "unknown stack 'openmmlab': onedl or"),
        (['somewhere'], "unknown option 'somewhere'"),
    ],
)
def test_bad_options(arguments, message):
    done = setup_env(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f'error: {message}')
    assert 'usage:' in done.stderr


def fake_python(path, answer):
    path.write_text(f'#!/bin/sh\ncat >/dev/null\n{answer}\n')
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ('answer', 'reason', 'remedy'),
    [
        (None, 'not found', '--python'),
        ('echo is Python 3.8', 'is Python 3.8', '--python'),
        ('exit 1', 'does not start', '--python'),
        (
            'echo has no ensurepip module',
            'has no ensurepip module',
            'apt-get install python3-venv',
        ),
    ],
)
def test_no_usable_python(tmp_path, answer, reason, remedy):
    python = tmp_path / 'python'
    if answer is not None:
        fake_python(python, answer)
    done = setup_env('--venv', tmp_path / 'new', '--python', python)
    assert done.returncode == 1
    assert f'{python} {reason}' in done.stderr
    assert remedy in done.stderr


def test_a_failed_stage_shows_the_end_of_its_log(tmp_path):
    python = fake_python(tmp_path / 'python', '[ $1 = - ] || echo boom')
    python.write_text(python.read_text() + '[ "$2" != venv ]\n')
    done = setup_env('--venv', tmp_path / 'new', '--python', python)
    assert done.returncode == 1
    assert 'boom' in done.stderr
    assert f'the whole log is {tmp_path}/new/' in done.stderr


def test_interrupting_leaves_nothing_running(tmp_path):
    # stands for pip with its compilers: a child that has a child
    fake_python(
        tmp_path / 'python',
        '[ "$2" = venv ] || exit 0\n'
        f'sleep 60 & echo $! >{tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid'
        '\nwait',
    )
    script = subprocess.Popen(
        ['bash', SETUP, '--venv', tmp_path / 'x', '--python', 'python'],
        cwd=tmp_path,
        env={**os.environ, 'PATH': f'{tmp_path}:{os.environ["PATH"]}'},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until((tmp_path / 'pid').exists)
    script.terminate()
    assert script.communicate(timeout=10)[1] == 'interrupted\n'
    assert script.returncode == 130
    wait_until(lambda: not alive(int((tmp_path / 'pid').read_text())))


def wait_until(holds):
    for _ in range(200):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError('not within ten seconds')


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_folder_of_the_users_is_left_alone(tmp_path):
    (tmp_path / 'thesis.txt').write_text('years of work')
    done = setup_env('--venv', tmp_path)
    assert done.returncode == 1
    assert 'is not a virtual environment' in done.stderr
    assert [f.name for f in tmp_path.iterdir()] == ['thesis.txt']


def test_python_and_environment_differ(tmp_path):
    (tmp_path / 'bin').mkdir()
    (tmp_path / 'pyvenv.cfg').touch()
    (tmp_path / 'bin/python').symlink_to(sys.executable)
    other = fake_python(tmp_path / 'other', 'echo 3.99')
    done = setup_env('--venv', tmp_path, '--python', other)
    assert done.returncode == 1
    assert f'{other} 3.99; give' in done.stderr
    other = fake_python(tmp_path / 'other', '[ $1 = - ] || echo 3.99')
    done = setup_env('--venv', tmp_path, '--python', other)
    assert f'not of {other}' in done.stderr


# ---------------------------------------------------------------- env_state
@pytest.fixture
def state(tmp_path, monkeypatch):
    """tools/env_state.py on a made-up site-packages folder."""
    spec = importlib.util.spec_from_file_location(
        'env_state', ROOT / 'tools/env_state.py'
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, 'SITE', tmp_path)
    return module


def distribution(site, name, version='1.0', *, record=True):
    """Put a package into ``site`` as pip does."""
    info = f'{name}-{version}.dist-info'
    (site / info).mkdir()
    (site / name).mkdir()
    (site / name / '__init__.py').touch()
    (site / info / 'METADATA').write_text(
        f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n'
    )
    if record:
        (site / info / 'RECORD').write_text(
            f'{name}/__init__.py,,\n{name}/__init__.pyc,,\n'
            f'{info}/METADATA,,\n{info}/RECORD,,\n'
        )


def test_whole_packages_are_kept(state, tmp_path):
    distribution(tmp_path, 'whole')
    assert state.repair() == []
    assert state.installed() == {'whole': '1.0'}


def test_half_installed_packages_are_undone(state, tmp_path):
    distribution(tmp_path, 'whole')
    distribution(tmp_path, 'killed', record=False)
    distribution(tmp_path, 'damaged')
    (tmp_path / 'damaged/__init__.py').unlink()
    (tmp_path / '~replaced').mkdir()
    assert sorted(state.repair()) == ['damaged-1.0', 'killed-1.0', '~replaced']
    assert state.installed() == {'whole': '1.0'}
    assert state.repair() == []


def test_changes_since_the_setup(state, tmp_path):
    distribution(tmp_path, 'kept')
    distribution(tmp_path, 'gone')
    state.save(tmp_path / 'saved.json')
    assert state.changed(tmp_path / 'saved.json') == []
    shutil.rmtree(tmp_path / 'gone-1.0.dist-info')
    distribution(tmp_path, 'new')
    assert state.changed(tmp_path / 'saved.json') == ['gone was 1.0, is missing']


def test_what_is_lacking(state, tmp_path):
    file = tmp_path / 'constraints.txt'
    file.write_text('# comment==1\nmy-torch==2.13.0\nold==2.0\nno==1.0\n')
    distribution(tmp_path, 'My_Torch', '2.13.0+cpu')
    distribution(tmp_path, 'old', '1.0')
    assert state.lacks(file, 'my.torch', 'old', 'no') == ['old==2.0', 'no==1.0']
