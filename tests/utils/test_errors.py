"""What a user sees of an InputError, wherever it was raised."""

import functools
import subprocess
import sys

import pytest
import torch
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import Registry
from torch.utils.data import DataLoader, Dataset

from mnv2_mm.utils.errors import TRACEBACK_VARIABLE, InputError, command, message_of

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
