"""tools/demo.py: images, folders, videos, and what cannot be read."""

import json
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from image_headers import png_header

from mnv2_mm.commands import demo
from mnv2_mm.engine.predictor import Model
from mnv2_mm.runtime.model import ExportedModel
from mnv2_mm.runtime.predictor import Predictor
from mnv2_mm.runtime.result import Result
from mnv2_mm.runtime.sources import find_sources

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
    monkeypatch: pytest.MonkeyPatch,
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
    (folder / 'e_large.png').write_bytes(png_header(60000, 60000))
    cv2.imwrite(str(folder / 'f_strip.png'), np.zeros((1, 4000, 3), np.uint8))
    (folder / 'g_folder.jpg').mkdir()
    shutil.copy(good, folder / 'h_memory.jpg')
    shutil.copy(good, folder / 'i_good.jpg')
    (folder / 'j_\udcff.jpg').write_bytes(b'')  # a name that is not UTF-8
    real = Model.run

    def run(model: Model, images: list[np.ndarray]) -> list:
        if len(calls) == 1:
            calls.append('fails')
            raise MemoryError('too little memory')
        calls.append('works')
        return real(model, images)

    calls: list[str] = []
    monkeypatch.setattr(Model, 'run', run)
    (folder / 'notes.txt').write_text('not looked at')
    out = tmp_path / 'out'
    flags = ['--weights', checkpoint, '--out-dir', out]
    assert run_tool('demo', config, folder, *flags) == 1
    output = capfd.readouterr()
    assert 'a_broken.jpg cannot be read as an image' in output.out
    assert 'd_broken.mp4 cannot be read as a video' in output.out
    content = json.loads((out / 'results.json').read_text())
    done = [Path(result['image']).name for result in content['results']]
    assert done == ['c_good.jpg', 'i_good.jpg']
    failed = {Path(name).name: reason for name, reason in content['failed'].items()}
    assert [name[0] for name in failed] == list('abdefghj')
    assert '60000x60000' in failed['e_large.png']
    assert failed['h_memory.jpg'] == 'MemoryError too little memory'
    summary = output.err[output.err.index('failed: ') :]
    assert all(name in summary for name in list(failed)[:-1])


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


class OneClass(Predictor):
    """A segmentor of one class."""

    def __init__(self) -> None:
        self.info = {'classes': ('all',)}

    def run(self, images: Sequence[np.ndarray]) -> list:
        return [({'mask': np.zeros(image.shape[:2], int)}, None) for image in images]


def test_a_video_that_is_stopped_has_a_result_for_each_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Writer:
        """Not a subclass, of which OpenCV frees the memory wrongly."""

        def __init__(self, *arguments: object) -> None:
            self.writer, self.frames = real(*arguments), 0

        def __getattr__(self, name: str) -> object:
            return getattr(self.writer, name)

        def write(self, image: np.ndarray) -> None:
            self.writer.write(image)
            self.frames += 1
            if self.frames == 3:
                raise KeyboardInterrupt  # Python raises it after a call of OpenCV

    real = cv2.VideoWriter
    monkeypatch.setattr(cv2, 'VideoWriter', Writer)
    image, model = np.zeros((20, 30, 3), np.uint8), OneClass()
    frames = (
        Result(image, {'mask': image[..., 0]}, info=model.info, frame=i, rate=10.0)
        for i in range(9)
    )
    run = demo.Demo(model, tmp_path, score_thr=0.3)
    with pytest.raises(KeyboardInterrupt):
        run._video(next(frames), frames)
    (entry,) = run.results
    capture = cv2.VideoCapture(entry['drawn'])
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == len(entry['frames']) == 3


def test_drawings_and_masks_are_no_images_of_the_next_run(tmp_path: Path) -> None:
    for name in ('a.jpg', 'a.png', 'b_mask.png'):
        cv2.imwrite(str(tmp_path / name), np.zeros((20, 30, 3), np.uint8))
    for _ in range(2):
        sources = find_sources(str(tmp_path))
        assert [file.name for file in sources] == ['a.jpg', 'a.png', 'b_mask.png']
        demo.Demo(OneClass(), tmp_path, score_thr=0.3).run(sources)
    assert len([*tmp_path.iterdir()]) == 9


def test_an_exported_model(run_tool: Tool, tiny_data: Path, tmp_path: Path) -> None:
    pytest.importorskip('onnxruntime', reason='deployment is not installed')
    from exported_folders import write_folder

    model = write_folder(tmp_path / 'exported')
    pattern = tiny_data / 'images' / 'val' / '*0.jpg'
    assert run_tool('demo', model, pattern, '--out-dir', tmp_path / 'out') == 0
    content = json.loads((tmp_path / 'out' / 'results.json').read_text())
    assert content['classes'] == ['blue', 'green', 'red']
    assert content['results'] and not content['failed']
    assert all(len(entry['top5']) == 3 for entry in content['results'])


def test_images_are_read_before_and_written_after_in_other_threads(
    run_tool: Tool, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip('onnxruntime', reason='deployment is not installed')
    events: list[tuple[str, int]] = []
    third = threading.Event()

    def recorded(owner: object, name: str) -> None:
        real = getattr(owner, name)

        def call(*args: object) -> object:
            events.append((name, threading.get_ident()))
            names = [name for name, _ in events]
            if names.count('_read') > 2:
                third.set()
            if name == 'save':  # does not wait for it where it is read before
                assert third.wait(30)
            return real(*args)

        monkeypatch.setattr(owner, name, call)

    recorded(demo, '_read')
    recorded(ExportedModel, 'run')
    recorded(Result, 'save')
    from exported_folders import write_folder

    model = write_folder(tmp_path / 'exported')
    images = sorted((tiny_data / 'images' / 'val').glob('*.jpg'))
    assert run_tool('demo', model, *images, '--out-dir', tmp_path / 'out') == 0
    content = json.loads((tmp_path / 'out' / 'results.json').read_text())
    assert [r['image'] for r in content['results']] == list(map(str, images))
    threads = {name: {ident for n, ident in events if n == name} for name, _ in events}
    assert threads['run'] == {threading.get_ident()}
    assert len(set.union(*threads.values())) == 3


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
