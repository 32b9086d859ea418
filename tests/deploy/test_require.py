"""What deployment needs: its part of the check, and the patched mmdeploy."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from mnv2_mm.utils import compat
from mnv2_mm.utils import deploy_check as check_deploy
from mnv2_mm.utils.deploy_check import MODULES, DeployReport
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.import_check import ImportResult

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = sorted((ROOT / 'configs/deploy').glob('*.py'))
PINS = {
    'onnx': '1.23.2',
    'onnxslim': '0.1.98',
    'onnxruntime': '1.23.2',
    'ncnn': '1.0.1',
}
PINS |= dict.fromkeys(check_deploy.OPTIONAL.keys() - PINS, '1.0')
PINS |= {'aenum': '3.1.17', 'mmdeploy': '1.3.1'}


@pytest.fixture
def report(monkeypatch):
    """Make up what is installed; returns the report of it."""

    def make(versions=(), errors=()):
        there = PINS | dict(versions)
        monkeypatch.setattr(compat, 'version_of', there.get)
        probes = {name: ImportResult(name, bool(there.get(name))) for name in MODULES}
        for name, error in dict(errors).items():
            probes[name].error = error
            if error.startswith('No module'):
                probes[name].missing = error.split("'")[1]
        return DeployReport(probes, PINS, 'pip {}'.format)

    return make


def test_all_is_there(report):
    found = report()
    assert found.problems == found.warnings == []
    states = {name: (version, state) for name, version, state in found.rows}
    assert states['mmdeploy'] == ('1.3.1', '')
    assert states['tensorrt'][0] == '-'
    assert 'optional, not here' in states['tensorrt'][1]
    assert 'build_engine.py' in states['tensorrt'][1]


@pytest.mark.parametrize(
    ('name', 'version', 'good'),
    [
        ('tensorrt', '8.6.1', True),
        ('tensorrt-cu12', '10.16.1.11', True),
        ('tensorrt-cu13', '11.4.0.106', True),
        ('tensorrt', '8.5.3.1', False),
        ('tensorrt', '9.3.0', False),
        ('tensorrt', '12.0.0', False),
    ],
)
def test_tensorrt_is_optional(report, name, version, good):
    found = report({name: version})
    assert found.problems == []
    assert found.rows[-1][:2] == ('tensorrt', version)
    assert found.rows[-1][2].startswith('optional')
    assert len(found.warnings) == (not good)
    from mnv2_mm.runtime.tensorrt_engine import known

    assert known(version) == good


@pytest.mark.parametrize(
    ('versions', 'text', 'command'),
    [
        (
            {'mmdeploy': None},
            'without its dependencies',
            'pip install --no-deps mmdeploy==1.3.1',
        ),
        # what pip falls back to beside a current onnx
        (
            {'mmdeploy': '0.2.0'},
            'mmdeploy is 0.2.0',
            'pip install --no-deps mmdeploy==1.3.1',
        ),
        ({'aenum': None}, 'mmdeploy imports it', 'pip install aenum==3.1.17'),
        ({'onnx': None}, 'onnx is missing', 'pip install onnx==1.23.2'),
    ],
)
def test_no_export_without(report, versions, text, command):
    ((problem, fix),) = report(versions).problems
    assert text in problem
    assert fix == command


@pytest.mark.parametrize('name', ['onnxruntime', 'ncnn', 'openvino'])
def test_one_backend_less_is_a_warning(report, name):
    found = report({name: None})
    assert found.problems == []
    ((text, fix),) = found.warnings
    assert f'{name} is missing' in text
    assert fix == f'pip install {name}=={PINS[name]}'


def test_broken_ones(report):
    found = report(errors={'onnx': 'ImportError: protobuf'})
    assert found.problems[0][1] == 'pip install --force-reinstall onnx==1.23.2'
    found = report(errors={'mmdeploy': "No module named 'aenum'"})
    assert found.problems[0][1] == 'pip install aenum'


def test_another_version_is_a_warning(report):
    assert report({'onnx': '1.30.0'}).warnings == [
        ('onnx 1.30.0 is not tested, 1.23.2 is', '')
    ]


def test_deploy_is_for_the_onedl_stack():
    done = subprocess.run(
        ['bash', ROOT / 'tools/setup_env.sh', '--stack', 'upstream', '--deploy'],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert '--deploy is tested with --stack onedl alone' in done.stderr


def test_the_setup_installs_what_is_checked():
    text = (ROOT / 'tools/setup_env.sh').read_text()
    assert 'install --no-deps mmdeploy' in text
    pins = (ROOT / 'requirements/constraints-onedl.txt').read_text()
    assert f'\nmmdeploy=={check_deploy.MMDEPLOY}\n' in pins
    for name in ('onnx', 'onnxslim', 'onnxruntime', 'ncnn', 'aenum', 'h5py'):
        assert f'\n{name}==' in pins


def python(code):
    return subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )


def test_nothing_is_patched_before_deployment_is_imported():
    done = python(
        'import sys, mnv2_mm, mnv2_mm.runtime\n'
        'assert not any(m.startswith("mmdeploy") for m in sys.modules)\n'
    )
    assert done.returncode == 0, done.stderr


def test_without_mmdeploy_the_message_says_how():
    done = python(
        'from mnv2_mm.utils import compat\n'
        'real = compat.version_of\n'
        'compat.version_of = lambda n: None if n == "mmdeploy" else real(n)\n'
        'import sys, mnv2_mm.deploy\n'
        'assert "mmdeploy" not in sys.modules\n'
        'mnv2_mm.deploy.require()\n'
    )
    assert 'InputError: mmdeploy is missing, 1.3.1 is needed' in done.stderr
    assert 'pip install --no-deps mmdeploy==1.3.1' in done.stderr


@pytest.mark.parametrize('lacking', ['onnx', 'aenum', 'onnxslim'])
def test_without_what_an_export_needs_the_message_says_how(lacking):
    pytest.importorskip('mmdeploy', reason='deployment is not installed')
    done = python(
        'from mnv2_mm.utils import compat\n'
        'real = compat.installed\n'
        f'compat.installed = lambda n: n != {lacking!r} and real(n)\n'
        'import sys, mnv2_mm.deploy\n'
        'assert "mmdeploy" not in sys.modules\n'
        'mnv2_mm.deploy.require()\n'
    )
    assert f'InputError: {lacking} is missing' in done.stderr


TASKS = {
    'det': ('mmdet', 'ObjectDetection'),
    'seg': ('mmseg', 'Segmentation'),
    'cls': ('mmpretrain', 'Classification'),
}


@pytest.mark.parametrize('path', DEPLOY, ids=lambda path: path.stem)
def test_a_deploy_config_is_what_its_name_says(path):
    pytest.importorskip('mmdeploy', reason='deployment is not installed')
    from mnv2_mm.utils.config import get_config, list_models

    assert len(path.read_text().splitlines()) <= 6  # the rest is in _base_
    task, backend, *rest = path.stem.split('_')
    precision = rest.pop(0) if rest[0] in ('fp16', 'int8') else 'fp32'
    for_rtx = rest[0] == 'rtx' and bool(rest.pop(0))
    rest = [word for word in rest if word != 'nms']  # of plain operators
    axes, *size = rest
    assert path.stem not in list_models()
    cfg = get_config(path.stem)
    assert (cfg.codebase_config.type, cfg.codebase_config.task) == TASKS[task]
    assert cfg.backend_config.type == backend
    assert cfg.backend_config.precision == precision
    assert cfg.codebase_config.get('with_nms', True) == (not for_rtx)
    assert ('dynamic_axes' in cfg.ir_config) == (axes == 'dynamic')
    shape = [int(side) for side in size] * 2 or None
    assert cfg.ir_config.input_shape == shape
    assert cfg.ir_config.opset_version == 13


def test_bases_of_deploy_configs_have_no_name():
    from mnv2_mm.utils.config import config_path, list_models

    assert not [name for name in list_models() if 'onnxruntime' in name]
    for base in (ROOT / 'configs/deploy/_base_').glob('*.py'):
        with pytest.raises(InputError, match='there is no config'):
            config_path(base.stem)


# --------------------------------------------------------- patched mmdeploy
@pytest.mark.slow
def test_pkg_resources_is_neither_needed_nor_faked():
    """setuptools 82 has none; mmdeploy reads versions with it."""
    pytest.importorskip('mmdeploy', reason='deployment is not installed')
    done = python(
        'import sys\n'
        'sys.modules["pkg_resources"] = None  # its import fails\n'
        'import mnv2_mm.deploy\n'
        'from mmdeploy.backend.base import get_backend_manager\n'
        'for name in ("onnxruntime", "ncnn", "tensorrt"):\n'
        '    info = get_backend_manager(name).check_env()\n'
        '    assert "CheckFailed" not in info, info\n'
        'assert sys.modules["pkg_resources"] is None\n'
    )
    assert done.returncode == 0, done.stderr


def test_the_functions_that_torch_wraps_are_left_alone():
    pytest.importorskip('mmdeploy', reason='deployment is not installed')
    from mmdeploy.core import RewriterContext
    from torch.fx._symbolic_trace import _wrapped_fns_to_patch as table

    import mnv2_mm.deploy  # noqa: F401

    # has a rewriter with a wrapped function
    pytest.importorskip('mmdet.models')
    import mmdeploy.codebase.mmdet.models.detectors.single_stage  # noqa: F401

    before = dict(table)
    with RewriterContext({}, backend='onnxruntime'):
        assert dict(table) == before
    assert dict(table) == before


def test_the_exporter_is_the_tracing_one_while_mmdeploy_exports():
    pytest.importorskip('mmdeploy', reason='deployment is not installed')
    import torch
    from mmdeploy.core import RewriterContext

    import mnv2_mm.deploy  # noqa: F401

    before = torch.onnx.export
    with RewriterContext({}, backend='onnxruntime'):
        assert torch.onnx.export is not before
    assert torch.onnx.export is before


def test_a_rewritten_function_is_so_under_all_its_names(monkeypatch):
    """In modules, in rewriters' copies of them; undone also in new modules."""
    pytest.importorskip('mmdeploy', reason='deployment is not installed')
    import copy

    import mmdeploy.pytorch.functions.copy as of_mmdeploy
    from mmdeploy.core import FUNCTION_REWRITER, RewriterContext

    import mnv2_mm.deploy  # noqa: F401

    original = copy.deepcopy
    for name in ('early', 'late'):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules['early'].another_name = original
    monkeypatch.setattr(of_mmdeploy, 'a_copy', original, raising=False)
    with RewriterContext({}, backend='onnxruntime'):
        rewritten = sys.modules['late'].deepcopy = copy.deepcopy
        assert rewritten is not original
        assert sys.modules['early'].another_name is rewritten
        (context,) = FUNCTION_REWRITER._func_contexts['copy.deepcopy']
        assert context.func.__globals__['a_copy'] is rewritten
    assert copy.deepcopy is sys.modules['late'].deepcopy is original
    assert sys.modules['early'].another_name is original


def test_a_tensorrt_graph_is_written_without_a_gpu():
    pytest.importorskip('mmdeploy', reason='deployment is not installed')
    from mmdeploy.apis.utils import utils

    import mnv2_mm.deploy  # noqa: F401

    config = dict(backend_config=dict(type='tensorrt'))
    utils.check_backend_device(config, 'cpu')
    config = dict(backend_config=dict(type='openvino'))
    with pytest.raises(ValueError, match='invalid'):
        utils.check_backend_device(config, 'cuda:0')
