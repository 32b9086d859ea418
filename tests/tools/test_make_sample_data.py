"""The command that generates the sample data set."""

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from mnv2_mm.datasets.sample.writer import SampleSettings

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


@pytest.mark.parametrize('name', ['make_sample_data', 'browse_dataset'])
def test_help_imports_nothing_slow(name):
    done = subprocess.run(
        [sys.executable, '-X', 'importtime', TOOLS / f'{name}.py', '--help'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count(f'python tools/{name}.py') == 2  # examples
    imported = {line.rpartition('|')[2].strip() for line in done.stderr.splitlines()}
    assert 'argparse' in imported
    assert not imported & {'torch', 'mmengine', 'numpy', 'cv2'}


def test_help_states_the_defaults(run_tool, capsys):
    assert run_tool('make_sample_data', '--help') == 0
    lines = capsys.readouterr().out.splitlines()
    options = [line for line in lines if line.strip().startswith('--')]
    for field in fields(SampleSettings):
        if field.name == 'crop_size':
            continue  # no option
        (line,) = [x for x in options if x.split()[0] == f'--{field.name}']
        assert line.endswith(f'(default: {field.default})')


def test_settings_are_passed_on(run_tool, tmp_path, capsys):
    flags = ['--train', 2, '--val', 1, '--width', 64, '--height', 64]
    for text in ('Written', 'exists already'):
        out = tmp_path / 'set'
        assert run_tool('make_sample_data', '--out', out, *flags) == 0
        assert text in capsys.readouterr().out
    meta = json.loads((out / 'meta.json').read_text())
    assert (meta['train'], meta['width'], meta['seed']) == (2, 64, 0)
    assert run_tool('make_sample_data', '--out', out, '--train', 3) == 2
    assert '--force' in capsys.readouterr().err
