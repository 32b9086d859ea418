"""tools/train.py: messages, resume after a kill, several processes."""

import contextlib
import json
import logging
import multiprocessing
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mnv2_mm.api import init_model
from mnv2_mm.runtime import machine
from mnv2_mm.utils.config import apply_options, get_config, list_models
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.mmcv_ops import SENTENCES, ops_kind

ROOT = Path(__file__).resolve().parents[2]
Tool = Callable[..., int]
Write = Callable[..., Path]


def environment(**more: str) -> dict[str, str]:
    python_path = os.pathsep.join(
        filter(None, [str(ROOT), os.environ.get('PYTHONPATH')])
    )
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
    return os.environ | {'PYTHONPATH': python_path, 'PATH': path} | more


# -- names and options -------------------------------------------------------
def test_configs_are_found_by_path_and_name() -> None:
    names = list_models()
    assert {'ssdlite_mnv2_coco', 'mnv2_in1k', 'ssdlite_sample'} <= set(names)
    assert not any(name.startswith('coco_det') for name in names)
    assert list_models('deeplab') == [n for n in names if 'deeplab' in n]
    by_name = get_config('mnv2_in1k')
    by_path = get_config(ROOT / 'configs' / 'mnv2_in1k.py')
    assert by_name.model == by_path.model


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('ssdlite_mnv2_cocoo', 'did you mean ssdlite_mnv2_coco'),
        ('configs/mnv2_in2k.py', 'configs/mnv2_in1k.py'),
        ('qqqqq', 'the names are: '),
    ],
)
def test_unknown_config_names_the_near_ones(name: str, expected: str) -> None:
    with pytest.raises(InputError) as error:
        get_config(name)
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('a = (', 'cannot be read: SyntaxError'),
        ("_base_ = ['./none.py']", 'inherits from a file that is not there'),
        ('a = b', "name 'b' is not defined"),
    ],
)
def test_broken_config_is_named(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / 'broken.py'
    path.write_text(text)
    with pytest.raises(InputError) as error:
        get_config(path)
    assert expected in str(error.value)
    assert str(path) in str(error.value)


def options_config() -> Config:
    return Config(
        dict(
            model=dict(backbone=dict(widen_factor=1.0)),
            data_root='data/coco',
            param_scheduler=[dict(begin=0)],
        )
    )


@pytest.mark.parametrize(
    ('key', 'expected'),
    [
        ('data_root', 'a variable of the config file'),
        ('modell.backbone', 'Did you mean "model"?'),
        ('model.backbone.widen_facter', 'Did you mean "widen_factor"?'),
    ],
)
def test_options_that_change_nothing_are_warned_of(key: str, expected: str) -> None:
    (warning,) = apply_options(options_config(), [f'{key}=1'])
    assert key in warning
    assert expected in warning


def test_options_that_work_are_silent() -> None:
    cfg = options_config()
    options = [
        'model.backbone.with_cp=True',
        'param_scheduler.0.begin=5',
        'randomness.seed=3',
    ]
    assert apply_options(cfg, options) == []
    assert cfg.model.backbone.with_cp is True
    assert cfg.param_scheduler[0].begin == 5
    assert cfg.randomness.seed == 3


def test_options_beyond_a_list_are_an_error() -> None:
    with pytest.raises(InputError, match='a list of 1'):
        apply_options(options_config(), ['param_scheduler.3.begin=1'])
    with pytest.raises(InputError, match='no dictionaries'):
        apply_options(options_config(), ['hooks=[dict(type=A, b=1)]'])
    for text in ('[dict(type=A)]', "[{'type':'A'}]"):
        with pytest.raises(InputError, match='no dictionaries'):
            apply_options(options_config(), [f'hooks={text}'])
    with pytest.raises(InputError, match='brackets'):
        apply_options(options_config(), ['hooks=((1,2)'])


def test_an_option_without_a_value_is_named() -> None:
    for option in ('foo', '=3'):
        with pytest.raises(InputError, match=f'{option} is not of the form key=value'):
            apply_options(options_config(), [option])


# -- messages ----------------------------------------------------------------
@pytest.mark.parametrize(
    ('flags', 'expected'),
    [
        (
            ['--cfg-options', 'model.backbone.type=mnv2_mm.MobileNetV3'],
            "Did you mean 'mnv2_mm.MobileNetV2'",
        ),
        (['--cfg-options', 'model.backbone.type=MobileNet_V2'], "'MobileNetV2'"),
        (['--cfg-options', 'model.backbone.widen=2'], "takes no argument 'widen'"),
        (
            ['--cfg-options', 'optim_wrapper.optimizer.type=SDG'],
            "type='SDG' is not known among the optimizers",
        ),
        (['--auto-scale-lr'], 'auto_scale_lr=dict(base_batch_size=...)'),
        (['--launcher', 'pytorch'], 'tools/dist_train.sh'),
        (['--resume', 'none.pth'], 'there is no checkpoint none.pth'),
        (['--cfg-options', 'train_dataloader.dataset.data_root=nowhere'], 'nowhere'),
        (['--cfg-options', 'default_scope=mmyolo'], "default_scope='mmyolo'"),
        (['--cfg-options', 'train_dataloader.batch_size=9999'], 'usable images'),
        (['--cfg-options', 'default_hooks.logger.interval=0'], 'LoggerHook'),
        (['--cfg-options', 'default_hooks.checkpoint.save_best=top'], 'accuracy/top1'),
        (['--seed', '4294967296'], 'at most 4294967295'),
    ],
)
def test_mistakes_get_one_message(
    tiny_config: Write,
    run_tool: Tool,
    tmp_path: Path,
    capfd: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    flags: list[str],
    expected: str,
) -> None:
    for name in ('RANK', 'WORLD_SIZE'):
        monkeypatch.delenv(name, raising=False)
    if '--launcher' in flags and torch.cuda.is_available():
        pytest.skip('with a GPU mmengine joins the processes itself')
    code = run_tool('train', tiny_config('cls'), '--work-dir', tmp_path, *flags)
    error = capfd.readouterr().err
    assert code == 2
    assert error.count('error: ') == 1
    assert expected in error
    assert 'Traceback' not in error


# -- training and resuming ---------------------------------------------------
@pytest.mark.parametrize(
    ('task', 'option', 'expected'),
    [('det', 'metric', "'segm'"), ('seg', 'iou_metrics', 'not supported')],
)
def test_unknown_metrics_get_one_message(
    tiny_config: Write,
    run_tool: Tool,
    tmp_path: Path,
    capfd: pytest.CaptureFixture,
    task: str,
    option: str,
    expected: str,
) -> None:
    options = ['--cfg-options', f'val_evaluator.{option}=mask']
    assert run_tool('train', tiny_config(task), '--work-dir', tmp_path, *options) == 2
    error = capfd.readouterr().err
    assert expected in error and 'mask' in error and 'Traceback' not in error


@pytest.mark.parametrize('task', ['det', 'seg', 'cls'])
def test_trains_and_reuses_a_finished_run(
    trained: Callable[[str], tuple[Path, Path]],
    run_tool: Tool,
    capfd: pytest.CaptureFixture,
    task: str,
) -> None:
    config, checkpoint = trained(task)
    assert checkpoint.is_file()
    assert list(checkpoint.parent.glob('best_*.pth'))
    stamp = checkpoint.stat().st_mtime_ns
    capfd.readouterr()
    work_dir = checkpoint.parent
    assert run_tool('train', config, '--work-dir', work_dir, '--resume') == 0
    assert 'complete already; nothing to do' in capfd.readouterr().out
    assert checkpoint.stat().st_mtime_ns == stamp


@pytest.mark.parametrize('bfloat16', [True, False])
@pytest.mark.parametrize(
    'task',
    [
        'cls',
        # the same wrapper and hook
        pytest.param('det', marks=pytest.mark.slow),
        pytest.param('seg', marks=pytest.mark.slow),
    ],
)
def test_fast_training_says_what_it_does(
    tiny_config: Write,
    run_tool: Tool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    task: str,
    bfloat16: bool,
) -> None:
    monkeypatch.setattr(machine, 'has_bfloat16', lambda: bfloat16)
    key = 'max_iters' if task == 'seg' else 'max_epochs'
    options = ['--fast', '--cfg-options', f'train_cfg.{key}=1']
    # few images, since bfloat16 without the instructions is slow
    options += ['train_dataloader.batch_size=2', 'val_dataloader.dataset.indices=2']
    options += ['train_dataloader.dataset.indices=4']
    config = tiny_config(task)
    assert run_tool('train', config, '--work-dir', tmp_path, *options) == 0
    (dumped,) = tmp_path.glob('tiny_*.py')
    cfg = Config.fromfile(dumped)
    kind = cfg.optim_wrapper.type.rpartition('.')[2]
    mixed = bfloat16 or torch.cuda.is_available()
    assert mixed == (kind in ('BFloat16OptimWrapper', 'AmpOptimWrapper'))
    (log,) = tmp_path.glob('*/*.log')
    text = log.read_text()
    assert 'machine: ' in text and '--fast' in text
    assert mixed or '--fast changes nothing here: float32' in text
    assert dict(type='mnv2_mm.ChannelsLastHook') in cfg.custom_hooks
    (state,) = tmp_path.glob('[ei]*_1.pth')
    for value in torch.load(state, weights_only=False)['state_dict'].values():
        assert value.isfinite().all() and value.dtype != torch.bfloat16


@pytest.mark.parametrize('task', ['det', 'cls'])
def test_console_is_readable(
    tiny_config: Write,
    run_tool: Tool,
    tmp_path: Path,
    capfd: pytest.CaptureFixture,
    task: str,
) -> None:
    options = ['--seed', '5', '--cfg-options', 'train_cfg.max_epochs=1']
    work_dir = tmp_path / 'run'
    config = tiny_config(task)
    assert run_tool('train', config, '--work-dir', work_dir, *options) == 0
    output = capfd.readouterr()
    text = output.out + output.err
    assert f'training tiny_{task} for 1 epoch on' in text
    assert ('memory: channels last' in text) != torch.cuda.is_available()
    assert 'Epoch(train)' in text
    assert 'mnv2 test' in text
    for noise in ('System environment', 'widen_factor', 'Hooks will be', 'index'):
        assert noise not in text
    lines = [x for x in text.splitlines() if str(tmp_path) not in x]  # long paths
    assert max(map(len, lines)) < 80
    (epoch,) = [x for x in lines if x.startswith('epoch 1/1  loss ')]
    assert 'mAP ' in epoch or 'top1 ' in epoch
    assert sum('Epoch(' in x for x in lines) == text.count('eta: ')
    if task == 'det':
        (row,) = [x for x in lines if x.startswith('| circle ')]
        assert row.count('|') == 8
    assert not re.search('warn', text, re.IGNORECASE)
    (log,) = work_dir.glob('*/*.log')
    assert 'System environment' in log.read_text()  # nothing is lost
    assert 'index created' in log.read_text() or task == 'cls'
    assert 'seed: 5' in log.read_text()
    assert f'ops of mmcv: {SENTENCES[ops_kind()]}' in log.read_text()
    assert Config.fromfile(work_dir / config.name).randomness.seed == 5
    if task == 'det':
        return
    # once more without --resume
    assert run_tool('train', config, '--work-dir', work_dir, *options) == 0
    assert 'holds checkpoints of an earlier' in capfd.readouterr().out


def test_resume_without_checkpoint_starts(
    tiny_config: Write, run_tool: Tool, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    flags = ['--resume', '--cfg-options', 'train_cfg.max_epochs=1']
    config = tiny_config('cls')
    assert run_tool('train', config, '--work-dir', tmp_path, *flags) == 0
    assert 'starting from the beginning' in capfd.readouterr().out


@pytest.mark.parametrize(('saves', 'wrapped'), [(True, 0), (False, 0), (True, 1)])
def test_interrupt_names_the_command_that_continues(
    trained: Callable[[str], tuple[Path, Path]],
    run_tool: Tool,
    tmp_path: Path,
    capfd: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    saves: bool,
    wrapped: bool,
) -> None:
    config, checkpoint = trained('cls')
    shutil.copy2(checkpoint, tmp_path)  # of an older training

    class Stopped:
        logger = logging.getLogger('stopped')

        def train(self) -> None:
            if saves:
                shutil.copy(checkpoint, tmp_path / 'epoch_1.pth')
            if not wrapped:
                raise KeyboardInterrupt
            try:
                raise KeyboardInterrupt
            finally:
                raise RuntimeError('of a library')

    monkeypatch.setattr(
        'mnv2_mm.commands.train.build_runner', lambda cfg, **_: Stopped()
    )
    flags = ['--seed', '3', '--cfg-options', 'a.b="x y"']
    assert run_tool('train', config, '--work-dir', tmp_path, *flags) == 130
    (line,) = re.findall('stopped.*', capfd.readouterr().out)
    assert line.endswith('--resume') == saves
    command = shlex.split(line.partition('with: ')[2])
    assert command[2:] == [
        *(str(config), '--work-dir', str(tmp_path), *flags),
        *(['--resume'] if saves else []),
    ]


def test_a_lazy_config_and_hooks_turned_off(
    tiny_config: Write, run_tool: Tool, tmp_path: Path
) -> None:
    """Classes in place of names, no seed in it, and a hook of this project as None."""
    config, work_dir = tmp_path / 'lazy.py', tmp_path / 'run'
    cfg = get_config(tiny_config('cls'))
    cfg.pop('randomness', None)
    config.write_text(
        'from mmengine.hooks import CheckpointHook\n'
        'from mnv2_mm.models import MobileNetV2\n'
        f'{cfg.pretty_text}\n'
        "model['backbone']['type'] = MobileNetV2\n"
        "default_hooks['checkpoint'] = dict(type=CheckpointHook, interval=1)\n"
        "default_hooks['finite_loss'] = None\n"
    )
    assert run_tool('train', config, '--work-dir', work_dir, '--seed', '3') == 0
    cfg = Config.fromfile(work_dir / 'lazy.py')
    assert cfg.default_hooks.checkpoint.type == 'mnv2_mm.AtomicCheckpointHook'
    assert 'finite_loss' not in cfg.default_hooks
    assert cfg.randomness.seed == 3
    weights = work_dir / 'epoch_2.pth'
    assert run_tool('test', config, weights, '--work-dir', work_dir) == 0
    assert init_model(config, weights).backbone is not None


@pytest.mark.slow
def test_killed_run_continues_from_its_last_checkpoint(
    tiny_config: Write, run_tool: Tool, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    config = tiny_config('cls')
    work_dir = tmp_path / 'run'
    command = [
        sys.executable,
        str(ROOT / 'tools' / 'train.py'),
        str(config),
        '--work-dir',
        str(work_dir),
        '--cfg-options',
        'train_cfg.max_epochs=1000',
    ]
    process = subprocess.Popen(
        command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: (work_dir / 'epoch_3.pth').exists(), process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    # as if it had been killed while it wrote this one
    found = sorted(work_dir.glob('epoch_*.pth'), key=lambda p: p.stat().st_mtime_ns)
    assert len(found) >= 2
    *_, before, newest = found
    newest.write_bytes(newest.read_bytes()[:100_000])
    (work_dir / 'last_checkpoint').write_text('')

    epoch = int(before.stem.partition('_')[2])
    code = run_tool(
        'train',
        config,
        '--work-dir',
        work_dir,
        '--resume',
        '--cfg-options',
        f'train_cfg.max_epochs={epoch + 1}',
    )
    output = capfd.readouterr().out
    assert code == 0
    assert f'{newest} is cut off' in output
    assert f'continuing from {before}: epoch {epoch} of' in output
    last = max(work_dir.glob('*/vis_data/scalars.json'))
    records = [json.loads(x) for x in last.read_text().splitlines()]
    steps = [r['step'] for r in records if 'lr' in r]
    per_epoch = len(steps)
    assert steps[0] == epoch * per_epoch + 1
    state = torch.load(work_dir / f'epoch_{epoch + 1}.pth', weights_only=False)
    assert state['meta']['iter'] == (epoch + 1) * per_epoch


def wait_for(
    done: Callable[[], bool], process: subprocess.Popen, seconds: int = 400
) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert process.poll() is None, 'the training ended by itself'
        assert time.monotonic() < end, 'the training is too slow'
        time.sleep(0.05)


# -- several processes -------------------------------------------------------
def forked(run_tool: Tool, folder: Path, arguments: list, *, count: int = 2) -> str:
    """Train in copies of this process, which spares the imports."""
    with socket.create_server(('127.0.0.1', 0)) as free:
        port = free.getsockname()[1]

    def rank(number: int) -> None:
        os.environ.update(
            RANK=str(number), LOCAL_RANK=str(number), WORLD_SIZE=str(count)
        )
        os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
        torch.set_num_threads(1)
        path = folder / f'rank{number}.txt'
        with path.open('w') as out, contextlib.redirect_stdout(out):
            assert run_tool('train', *arguments, '--launcher', 'pytorch') == 0

    context = multiprocessing.get_context('fork')
    processes = [context.Process(target=rank, args=(n,)) for n in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(400)
        process.kill()
    said = ''.join(path.read_text() for path in sorted(folder.glob('rank*.txt')))
    assert [process.exitcode for process in processes] == [0] * count, said
    return said


def launched(run_tool: Tool, folder: Path, arguments: list) -> str:
    """Train in two processes that torchrun starts."""
    done = subprocess.run(
        ['bash', ROOT / 'tools' / 'dist_train.sh', arguments[0], '2', *arguments[1:]],
        env=environment(PORT=str(20000 + os.getpid() % 20000)),
        capture_output=True,
        text=True,
        timeout=500,
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason='this is about gloo')
@pytest.mark.parametrize(
    'start',
    [
        forked,
        # the script's flags are tested below
        pytest.param(launched, marks=pytest.mark.slow),
    ],
)
def test_two_processes_on_the_cpu(
    tiny_config: Write, run_tool: Tool, tmp_path: Path, start: Callable[..., str]
) -> None:
    work_dir = tmp_path / 'run'
    options = ['--work-dir', work_dir, '--cfg-options']
    options += ['train_cfg.max_epochs=1', 'train_dataloader.batch_size=4']
    said = start(run_tool, tmp_path, [tiny_config('cls'), *options])
    assert said.count('training tiny_cls for') == 1
    (log,) = work_dir.glob('*/*.log')
    text = log.read_text()
    assert 'Distributed training: True' in text
    assert 'GPU number: 2' in text
    # 2 processes of 4 are one of 8: as many iterations
    single = re.search(r'\[1\]\[ *1/(\d+)\]', text)
    data = torch.load(work_dir / 'epoch_1.pth', weights_only=False)
    assert data['meta']['iter'] == int(single[1])
    assert list(work_dir.glob('best_*.pth'))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """What forked() computes with; two threads round in another order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.skipif(torch.cuda.is_available(), reason='this is about gloo')
@pytest.mark.parametrize('unused', [False, True])
def test_one_process_of_many_trains_as_one_alone(
    tiny_config: Write, run_tool: Tool, tmp_path: Path, unused: bool, one_thread: None
) -> None:
    """The layout of weights and that of the buckets of gradients are the same."""
    options = ['--cfg-options', 'train_cfg.max_epochs=1']
    options += [f'find_unused_parameters={unused}'] * unused
    command = [tiny_config('cls'), *options, '--work-dir']
    forked(run_tool, tmp_path, [*command, tmp_path / 'forked'], count=1)
    assert run_tool('train', *command, tmp_path / 'alone') == 0
    states = [
        torch.load(tmp_path / name / 'epoch_1.pth', weights_only=False)['state_dict']
        for name in ('forked', 'alone')
    ]
    for key, value in states[0].items():
        torch.testing.assert_close(value, states[1][key], msg=key)


@pytest.mark.parametrize('name', ['dist', 'slurm'])
@pytest.mark.parametrize('tool', ['train', 'test'])
def test_launchers_say_how_they_are_used(name: str, tool: str) -> None:
    script = ROOT / 'tools' / f'{name}_{tool}.sh'
    done = subprocess.run(['bash', script], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f'usage: bash {script} ' in done.stderr


def printed(folder: Path, name: str, command: list, **env: str) -> list[str]:
    """What a script gives to the program of this name, word by word."""
    program = folder / name
    program.write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    path = f'{folder}{os.pathsep}{os.environ["PATH"]}'
    done = subprocess.run(
        ['bash', *command],
        env=environment(PATH=path, **env),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize('tool', ['train', 'test'])
def test_torchrun_gets_the_flags(tool: str, tmp_path: Path) -> None:
    script = ROOT / 'tools' / f'dist_{tool}.sh'
    weights = ['a b'] if tool == 'test' else []
    command = [script, 'c.py', *weights, '3', '--cfg-options', 'x=[1, 2]']
    words = printed(tmp_path, 'python', command, NNODES='2', PORT='1234')
    assert words[:2] == ['-m', 'torch.distributed.run']
    assert {'--nproc_per_node=3', '--nnodes=2', '--master_port=1234'} <= {*words}
    tail = ['c.py', *weights, '--launcher', 'pytorch', '--cfg-options', 'x=[1, 2]']
    assert Path(words[-len(tail) - 1]).samefile(ROOT / 'tools' / f'{tool}.py')
    assert words[-len(tail) :] == tail


@pytest.mark.parametrize('tool', ['train', 'test'])
def test_slurm_gets_the_flags(tool: str, tmp_path: Path) -> None:
    script = ROOT / 'tools' / f'slurm_{tool}.sh'
    flags = ['part', 'job', 'c.py', 'a b', '--cfg-options', 'x=[1, 2]']
    env = dict(GPUS='4', SRUN_ARGS='--quiet --exclusive')
    words = printed(tmp_path, 'srun', [script, *flags], **env)
    assert {'--ntasks=4', '--gres=gpu:4', '--quiet', '--exclusive'} <= {*words}
    flag = ['--work-dir'] if tool == 'train' else []
    tail = ['c.py', *flag, 'a b', '--launcher', 'slurm']
    assert words[-len(tail) - 2 :] == [*tail, '--cfg-options', 'x=[1, 2]']
