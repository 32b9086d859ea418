"""``--help`` of every tool: quick, with examples."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: tools/env_state.py works before anything is installed and takes no flags;
#: tools/build_engine.py is the file that runs on the device, and tools/deploy.py
#: another name of tools/export.py.
TOOLS = sorted(
    file.name
    for file in (ROOT / 'tools').glob('*.py')
    if file.name not in ('env_state.py', 'build_engine.py', 'deploy.py')
)
HEAVY = ('torch', 'mmengine', 'mmcv', 'numpy', 'cv2', 'matplotlib')


@pytest.mark.parametrize('tool', TOOLS)
def test_help_imports_nothing_heavy_and_has_two_examples(tool):
    code = (
        'import runpy, sys\n'
        f'sys.argv = [{tool!r}, "--help"]\n'
        'try:\n'
        f'    runpy.run_path({str(ROOT / "tools" / tool)!r}, run_name="__main__")\n'
        'except SystemExit as ended:\n'
        '    assert not ended.code\n'
        f'print("HEAVY", sorted(set({HEAVY!r}) & set(sys.modules)))\n'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.stdout.endswith('HEAVY []\n'), done.stdout[-500:] + done.stderr
    examples = done.stdout.partition('examples:')[2].splitlines()
    assert sum(f'tools/{tool}' in line for line in examples) >= 2


def test_the_console_script_runs_the_tools():
    code = (
        'import sys; from mnv2_mm.commands.main import main; '
        'sys.argv = ["mnv2", *sys.argv[1:]]; sys.exit(main())'
    )

    def mnv2(*arguments):
        return subprocess.run(
            [sys.executable, '-c', code, *arguments], capture_output=True, text=True
        )

    done = mnv2('train', '--help')
    assert done.returncode == 0, done.stderr
    assert 'usage: mnv2 train' in done.stdout
    done = mnv2('browse', '--help')
    assert done.stdout.count('  mnv2 browse') >= 2 and 'tools/' not in done.stdout
    done = mnv2('trian')
    assert done.returncode == 2
    assert 'trian' in done.stderr and 'train' in done.stderr
    assert 'predict' in mnv2().stdout


def test_every_command_has_its_tool():
    from mnv2_mm.commands.main import COMMANDS

    for file, _ in COMMANDS.values():
        assert (ROOT / 'tools' / f'{file}.py').is_file()
