"""Files that can be read, and what is said of the others."""

from pathlib import Path

import numpy as np
import pytest
import torch
from toy_runner import Toy, truncate

from mnv2_mm.checkpoints import load_backbone
from mnv2_mm.checkpoints.file import check_file, read
from mnv2_mm.checkpoints.guard import load
from mnv2_mm.checkpoints.readers.torch_file import read_torch
from mnv2_mm.models import MobileNetV2
from mnv2_mm.utils.errors import InputError


def test_unreadable_files_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='there is no checkpoint'):
        read(tmp_path / 'none.pth')
    (tmp_path / 'text.pth').write_text('hello')
    with pytest.raises(InputError, match='is not a checkpoint of PyTorch'):
        read(tmp_path / 'text.pth')
    torch.save(Toy().state_dict(), tmp_path / 'good.pth')
    check_file(str(tmp_path / 'good.pth'))
    truncate(tmp_path / 'good.pth')
    with pytest.raises(InputError, match='is cut off'):
        read(tmp_path / 'good.pth')
    torch.save({'a': 1}, tmp_path / 'numbers.pth')
    with pytest.raises(InputError, match='holds no weights'):
        read(tmp_path / 'numbers.pth')
    torch.save(
        Toy().state_dict(), tmp_path / 'old.pth', _use_new_zipfile_serialization=False
    )
    assert 'head.bias' in read(tmp_path / 'old.pth')


def test_numbers_of_numpy_are_read_without_a_word(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    """As mmseg's best mIoU in the message hub."""
    best = {'best_score': np.float32(0.5), 'n': np.int16(1)}
    state = {'state_dict': Toy().state_dict(), 'message_hub': best}
    torch.save(state, tmp_path / 'a.pth')
    assert read(tmp_path / 'a.pth')['message_hub']['best_score'] == 0.5
    assert capfd.readouterr().out == ''


class Calls:
    """Pickled as a call of print."""

    def __reduce__(self) -> tuple:
        return print, ('it ran',)


@pytest.mark.parametrize(
    'way',
    [
        read,
        read_torch,
        lambda path: load(Toy(), str(path)),
        lambda path: load_backbone(MobileNetV2(0.35), str(path)),
    ],
    ids=['read', 'read_torch', 'load', 'load_backbone'],
)
def test_no_way_to_read_runs_code(way, tmp_path: Path, capfd) -> None:
    path = tmp_path / 'a.pth'
    torch.save({'state_dict': Toy().state_dict(), 'extra': Calls()}, path)
    with pytest.raises(InputError, match=r'would run print when read'):
        way(path)
    assert 'it ran' not in capfd.readouterr().out


def test_safetensors_are_read_as_any_checkpoint(tmp_path: Path) -> None:
    save_file = pytest.importorskip('safetensors.torch').save_file
    net = MobileNetV2(0.35)
    save_file(net.state_dict(), tmp_path / 'a.safetensors')
    assert load_backbone(MobileNetV2(0.35), str(tmp_path / 'a.safetensors')).exact
