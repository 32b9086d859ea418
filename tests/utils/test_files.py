"""Files are whole or absent; a place is tried before the work."""

import errno
import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.files import (
    check_output,
    save_figure,
    whole_file,
    whole_folder,
    write_bytes,
    write_image,
    write_text,
)

LIMIT = 2000  # bytes


@pytest.fixture
def small_files() -> Iterator[None]:
    """The system refuses to write more than LIMIT bytes to a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_folder_is_made_and_the_content_replaced(tmp_path: Path) -> None:
    path = tmp_path / 'a/b/c.txt'
    for text in ('first', 'é'):
        write_text(path, text)
    assert path.read_text(encoding='utf-8') == 'é'
    assert names(path.parent) == ['c.txt']


@pytest.mark.parametrize('error', [ZeroDivisionError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file(
    tmp_path: Path, error: type[BaseException]
) -> None:
    write_text(tmp_path / 'a.txt', 'old')
    with pytest.raises(error), whole_file(tmp_path / 'a.txt') as part:
        part.write_text('half')
        raise error
    assert names(tmp_path) == ['a.txt']
    assert (tmp_path / 'a.txt').read_text() == 'old'


def test_a_file_that_keeps_its_name_is_written_in_a_folder_beside(
    tmp_path: Path,
) -> None:
    path = tmp_path / 'a'
    with whole_file(path, beside='.parts') as part:
        assert part == tmp_path / '.parts/a'
        part.write_text('one')
        assert not path.exists()
    with (
        pytest.raises(OSError, match='full'),
        whole_file(path, beside='.parts') as part,
    ):
        part.write_text('tw')
        raise OSError('full')
    assert path.read_text() == 'one'
    assert names(tmp_path / '.parts') == []


@pytest.mark.parametrize('kind', ['bytes', 'image', 'figure'])
def test_what_does_not_fit_is_named_and_not_left(
    tmp_path: Path, small_files: None, kind: str
) -> None:
    path = tmp_path / 'a.png'
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    with pytest.raises(OSError) as caught:
        if kind == 'bytes':
            write_bytes(path, bytes(2 * LIMIT))
        elif kind == 'image':
            write_image(path, noise)
        else:
            save_figure(Figure(), path, dpi=100)
    assert caught.value.errno == errno.EFBIG
    assert caught.value.filename == str(path)
    assert names(tmp_path) == []


def test_a_full_device_is_named() -> None:
    with pytest.raises(OSError) as caught:
        write_bytes('/dev/full', bytes(10))
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == '/dev/full'


def test_links_and_devices_stay_what_they_are(tmp_path: Path) -> None:
    (tmp_path / 'link.txt').symlink_to('target.txt')
    write_text(tmp_path / 'link.txt', 'text')
    assert (tmp_path / 'link.txt').is_symlink()
    assert (tmp_path / 'target.txt').read_text() == 'text'
    fifo = tmp_path / 'fifo'
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    check_output(fifo)
    write_text(fifo, 'text')
    assert os.read(reader, 10) == b'text'
    os.close(reader)


def test_an_image_keeps_its_format_and_parameters(tmp_path: Path) -> None:
    image = np.full((9, 7), 200, np.uint8)
    for name, flag in (('a.png', []), ('a.jpg', [cv2.IMWRITE_JPEG_QUALITY, 30])):
        write_image(tmp_path / name, image, *flag)
        expected = tmp_path / f'cv2_{name}'
        cv2.imwrite(str(expected), image, flag)
        assert (tmp_path / name).read_bytes() == expected.read_bytes()


@pytest.mark.parametrize('name', ['a', 'a.xyz'])
def test_an_unknown_ending_is_bad_input(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=name):
        write_image(tmp_path / name, np.zeros((2, 2), np.uint8))
    if '.' in name:
        with pytest.raises(InputError, match='xyz'):
            save_figure(Figure(), tmp_path / name, dpi=50)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ('path', 'folder', 'said'),
    [
        ('folder', False, 'is a directory'),
        ('file', True, 'not a directory'),
        ('file/x/y', True, 'not a directory'),
        ('file/x', False, 'not a directory'),
        ('n' * 300, False, 'too long'),
        ('/proc/x', False, '/proc/x'),
        ('/proc/x/y', True, '/proc/x/y'),
    ],
)
def test_an_impossible_output_is_refused(
    tmp_path: Path, path: str, folder: bool, said: str
) -> None:
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'file').write_text('kept')
    with pytest.raises(InputError, match=said):
        check_output(tmp_path / path, folder=folder)


def test_a_possible_output_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('kept')
    check_output(tmp_path / 'file')
    check_output(tmp_path / 'new/deep/file')
    check_output(tmp_path / 'new/deep', folder=True)
    check_output(tmp_path, folder=True)
    assert names(tmp_path) == ['file']
    assert (tmp_path / 'file').read_text() == 'kept'


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    out = tmp_path / 'set [a]'
    for content in ('first', 'second'):
        with whole_folder(out) as made:
            (made / content).touch()
    assert [path.name for path in out.iterdir()] == ['second']
    with pytest.raises(ZeroDivisionError), whole_folder(out) as made:
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_only_folders_of_dead_programs_are_removed(tmp_path: Path) -> None:
    """Not those of the user, of a running program, or of a set with a longer name."""
    dead = subprocess.Popen(['true'])
    dead.wait()
    left = tmp_path / f'.data-{dead.pid}-abcd1234'
    kept = [f'.data-{os.getpid()}-abcd1234', f'.data-{dead.pid}-old']
    kept += [f'.data-{dead.pid}-{os.getpid()}-abcd1234']
    for name in (left.name, *kept):
        (tmp_path / name / 'made').mkdir(parents=True)
    with whole_folder(tmp_path / 'data'):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {'data', *kept}


def test_an_old_folder_comes_back_if_the_new_one_cannot_be_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / 'data'
    (out / 'old').mkdir(parents=True)
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path.name == 'made':
            raise PermissionError(errno.EACCES, 'a file is open')
        return rename(path, target)

    monkeypatch.setattr(Path, 'rename', refuse)
    with pytest.raises(PermissionError), whole_folder(out):
        pass
    assert [path.name for path in out.iterdir()] == ['old']


def test_a_folder_of_another_run_or_the_current_one_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / 'data'
    with pytest.raises(InputError, match='another program'), whole_folder(out):
        (out / 'other').mkdir(parents=True)
    assert [path.name for path in out.iterdir()] == ['other']
    monkeypatch.chdir(out)
    for name in ('.', '../data', '..'):
        with (
            pytest.raises(InputError, match='current folder'),
            whole_folder(Path(name)),
        ):
            pass
