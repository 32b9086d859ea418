"""What a user sees of an InputError, wherever it was raised."""

import errno
import functools
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import Registry
from torch.utils.data import DataLoader, Dataset

from mnv2_mm.utils import errors
from mnv2_mm.utils.errors import (
    TRACEBACK_VARIABLE,
    InputError,
    command,
    disk_message,
    message_of,
    name_path,
)

MESSAGE = 'images/a.jpg: cut off after 12 bytes;\n  copy it again'


class Truncated(Dataset):
    """Every sample is bad, one of them because of another error."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        try:
            raise OSError('12 bytes only')
        except OSError as error:
            raise InputError(MESSAGE) from error


@pytest.mark.parametrize('workers', [0, 1])
def test_message_of_a_data_loader(workers):
    loader = DataLoader(Truncated(), num_workers=workers)
    with pytest.raises(InputError) as caught:
        next(iter(loader))
    assert message_of(caught.value) == MESSAGE
    # ends the worker here; left to the garbage collector it takes five seconds
    traceback.clear_frames(caught.tb)


def test_message_of_nested_builds():
    models = Registry('model', parent=ROOT_MODELS, scope='test_errors')
    # whatever default scope another test has left behind
    scoped = functools.partial(dict, _scope_='test_errors')

    @models.register_module()
    class Inner(torch.nn.Module):
        def __init__(self):
            super().__init__()
            raise InputError(MESSAGE)

    @models.register_module()
    class Outer(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            models.build(inner)

    with pytest.raises(InputError) as caught:
        models.build(scoped(type='Outer', inner=scoped(type='Inner')))
    assert message_of(caught.value) == MESSAGE


def test_message_without_the_lines_of_older_mmengine():
    # releases before 0.10 put one such line before it for each build
    text = 'class `A` in a/b.py: class `C` in mnv2_mm/c.py: ' + MESSAGE
    assert message_of(InputError(text)) == MESSAGE


def test_message_that_quotes_a_class_is_kept():
    text = 'class `cat` in annotations.json: no such class'
    assert message_of(InputError(text)) == text


@pytest.fixture(autouse=True)
def own_interrupts():
    """After an interrupt a tool ignores others until it ends; pytest must not."""
    # a shell has them ignored in what it runs in the background
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def exit_of(main):
    with pytest.raises(SystemExit) as caught:
        command(main)()
    return caught.value.code


def raising(error):
    def main():
        """Do nothing but fail."""
        raise error

    return main


def test_command_prints_one_message(capsys):
    assert exit_of(raising(InputError(MESSAGE))) == 2
    out, err = capsys.readouterr()
    assert out == ''
    assert err == f'\nerror: {MESSAGE}\n'


def test_command_is_interrupted_without_a_traceback(capsys):
    assert exit_of(raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == '\ninterrupted\n'


def test_a_second_interrupt_does_not_disturb_the_end():
    assert exit_of(raising(KeyboardInterrupt())) == 130
    os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupt_behind_another_error_is_one(capsys):
    def main():
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(9)
        except BaseException:
            raise SyntaxError('cannot be formatted')  # noqa: B904  as in mmengine

    assert exit_of(main) == 130
    assert capsys.readouterr().err == '\ninterrupted\n'


def test_the_handler_is_given_back():
    before = signal.getsignal(signal.SIGINT)
    exit_of(lambda: 0)
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_during_an_import_leaves_at_once(tmp_path):
    """Some packages swallow a KeyboardInterrupt; C++ aborts at it."""
    (tmp_path / 'swallows.py').write_text(
        'import os, signal\n'
        'try:\n'
        '    os.kill(os.getpid(), signal.SIGINT)\n'
        '    signal.sigtimedwait([], 5)\n'
        'except BaseException:\n'
        '    print("swallowed")\n'
    )
    code = (
        'import signal\n'
        'from mnv2_mm.utils.errors import command\n'
        'signal.signal(signal.SIGINT, signal.default_int_handler)\n'
        'def main():\n'
        '    import swallows\n'
        'command(main)()\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', code],
        capture_output=True,
        text=True,
        env=os.environ | {'PYTHONPATH': os.pathsep.join([str(tmp_path), *sys.path])},
    )
    assert done.returncode == 130
    assert (done.stdout, done.stderr) == ('', '\ninterrupted\n')


@pytest.mark.parametrize(
    ('error', 'said'),
    [
        (OSError(errno.ENOSPC, 'full', 'a/b.pth'), 'a/b.pth: no space left'),
        (OSError(errno.ENOSPC, 'full'), 'the output: no space left'),
        (PermissionError(errno.EACCES, 'no', 'a'), 'a: permission denied'),
        (OSError(errno.EROFS, 'no', 'a'), 'a: read-only file system'),
        (RuntimeError('PytorchStreamWriter failed writing file'), 'checkpoint'),
    ],
)
def test_a_disk_that_refuses_is_one_message(capsys, error, said):
    assert exit_of(raising(error)) == 2
    err = capsys.readouterr().err
    assert err.startswith(f'\nerror: {said}') or said in err
    assert err.count('\n') == 2


def test_the_disk_behind_the_error_of_torch_is_named():
    with pytest.raises((OSError, RuntimeError)) as caught:
        torch.save(torch.rand(9), '/dev/full')
    assert 'free space' in disk_message(caught.value)
    errors = OSError, RuntimeError
    with pytest.raises(errors) as caught, open('/dev/full', 'wb', 0) as file:
        torch.save(torch.rand(9), file)
    assert 'no space left' in disk_message(caught.value)


@pytest.mark.parametrize(
    'error', [FileNotFoundError(errno.ENOENT, 'no', 'a'), RuntimeError('a defect')]
)
def test_other_system_errors_keep_their_traceback(error):
    with pytest.raises(type(error)):
        command(raising(error))()


def test_a_write_without_a_name_gets_one():
    for path, named in (('/dev/full', 'work_dirs/x'), ('/none/file', '/none/file')):
        with pytest.raises(OSError) as caught, name_path('work_dirs/x'):
            Path(path).write_bytes(b'1')
        assert caught.value.filename == named
    with pytest.raises(OSError, match=r'^cut off$'), name_path('work_dirs/x'):
        raise OSError('cut off')


def test_a_defect_after_a_disk_error_keeps_its_traceback():
    def main():
        try:
            os.mkdir('/')
        except OSError:
            raise ZeroDivisionError from None

    with pytest.raises(ZeroDivisionError):
        command(main)()


@pytest.mark.parametrize('code', [None, 0, 1])
def test_command_passes_the_exit_code_on(code):
    assert exit_of(lambda: code) == code


def test_command_keeps_name_and_docstring():
    main = raising(InputError())
    assert command(main).__doc__ == main.__doc__


def test_defects_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        command(raising(ZeroDivisionError()))()


def test_traceback_on_demand(monkeypatch):
    monkeypatch.setenv(TRACEBACK_VARIABLE, '1')
    with pytest.raises(InputError):
        command(raising(InputError(MESSAGE)))()


def test_a_reader_that_stops_is_no_error():
    code = (
        'from mnv2_mm.utils.errors import command\n'
        'command(lambda: print(*range(10**6), sep=chr(10)))()'
    )
    run = subprocess.Popen(
        [sys.executable, '-c', code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert run.stdout.readline() == b'0\n'
    run.stdout.close()
    assert run.wait() == 1
    assert run.stderr.read() == b''


def test_another_broken_pipe_keeps_its_traceback():
    with pytest.raises(BrokenPipeError):
        command(raising(BrokenPipeError()))()


def test_command_line_ends_with_the_message():
    code = (
        'from mnv2_mm.utils.errors import InputError, command\n'
        'def main():\n'
        "    raise InputError('no such width; give 0.25 to 2')\n"
        'command(main)()\n'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == '\nerror: no such width; give 0.25 to 2\n'


@pytest.mark.parametrize(
    ('error', 'said'),
    [
        (ModuleNotFoundError('no', name='rich.progress'), 'rich is not installed'),
        (ModuleNotFoundError('no', name='mmcv._ext'), '--repair'),
        (RuntimeError('operator torchvision::nms does not exist'), '--repair'),
    ],
)
def test_a_missing_package_is_one_message(capsys, monkeypatch, error, said):
    monkeypatch.setattr(errors, 'ACTIVATE', Path('nowhere/bin/activate'))

    def main():
        raise error

    with pytest.raises(SystemExit) as ended:
        command(main)()
    text = capsys.readouterr().err
    assert ended.value.code == 2 and said in text and 'mnv2_mm.check' in text


def test_the_environment_of_the_clone_is_named(tmp_path, monkeypatch):
    script = tmp_path / 'my clone/.venv/bin/activate'
    script.parent.mkdir(parents=True)
    script.touch()
    monkeypatch.setattr(errors, 'ACTIVATE', script)
    error = ModuleNotFoundError('no', name='cv2')
    assert f"source '{script}'" in errors.missing_message(error)
    monkeypatch.setattr(sys, 'prefix', str(tmp_path / 'my clone/.venv'))
    assert 'mnv2_mm.check' in errors.missing_message(error)


@pytest.mark.parametrize('name', ['mnv2_mm.nothing', None])
def test_a_missing_module_of_our_own_is_a_defect(name):
    def main():
        raise ModuleNotFoundError('no', name=name)

    with pytest.raises(ModuleNotFoundError):
        command(main)()
