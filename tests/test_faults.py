"""Full disks, read-only folders and interrupts, in each tool: one message.

The flags are tried in this process, where each tool stops at once; the slow tests
start real processes, which stop in the middle of their work.
"""

import ast
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mnv2_mm.utils.cli import output_json

ROOT = Path(__file__).resolve().parents[1]
Tool = Callable[..., int]
Mount = Callable[[str], Path]
Trained = Callable[[str], tuple[Path, Path]]

#: tools/build_engine.py is the file of mnv2_mm.runtime that runs on a device, and
#: tools/env_state.py works before anything is installed; tools/deploy.py is
#: tools/export.py by another name.
TOOLS = sorted(
    path.stem
    for path in (ROOT / 'tools').glob('*.py')
    if path.stem not in ('build_engine', 'deploy', 'env_state')
)
#: Tool, arguments before the output, whether the output is a folder.
OUTPUTS = [
    ('train', ['mnv2_sample', '--work-dir'], True),
    ('test', ['mnv2_sample', 'w.pth', '--work-dir'], True),
    ('test', ['mnv2_sample', 'w.pth', '--show-dir'], True),
    ('test', ['mnv2_sample', 'w.pth', '--out'], '.pkl'),
    ('demo', ['mnv2_sample', 'a.jpg', '--out-dir'], True),
    ('browse_dataset', ['mnv2_sample', '--out-dir'], True),
    ('plot_curves', ['.', '--out'], '.png'),
    ('convert_weights', ['w.pth'], '.pth'),
    ('deploy', ['d', 'mnv2_sample', 'w.pth', 'a.jpg', '--work-dir'], True),
    ('run_exported', ['.', 'a.jpg', '--out'], '.png'),
    ('benchmark', ['infer', '--json'], '.json'),
    ('benchmark', ['infer', '--png'], '.png'),
    ('get_flops', ['mnv2_in1k', '--json'], '.json'),
    ('paper_tables', ['--json'], '.json'),
    ('paper_tables', ['--markdown'], '.md'),
    ('paper_tables', ['--png'], True),
    ('report', ['.', '--out'], '.html'),
    ('reproduce', ['table4', '--data', '.', '--json'], '.json'),
    ('figures', ['--figure', '1', '--out'], True),
    ('figure6_experiment', ['--out'], True),
    ('make_sample_data', ['--out'], True),
]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mount a memory disk with options; returns its folder."""
    folder = tmp_path / 'disk'
    folder.mkdir()

    def make(options: str) -> Path:
        command = ['mount', '-t', 'tmpfs', '-o', options, 'none', str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip('there is no command mount')
        if done.returncode:
            pytest.skip(f'no disk can be mounted here: {done.stderr.strip()}')
        return folder

    yield make
    if os.path.ismount(folder):
        subprocess.run(['umount', '-l', str(folder)], check=True)


def one_message(text: str) -> str:
    assert 'Traceback' not in text
    assert text.count('error: ') == 1, text
    return text.partition('error: ')[2]


def refused(
    run_tool: Tool, capfd: pytest.CaptureFixture, out: Path, case: tuple, cause: str
) -> None:
    tool, arguments, kind = case
    path = out if kind is True else out.with_suffix(kind)
    assert run_tool(tool, *arguments, path) == 2
    said = one_message(capfd.readouterr().err)
    assert cause in said and str(path) in said


def test_no_output_goes_to_a_place_of_the_other_kind(
    run_tool: Tool, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    for case in OUTPUTS:
        kind = case[2]
        place = tmp_path / 'a' if kind is True else tmp_path / f'a{kind}'
        if kind is True:
            place.touch()
        else:
            place.mkdir(exist_ok=True)
        cause = 'not a directory' if kind is True else 'is a directory'
        refused(run_tool, capfd, place, case, cause)


def test_no_output_replaces_a_file_of_another_format(
    run_tool: Tool, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    (tmp_path / 'epoch_1.pth').write_bytes(b'weights')
    for tool, arguments, kind in OUTPUTS:
        if kind in ('.json', '.md', '.html'):
            assert run_tool(tool, *arguments, tmp_path / 'epoch_1.pth') == 2
            assert f'must end in {kind}' in one_message(capfd.readouterr().err)
    assert (tmp_path / 'epoch_1.pth').read_bytes() == b'weights'


def test_a_device_needs_no_ending() -> None:
    for device in ('/dev/null', '/dev/stdout', '/dev/stderr'):
        assert output_json(device) == device


def test_no_tool_starts_on_a_full_disk(
    run_tool: Tool, mount: Mount, capfd: pytest.CaptureFixture
) -> None:
    disk = mount('size=16k')
    (disk / 'content').write_bytes(bytes(16 * 1024))
    for case in OUTPUTS:
        refused(run_tool, capfd, disk / 'new', case, 'no space left')
    assert [path.name for path in disk.iterdir()] == ['content']


def test_no_tool_starts_on_a_read_only_disk(
    run_tool: Tool, mount: Mount, capfd: pytest.CaptureFixture
) -> None:
    disk = mount('ro')
    for case in OUTPUTS:
        refused(run_tool, capfd, disk / 'new', case, 'read-only')


def test_a_data_set_that_does_not_fit_is_not_left(
    run_tool: Tool, mount: Mount, capfd: pytest.CaptureFixture
) -> None:
    disk = mount('size=64k')
    flags = ['--train', 90, '--width', 64, '--height', 64]
    assert run_tool('make_sample_data', '--out', disk / 'set', *flags) == 2
    assert 'no space left' in one_message(capfd.readouterr().err)
    assert list(disk.iterdir()) == []


@pytest.mark.parametrize('tool', TOOLS)
def test_every_tool_ends_by_its_decorator(tool: str) -> None:
    """Interrupts and full disks are handled there, see tests/utils/test_errors.py."""
    tree = ast.parse((ROOT / f'tools/{tool}.py').read_text(encoding='utf-8'))
    (main,) = (n for n in tree.body if getattr(n, 'name', '') == 'main')
    assert 'command' in [getattr(d, 'id', '') for d in main.decorator_list]


# -- in the middle of the work -------------------------------------------------
def left_over(folder: Path) -> list[str]:
    files = (path for path in folder.rglob('*') if path.is_file())
    return sorted(str(path.relative_to(folder)) for path in files)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('tool', 'arguments', 'free', 'left'),
    [
        ('test', ['{config}', '{weights}', '--work-dir', '{tmp}', '--out'], 4, []),
        (
            'demo',
            ['{config}', '{image}', '--weights', '{weights}', '--out-dir'],
            8,
            ['new/results.json'],
        ),
        ('browse_dataset', ['{config}', '--out-dir'], 8, []),
        ('convert_weights', ['{weights}', '--config', '{config}'], 64, []),
        ('plot_curves', ['{run}', '--out'], 16, []),
        ('train', ['{config}', '--work-dir'], 400, None),
        ('train', ['{config}', '--work-dir'], 8, None),
    ],
)
def test_a_disk_that_fills_up_is_named(
    trained: Trained,
    tiny_data: Path,
    run_tool: Tool,
    mount: Mount,
    tmp_path: Path,
    capfd: pytest.CaptureFixture,
    tool: str,
    arguments: list[str],
    free: int,
    left: list[str] | None,
) -> None:
    config, weights = trained('cls')
    disk = mount('size=512k')
    # the probe of the flag needs a page
    (disk / 'content').write_bytes(bytes(1024 * (512 - free)))
    names = dict(
        config=config,
        weights=weights,
        run=weights.parent,
        tmp=tmp_path / 'run',
        image=next((tiny_data / 'images/val').glob('*.jpg')),
    )
    ending = dict(test='.pkl', convert_weights='.pth', plot_curves='.png').get(tool, '')
    out = disk / f'new{ending}'
    words = [str(a).format(**names) for a in arguments]
    words.insert(1, out) if tool == 'convert_weights' else words.append(out)
    capfd.readouterr()
    assert run_tool(tool, *words) == 2
    said = one_message(capfd.readouterr().err)
    assert 'no space left' in said and str(disk) in said
    if left is not None:
        assert [n for n in left_over(disk) if n not in ('content', *left)] == []


def interrupted(arguments: list, seconds: float) -> str:
    """Interrupt a tool and its workers, as a terminal does; returns its errors."""
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {'PYTHONPATH': str(ROOT)},
        # a shell has them ignored in what it runs in the background
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert 'Traceback' not in errors
    assert errors.count('interrupted') == 1
    return errors


@pytest.mark.slow
@pytest.mark.parametrize('seconds', [1, 2, 4, 8, 16])
@pytest.mark.parametrize('workers', [0, 2])
def test_an_interrupted_training_says_so(
    tiny_config: Callable[..., Path], tmp_path: Path, seconds: float, workers: int
) -> None:
    options = [f'train_dataloader.num_workers={workers}', 'train_cfg.max_epochs=999']
    arguments = [tiny_config('cls'), '--work-dir', tmp_path, '--cfg-options', *options]
    interrupted([ROOT / 'tools/train.py', *arguments], seconds)


@pytest.mark.slow
@pytest.mark.parametrize('seconds', [1, 4])
@pytest.mark.parametrize(
    ('tool', 'arguments'),
    [
        ('paper_tables', ['--json', '{}/a.json']),
        ('make_sample_data', ['--out', '{}/a', '--train', '9999']),
        ('figure6_experiment', ['--out', '{}/a']),
        ('benchmark', ['infer', '--json', '{}/a.json']),
        ('memory_split', ['--rounds', '999']),
    ],
)
def test_an_interrupted_tool_leaves_nothing(
    tmp_path: Path, tool: str, arguments: list[str], seconds: float
) -> None:
    words = [text.format(tmp_path) for text in arguments]
    interrupted([ROOT / f'tools/{tool}.py', *words], seconds)
    if tool != 'figure6_experiment':  # what is trained stays for the next time
        assert left_over(tmp_path) == []
