"""The report of ``python -m mnv2_mm.check``."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from mnv2_mm import check
from mnv2_mm.check import Report
from mnv2_mm.utils import compat
from mnv2_mm.utils.import_check import MODULES, ImportResult, check_imports

ROOT = Path(__file__).resolve().parents[1]
FACTS = {
    'torch': {'version': '2.13.0+cpu', 'cuda': ''},
    'torchvision': {'version': '0.28.0', 'ops': 'yes'},
    'mmcv.ops': {'cuda': 'not available', 'kind': 'compiled'},
}


@pytest.fixture
def environment(monkeypatch):
    """Make up an environment; returns its report.

    Arguments: the versions by distribution (None: not there), errors by
    module, further facts by module.
    """

    def make(versions=(), *, errors=(), facts=(), family='onedl'):
        there = check.tested(family) | dict(versions)
        monkeypatch.setattr(compat, 'version_of', there.get)
        results = {}
        for module in MODULES:
            name = check.DISTRIBUTIONS.get(module, module)
            found = bool(there.get(name))
            if module.partition('.')[0] in compat.PACKAGES:
                found = bool(compat.families(module.partition('.')[0]))
            results[module] = ImportResult(module, found)
            if found:
                results[module].facts = FACTS.get(module, {}) | dict(
                    dict(facts).get(module, {})
                )
                results[module].error = dict(errors).get(module, '')
        for module in MODULES:
            error = results[module].error
            if error.startswith("No module named '"):
                results[module].missing = error.split("'")[1]
        return Report(results, family)

    return make


def states(report):
    return {name: (version, state) for name, version, state in report.rows}


def commands(entries):
    return [
        line.removeprefix(sys.executable + ' -m pip ')
        for _, fix in entries
        for line in fix.splitlines()
    ]


@pytest.mark.parametrize('family', ['onedl', 'upstream'])
def test_the_tested_environment_is_well(environment, family):
    report = environment(family=family)
    assert report.problems == []
    assert report.warnings == []
    rows = states(report)
    assert rows['torch'] == ('2.13.0', 'CPU build, no GPU')
    for name in compat.PACKAGES:
        assert rows[name][1] == family
    for gives in check.GIVES.values():
        assert rows[gives] == ('', 'available')


@pytest.mark.parametrize(
    ('name', 'command'),
    [
        ('torch', 'install torch==2.13.0'),
        ('onedl-mmengine', 'install onedl-mmengine==0.10.12'),
    ],
)
def test_what_everything_needs_is_missing(environment, name, command):
    report = environment({name: None})
    assert commands(report.problems) == [command]
    assert 'is missing' in report.problems[0][0]


def test_mmcv_is_missing(environment):
    report = environment({'onedl-mmcv': None})
    assert commands(report.problems) == [
        'install --no-cache-dir onedl-mmcv==2.3.6',
        check.REPAIR,
    ]


@pytest.mark.parametrize(
    ('versions', 'command'),
    [
        ({'mmcv': None, 'mmcv-lite': None}, 'install --no-cache-dir mmcv-lite==2.1.0'),
        ({'mmcv': None, 'mmcv-lite': '2.1.0'}, None),
    ],
)
def test_upstream_has_its_mmcv_without_ops_under_another_name(
    environment, versions, command
):
    found = commands(environment(versions, family='upstream').problems)
    assert found[:1] == ([command] if command else [])


def test_commands_stay_in_the_family_that_is_there(environment):
    report = environment({'mmengine': None}, family='upstream')
    assert commands(report.problems) == ['install mmengine==0.10.7']


@pytest.mark.parametrize('host', ['mmdet', 'mmseg', 'mmpretrain'])
def test_one_host_is_enough(environment, host):
    others = set(check.GIVES) - {host}
    report = environment({compat.PACKAGES[other]['onedl']: None for other in others})
    assert report.problems == []
    rows = states(report)
    assert rows[check.GIVES[host]][1] == 'available'
    for other in others:
        assert rows[check.GIVES[other]][1] == f'needs {other}'


def test_no_host(environment):
    report = environment({compat.PACKAGES[host]['onedl']: None for host in check.GIVES})
    assert len(report.problems) == 1
    assert commands(report.problems) == [
        'install onedl-mmdetection==3.5.1',
        'install onedl-mmsegmentation==1.4.2',
        'install onedl-mmpretrain==1.3.6',
    ]


@pytest.mark.parametrize('module', ['mmengine', 'mmcv'])
def test_both_families_under_one_name(environment, module):
    report = environment({module: '0.1'})
    text = report.problems[0][0]
    assert f'onedl-{module} and {module}' in text
    first, *rest = commands(report.problems)
    assert first == f'uninstall -y onedl-{module} {module}'
    assert f'onedl-{module}==' in rest[0]


def test_mmengine_of_the_other_family(environment):
    report = environment({'onedl-mmengine': None, 'mmengine': '0.10.7'})
    assert commands(report.problems) == [
        'uninstall -y mmengine',
        'install onedl-mmengine==0.10.12',
    ]


def test_a_host_of_the_other_family_is_a_warning(environment):
    report = environment({'onedl-mmdetection': None, 'mmdet': '3.3.0'})
    assert report.problems == []
    assert 'mixed' in states(report)['mmdet'][1]
    assert commands(report.warnings)[0] == 'uninstall -y mmdet'


@pytest.mark.parametrize('module', ['torch', 'mmengine', 'mmcv'])
def test_what_everything_needs_is_broken(environment, module):
    report = environment(errors={module: 'ImportError: undefined symbol'})
    text, fix = report.problems[0]
    assert f'{module} cannot be imported' in text
    assert 'undefined symbol' in text
    assert '--force-reinstall' in fix


def test_ops_that_do_not_load(environment):
    report = environment(errors={'mmcv.ops': 'ImportError: undefined symbol'})
    text, fix = report.problems[0]
    assert 'undefined symbol' in text
    # a cached build may be the one that does not load
    assert '--no-cache-dir' in fix
    assert '--force-reinstall' in fix
    assert fix.endswith(check.REPAIR)


@pytest.mark.parametrize('error', check.REPAIRABLE)
def test_what_can_be_repaired_in_place_is(environment, error):
    """Whatever else it breaks: one command is named, and no other."""
    modules = ('mmcv.ops', *check.GIVES)
    if error == check.REPAIRABLE[0]:
        modules = ('torchvision', 'timm', *check.GIVES)
    report = environment(errors=dict.fromkeys(modules, error))
    assert set(commands(report.problems + report.warnings)) == {check.REPAIR}


def test_the_ops_in_use_are_named(environment):
    assert states(environment())['mmcv.ops'][1] == 'compiled for CPU'
    gpu = {'cuda': '13.0', 'gpu': 'H200'}
    report = environment(facts={'torch': gpu, 'mmcv.ops': {'kind': 'stand-ins'}})
    assert 'stand-ins' in states(report)['mmcv.ops'][1]
    assert report.warnings == []


def test_ops_without_the_gpu_are_a_warning(environment):
    report = environment(facts={'torch': {'cuda': '13.0', 'gpu': 'H200'}})
    assert report.problems == []
    assert states(report)['torch'][1] == 'CUDA 13.0 build, H200'
    assert 'NMS on the GPU fails' in report.warnings[0][0]
    report = environment(
        facts={'torch': {'cuda': '13.0', 'gpu': 'H200'}, 'mmcv.ops': {'cuda': '13.0'}}
    )
    assert report.warnings == []


@pytest.mark.parametrize(
    ('missing', 'command'),
    [
        ('ftfy', 'install ftfy==6.3.1'),
        ('cv2', 'install opencv-python==4.12.0.88'),
        ('yaml.reader', 'install pyyaml==6.0.3'),
        ('unheard_of', 'install unheard_of'),
        ('mmengine.model', 'install onedl-mmengine==0.10.12'),
    ],
)
def test_a_host_that_lacks_a_module_is_a_warning(environment, missing, command):
    report = environment(errors={'mmseg': f"No module named '{missing}'"})
    assert report.problems == []
    assert commands(report.warnings) == [command]
    assert states(report)[check.GIVES['mmseg']][1] != 'available'
    assert states(report)[check.GIVES['mmdet']][1] == 'available'


def test_all_hosts_broken_is_a_problem(environment):
    report = environment(errors=dict.fromkeys(check.GIVES, 'AssertionError'))
    assert 'none of' in report.problems[0][0]


@pytest.mark.parametrize(
    'versions', [{'torch': '2.14.1'}, {'onedl-mmcv': '2.9.0'}, {'numpy': '1.26.0'}]
)
def test_other_versions_are_warnings(environment, versions):
    report = environment(versions)
    assert report.problems == []
    ((name, version),) = versions.items()
    assert report.warnings[0][0].startswith(f'{name} {version} is not tested')


def test_another_python_is_a_warning(environment, monkeypatch):
    monkeypatch.setattr(check.platform, 'python_version', lambda: '3.14.0')
    report = environment()
    assert report.problems == []
    assert report.warnings[0][0] == 'Python 3.14.0 is not tested'


def test_timm_is_optional(environment):
    report = environment({'timm': None})
    assert report.problems == []
    assert commands(report.warnings) == ['install timm==1.0.21']


# ----------------------------------------------------------- results for real
def test_crashes_are_outlived(tmp_path, monkeypatch):
    for name, code in {
        'import_good': 'print("chatter")',
        'import_abort': 'import os; os.abort()',
        'import_exit': 'raise SystemExit("no license")',
        'import_lacks': 'import import_lacked',
        'import_asserts': 'assert False, "mmcv<2.2.0\\nis needed"',
    }.items():
        (tmp_path / f'{name}.py').write_text(code)
    monkeypatch.setenv('PYTHONPATH', f'{ROOT}{os.pathsep}{tmp_path}')
    names = ('abort', 'good', 'exit', 'absent', 'lacks', 'asserts', 'good')
    results = check_imports(tuple(f'import_{name}' for name in names))
    abort, good, leaves, absent, lacks, asserts, again = results
    assert 'crashed (exit code -6)' in abort.error
    assert good.works
    assert again.works
    assert leaves.error == 'SystemExit: no license'
    assert not absent.found
    assert lacks.missing == 'import_lacked'
    assert asserts.error == 'AssertionError: mmcv<2.2.0'


def run_check(python, **env):
    return subprocess.run(
        [python, '-m', 'mnv2_mm.check'],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': str(ROOT), **env},
    )


def test_with_nothing_installed(tmp_path):
    venv.create(tmp_path / 'bare', with_pip=False)
    python = tmp_path / 'bare/bin/python'
    done = run_check(python)
    assert done.returncode == 1
    assert done.stderr == ''
    for line in (
        f'{python} -m pip install torch==2.13.0',
        f'{python} -m pip install onedl-mmengine==0.10.12',
        'none of mmdet, mmseg and mmpretrain works',
        f'bash {ROOT / "tools/setup_env.sh"}',
    ):
        assert line in done.stdout


@pytest.mark.slow  # tools/run_tests.sh runs the same at its start
def test_this_environment_is_usable():
    done = run_check(sys.executable)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f' {compat.stack()}\n' in done.stdout
