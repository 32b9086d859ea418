"""Records of several starts become one curve; the image shows them."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from mnv2_mm.utils.curves import Curves, draw_losses, plot, read_curves
from mnv2_mm.utils.errors import InputError


def write(work_dir: Path, start: str, records: list[dict]) -> Path:
    path = work_dir / start / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text(''.join(json.dumps(r) + '\n' for r in records))
    return path


def epochs(first: int, last: int, loss: float) -> list[dict]:
    """Two iterations an epoch, then a validation."""
    records: list[dict] = []
    for epoch in range(first, last + 1):
        for step in (2 * epoch - 1, 2 * epoch):
            records.append(dict(lr=0.1, loss=loss, time=1.0, epoch=epoch, step=step))
        records.append(dict(mAP=epoch / 10, time=1.0, step=epoch))
    return records


def test_starts_are_joined(tmp_path: Path) -> None:
    first = write(tmp_path, '20260101_000000', epochs(1, 3, loss=2.0))
    with first.open('a') as file:
        file.write('{"lr": 0.1, "lo')  # killed here
    # resumed from epoch 2: epoch 3 is done again
    write(tmp_path, '20260102_000000', epochs(3, 4, loss=1.0))
    curves = read_curves(tmp_path)
    assert curves.train['loss'] == [
        *((step, 2.0) for step in (1, 2, 3, 4)),
        *((step, 1.0) for step in (5, 6, 7, 8)),
    ]
    assert curves.metrics == {'mAP': [(2, 0.1), (4, 0.2), (6, 0.3), (8, 0.4)]}
    assert curves.resumed == [5]
    assert curves.last == {'mAP': 0.4}


def test_a_validation_done_again_is_one_point(tmp_path: Path) -> None:
    *trained, _ = epochs(1, 2, loss=2.0)
    # killed in the validation of epoch 2; then in the next step, and after it
    write(tmp_path, '20260101_000000', trained)
    write(tmp_path, '20260102_000000', [dict(mAP=0.2, step=2)])
    write(tmp_path, '20260103_000000', [dict(mAP=0.3, step=2), *epochs(3, 3, loss=1.0)])
    curves = read_curves(tmp_path)
    assert curves.metrics == {'mAP': [(2, 0.1), (4, 0.3), (6, 0.3)]}
    assert [step for step, _ in curves.train['loss']] == [1, 2, 3, 4, 5, 6]


def test_a_new_training_in_the_same_folder_counts_alone(tmp_path: Path) -> None:
    write(tmp_path, '20260101_000000', epochs(1, 3, loss=2.0))
    write(tmp_path, '20260102_000000', epochs(1, 1, loss=1.0))
    curves = read_curves(tmp_path)
    assert curves.train['loss'] == [(1, 1.0), (2, 1.0)]
    assert curves.metrics == {'mAP': [(2, 0.1)]}
    assert not curves.resumed


@pytest.mark.parametrize(('resumes', 'kept'), [(False, 0), (True, 2)])
def test_the_config_of_a_start_says_whether_it_resumed(
    tmp_path: Path, resumes: bool, kept: int
) -> None:
    """A larger batch has its first record behind some of the earlier training."""
    write(tmp_path, '20260101_000000', epochs(1, 3, loss=2.0))
    records = [dict(lr=0.1, loss=1.0, epoch=1, step=3), dict(mAP=0.9, step=1)]
    path = write(tmp_path, '20260102_000000', records)
    path.with_name('config.py').write_text(f'load_from = None\nresume = {resumes}\n')
    curves = read_curves(tmp_path)
    assert [step for step, _ in curves.train['loss']] == [1, 2, 3][2 - kept :]
    assert curves.metrics['mAP'][-1] == (3, 0.9)
    assert len(curves.metrics['mAP']) == 1 + kept // 2
    assert curves.resumed == [3] * resumes


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('bad', [float('nan'), float('inf'), -float('inf')])
def test_a_loss_that_is_no_number_does_not_end_the_line(bad: float) -> None:
    loss = [1.0] * 100
    loss[10:14] = [bad] * 4
    axes = Figure().subplots()
    draw_losses(axes, Curves({'loss': [*enumerate(loss)]}, {}, []))
    smooth = axes.lines[0].get_ydata()
    # no window of five is without a number
    np.testing.assert_allclose(smooth, 1)
    assert '4 records' in axes.get_title()


@pytest.mark.parametrize('highest', [1.0, 1000.0])
def test_a_loss_below_0_is_seen(highest: float) -> None:
    axes = Figure().subplots()
    draw_losses(axes, Curves({'loss': [(1, highest), (2, 1.0), (3, -2.0)]}, {}, []))
    assert axes.get_yscale() == 'linear'
    assert axes.get_ylim()[0] < -2


def test_training_by_iteration(tmp_path: Path) -> None:
    records: list[dict] = [dict(lr=0.1, loss=1.0, iter=n, step=n) for n in (50, 100)]
    records.append(dict(mIoU=30.0, step=100))
    write(tmp_path, '20260101_000000', records)
    assert read_curves(tmp_path).metrics == {'mIoU': [(100, 30.0)]}


def test_folder_without_records(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='holds no record of a training'):
        read_curves(tmp_path)


def test_image_shows_loss_and_metrics(tmp_path: Path) -> None:
    records = epochs(1, 5, loss=3.0)
    for record in records:
        if 'mAP' in record:
            record |= {'mAP_s': 0.1, 'none': -1.0}
        else:
            record |= {'loss_cls': 2.0, 'loss_bbox': 1.0}
    write(tmp_path, '20260101_000000', records)
    path = tmp_path / 'deep' / 'curves.png'
    assert plot(read_curves(tmp_path), path) == ['mAP']
    image = cv2.imread(str(path))
    # three panels with more in them than their frames
    for n in range(3):
        panel = image[:, image.shape[1] * n // 3 :][:, :400]
        assert panel.std() > 10


@pytest.mark.parametrize('task', ['det', 'seg', 'cls'])
def test_tool_on_real_records(
    trained: Callable[[str], tuple[Path, Path]],
    run_tool: Callable[..., int],
    tmp_path: Path,
    task: str,
) -> None:
    _, checkpoint = trained(task)
    out = tmp_path / 'c.png'
    assert run_tool('plot_curves', checkpoint.parent, '--out', out) == 0
    assert cv2.imread(str(out)) is not None
    curves = read_curves(checkpoint.parent)
    assert len(curves.train['loss']) >= 2
    assert len(next(iter(curves.metrics.values()))) == 2
