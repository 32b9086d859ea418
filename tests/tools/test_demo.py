"""tools/demo.py: images, folders, videos, and what cannot be read."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

Tool = Callable[..., int]
Trained = Callable[[str], tuple[Path, Path]]


@pytest.mark.parametrize('task', ['det', 'seg', 'cls'])
def test_images_and_json(
    trained: Trained, run_tool: Tool, tiny_data: Path, tmp_path: Path, task: str
) -> None:
    config, checkpoint = trained(task)
    source = sorted((tiny_data / 'images' / 'val').glob('*.jpg'))[0]
    twin = tmp_path / 'twin' / source.name  # of the same name
    twin.parent.mkdir()
    shutil.copy(source, twin)
    out = tmp_path / 'out'
    flags = ['--weights', checkpoint, '--out-dir', out, '--score-thr', '0.4']
    assert run_tool('demo', config, source, twin.parent, *flags) == 0
    content = json.loads((out / 'results.json').read_text())
    first, second = content['results']
    assert first['image'] == str(source)
    assert first['drawn'] != second['drawn']
    for entry in (first, second):
        image = cv2.imread(entry['drawn'])
        assert min(image.shape[:2]) >= 480  # enlarged for the text
    if task == 'det':
        assert 'circle' in content['classes']
        boxes = np.array(first['boxes']).reshape(-1, 4)
        assert len(boxes) == len(first['scores']) == len(first['classes'])
        assert all(score >= 0.4 for score in first['scores'])
        assert (boxes >= 0).all() and (boxes <= 64).all()
    elif task == 'seg':
        shares = first['pixel_shares']
        assert sum(shares.values()) == pytest.approx(1, abs=0.001)
        mask = cv2.imread(first['mask'], cv2.IMREAD_UNCHANGED)
        assert mask.shape == (64, 64)
        names = {content['classes'][i] for i in np.unique(mask)}
        assert names == set(shares)
    else:
        scores = [entry['score'] for entry in first['top5']]
        assert len(scores) == 5
        assert scores == sorted(scores, reverse=True)
        assert sum(scores) == pytest.approx(1, abs=0.001)


def test_bad_images_do_not_stop_the_others(
    trained: Trained,
    run_tool: Tool,
    tiny_data: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture,
) -> None:
    config, checkpoint = trained('cls')
    folder = tmp_path / 'in'
    folder.mkdir()
    good = sorted((tiny_data / 'images' / 'val').glob('*.jpg'))[0]
    (folder / 'a_broken.jpg').write_text('no image')
    (folder / 'b_empty.png').write_bytes(b'')
    shutil.copy(good, folder / 'c_good.jpg')
    (folder / 'd_broken.mp4').write_bytes(b'no video')
    (folder / 'notes.txt').write_text('not looked at')
    out = tmp_path / 'out'
    flags = ['--weights', checkpoint, '--out-dir', out]
    assert run_tool('demo', config, folder, *flags) == 1
    output = capfd.readouterr()
    assert 'a_broken.jpg cannot be read as an image' in output.out
    assert 'd_broken.mp4 cannot be read as a video' in output.out
    content = json.loads((out / 'results.json').read_text())
    assert [Path(r['image']).name for r in content['results']] == ['c_good.jpg']
    assert len(content['failed']) == 3


def test_video(
    trained: Trained, run_tool: Tool, tiny_data: Path, tmp_path: Path
) -> None:
    config, checkpoint = trained('cls')
    source = sorted((tiny_data / 'images' / 'val').glob('*.jpg'))[0]
    clip = tmp_path / 'clip.avi'
    code = cv2.VideoWriter_fourcc(*'MJPG')
    writer = cv2.VideoWriter(str(clip), code, 10.0, (64, 64))
    for _ in range(3):
        writer.write(cv2.imread(str(source)))
    writer.release()
    out = tmp_path / 'out'
    flags = ['--weights', checkpoint, '--out-dir', out]
    assert run_tool('demo', config, clip, *flags) == 0
    (entry,) = json.loads((out / 'results.json').read_text())['results']
    assert [frame['frame'] for frame in entry['frames']] == [0, 1, 2]
    assert entry['drawn'].endswith('clip.mp4')
    capture = cv2.VideoCapture(entry['drawn'])
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    capture.release()


@pytest.mark.parametrize(
    ('flags', 'expected'),
    [
        (['x.jpg'], 'no image, folder or video x.jpg'),
        (['.'], 'holds no image or video'),
    ],
)
def test_missing_sources(
    trained: Trained,
    run_tool: Tool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture,
    flags: list[str],
    expected: str,
) -> None:
    config, checkpoint = trained('cls')
    monkeypatch.chdir(tmp_path)
    assert run_tool('demo', config, *flags, '--weights', checkpoint) == 2
    assert expected in capfd.readouterr().err


def test_missing_weights(
    run_tool: Tool, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    image = tmp_path / 'a.png'
    cv2.imwrite(str(image), np.zeros((8, 8, 3), np.uint8))
    assert run_tool('demo', 'ssdlite_sample', image) == 2
    assert '--weights is missing' in capfd.readouterr().err
    flags = ['--weights', tmp_path / 'none.pth', '--device', 'cpu']
    assert run_tool('demo', 'ssdlite_sample', image, *flags) == 2
    assert 'there is no checkpoint' in capfd.readouterr().err
