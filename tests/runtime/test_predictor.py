"""What can be predicted for, and what results hold; no network of PyTorch."""

import http.server
import json
import pickle
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mnv2_mm.api import load
from mnv2_mm.runtime.predictor import Predictor
from mnv2_mm.runtime.result import Result
from mnv2_mm.runtime.sources import find_sources
from mnv2_mm.utils.errors import InputError

RGB = np.zeros((20, 30, 3), np.uint8) + np.array([200, 100, 50], np.uint8)
BGR = RGB[..., ::-1]


class Mean(Predictor):
    """The mean of each channel as the probability of a class."""

    def __init__(self) -> None:
        self.info = {'classes': ('blue', 'green', 'red')}
        self.sizes: list[int] = []

    def run(self, images: Sequence[np.ndarray]) -> list:
        self.sizes.append(len(images))
        means = [image.mean((0, 1)) / 255 for image in images]
        return [({'probabilities': mean}, lambda: 'sample') for mean in means]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / 'photos'
    folder.mkdir()
    for name in ('b.png', 'a.jpg', 'a.png'):
        cv2.imwrite(str(folder / name), BGR)
    (folder / 'notes.txt').write_text('no image')
    return folder


def video(path: Path, frames: int) -> Path:
    code = cv2.VideoWriter_fourcc(*'MJPG')
    writer = cv2.VideoWriter(str(path), code, 10.0, (30, 20))
    for _ in range(frames):
        writer.write(np.ascontiguousarray(BGR))
    writer.release()
    return path


def test_each_source_gives_the_same_pixels(photos: Path) -> None:
    file = photos / 'b.png'
    gray = np.full((20, 30), 7, np.uint8)
    four = np.dstack([BGR, gray])
    model = Mean()
    sources = [file, str(file), str(photos / 'b*'), Image.open(file), BGR, four]
    sources += [Image.fromarray(RGB), [file, [BGR]]]
    results = list(model.predict(sources))
    assert len(results) == 9
    for result in results:
        np.testing.assert_allclose(result.probs * 255, [50, 100, 200])
        np.testing.assert_array_equal(result.image, BGR)
    assert len({result.name for result in results}) == 9
    (result,) = model.predict(gray)
    np.testing.assert_allclose(result.probs * 255, 7)


def test_a_folder_in_order_and_in_batches(photos: Path, tmp_path: Path) -> None:
    model = Mean()
    results = list(model.predict(photos, batch_size=2))
    assert [Path(r.source).name for r in results] == ['a.jpg', 'a.png', 'b.png']
    assert model.sizes == [2, 1]
    written = {result.save(tmp_path / 'out') for result in results}
    assert len(written) == 3  # two of them have one stem
    assert all(cv2.imread(str(path)) is not None for path in written)
    assert results[0].sample == 'sample'


def test_frames_of_a_video(tmp_path: Path) -> None:
    results = list(Mean().predict(video(tmp_path / 'a.avi', 3), batch_size=2))
    assert [(r.frame, r.frames, r.rate) for r in results] == [
        (number, 3, 10.0) for number in range(3)
    ]
    assert results[1].save(tmp_path / 'out').name == 'a_000001.jpg'


def test_addresses(photos: Path) -> None:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(photos))

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = f'http://127.0.0.1:{server.server_port}'
        (result,) = Mean().predict(f'{place}/b.png?size=1')
        assert result.name == 'b'
        assert list(Mean().predict(f'{place}/b.png'.replace('http', 'HTTP')))
        np.testing.assert_array_equal(result.image, BGR)
        with pytest.raises(InputError, match='404'):
            list(Mean().predict(f'{place}/none.png'))
        with pytest.raises(InputError, match='not an image'):
            list(Mean().predict(f'{place}/'))
        server.shutdown()
    with pytest.raises(InputError, match=r'none\.png could not be downloaded'):
        list(Mean().predict(f'{place}/none.png'))
    with pytest.raises(InputError, match='http://'):
        list(Mean().predict('file:///etc/passwd'))


@pytest.mark.parametrize(
    ('source', 'named'),
    [
        (None, 'NoneType'),
        (3.5, 'float'),
        (b'a.jpg', 'bytes'),
        (True, 'bool'),
        ({'a.jpg': 1}, 'dict'),
        (['a.jpg', None], 'a.jpg'),
        ('none/*.jpg', 'none/'),
        ('', 'empty'),
        ('http://[bad', 'no address'),
        ('.', 'no image or video'),
    ],
)
def test_wrong_sources_are_refused_at_once(
    source: object, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=named):
        Mean().predict(source)


def test_wrong_images_and_values(tmp_path: Path) -> None:
    model = Mean()
    (tmp_path / 'a.jpg').write_bytes(b'no image')
    (tmp_path / 'a.mp4').write_bytes(b'no video')
    cut = tmp_path / 'cut.png'
    cv2.imwrite(str(cut), np.random.default_rng(0).integers(0, 255, (99, 99, 3)))
    cut.write_bytes(cut.read_bytes()[:9000])
    for source, named in (
        (tmp_path / 'a.jpg', r'a\.jpg'),
        (tmp_path / 'a.mp4', r'a\.mp4'),
        (Image.open(cut), 'Pillow'),
        (RGB / 255, 'float64'),
        (RGB[None], 'shape'),
        (RGB[:0], 'pixels'),
        (np.zeros((1, 5000, 3), np.uint8), '5000x1'),
    ):
        with pytest.raises(InputError, match=named):
            list(model.predict(source))
    assert list(model.predict(BGR, threshold=np.float32(0.3), batch_size=np.int64(2)))
    for wrong in ({'batch_size': 0}, {'threshold': 30}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            model.predict(BGR, **wrong)


def result(**found: np.ndarray) -> Result:
    palette = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    info = {'classes': ('cat', 'dog', 'fox'), 'palette': palette}
    return Result(np.ascontiguousarray(BGR), found, info=info, threshold=0.3)


def test_boxes_are_filtered_and_sorted() -> None:
    boxes = np.arange(12, dtype=np.float32).reshape(3, 4)
    scores = np.float32([0.5, 0.1, 0.9])
    found = result(boxes=boxes, scores=scores, labels=np.array([0, 1, 9]))
    np.testing.assert_array_equal(found.boxes, boxes[[2, 0]])
    assert found.labels.tolist() == [9, 0]
    assert found.masks is None and found.probs is None
    content = json.loads(found.to_json())
    assert content['classes'] == ['class 9', 'cat']
    assert content['scores'] == [0.9, 0.5]
    assert content['size'] == [20, 30]
    assert str(found).startswith('2 boxes: class 9 0.90')


def test_masks_and_classes() -> None:
    mask = np.zeros((20, 30), np.int64)
    mask[:5] = 2
    found = result(mask=mask)
    assert found.boxes is None and found.to_dict() == {
        'pixel_shares': {'cat': 0.75, 'fox': 0.25}
    }
    assert 'cat 75%' in str(found)
    drawn = found.plot()
    assert drawn.dtype == np.uint8 and (drawn != drawn[0, 0]).any()
    best = result(probabilities=np.float32([0.2, 0.7, 0.1])).to_dict()['top5']
    assert [entry['class'] for entry in best] == ['dog', 'cat', 'fox']


def test_no_image_is_replaced_by_its_drawing(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {file: file.read_bytes() for file in photos.iterdir()}
    link = tmp_path / 'link'
    link.symlink_to(photos)
    monkeypatch.chdir(photos)
    for source, folder in (('.', '.'), (photos, link), (['a.png', 'a.jpg'], photos)):
        for result in Mean().predict(source):
            assert result.save(folder).name.startswith(f'{result.name}_drawn')
    drawn = {file for file in photos.iterdir() if file not in before}
    (photos / 'z_drawn.png').write_bytes((photos / 'a.png').read_bytes())
    for _ in range(2):  # earlier drawings are no images, and are replaced
        results = list(Mean().predict(photos))
        assert [result.name for result in results] == ['a', 'a_2', 'b', 'z_drawn']
        drawn |= {result.save(photos) for result in results}
    assert {*photos.iterdir()} == {*before, *drawn, photos / 'z_drawn.png'}
    assert all(file.read_bytes() == content for file, content in before.items())
    (result,) = Mean().predict('a.jpg')
    with pytest.raises(InputError, match='is the image itself'):
        result.save(photos / 'a.jpg')
    assert result.save(f'{tmp_path}/v1.2/') == tmp_path / 'v1.2' / 'a.jpg'


def test_images_before_a_bad_one_are_given(photos: Path) -> None:
    (photos / 'bad.jpg').write_text('no image')
    found = Mean().predict([photos / 'a.jpg', photos / 'bad.jpg'], batch_size=2)
    assert next(found).name == 'a'
    with pytest.raises(InputError, match='bad'):
        next(found)


def test_a_copy_of_a_result_has_all_but_the_sample(photos: Path) -> None:
    first, second = Mean().predict([photos / 'a.jpg'] * 2)
    assert first.sample == 'sample'
    for result, sample in ((first, 'sample'), (second, None)):
        copied = pickle.loads(pickle.dumps(result))
        assert copied.to_json() == result.to_json()
        assert copied.sample == sample
    assert second.sample == 'sample'


@pytest.mark.parametrize('name', ['~nobody', '文' * 83])
def test_unusual_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / f'{name}.png').write_bytes(cv2.imencode('.png', BGR)[1])
    (result,) = Mean().predict(f'{name}.png')
    assert result.save('out').is_file()


def test_deep_images_of_pillow_are_read_as_from_a_file(tmp_path: Path) -> None:
    deep = np.arange(600, dtype=np.uint16).reshape(20, 30) * 100
    cv2.imwrite(str(tmp_path / 'deep.png'), deep)
    with Image.open(tmp_path / 'deep.png') as image:
        given = [image, Image.fromarray(deep.astype(np.int32)), tmp_path / 'deep.png']
        found = [result.image for result in Mean().predict(given)]
    assert all(np.array_equal(pixels, found[-1]) for pixels in found)
    assert found[0].max() == deep.max() // 256
    with pytest.raises(InputError, match='up to 1000'):
        list(Mean().predict(Image.fromarray(np.full((9, 9), 1000, np.float32))))


def test_an_exported_model_is_loaded_without_torch(tmp_path: Path) -> None:
    pytest.importorskip('onnxruntime', reason='deployment is not installed')
    from exported_folders import write_folder

    folder = write_folder(tmp_path / 'exported')
    cv2.imwrite(str(tmp_path / 'a.png'), BGR)
    code = (
        'import sys; sys.modules.update(torch=None, mmengine=None)\n'
        'import mnv2_mm\n'
        'model, image = sys.argv[1:]\n'
        '(result,) = mnv2_mm.load(model).predict(image)\n'
        'print(result, result.plot().shape[2], result.sample)'
    )
    done = subprocess.run(
        [sys.executable, '-c', code, folder, tmp_path / 'a.png'],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == 'red 0.78, green 0.39, blue 0.20 3 None\n'
    with pytest.raises(InputError, match='device'):
        load(folder, device='cuda:0')


def test_a_pattern_and_a_folder_hold_what_a_file_may_be(photos: Path) -> None:
    Image.fromarray(RGB).save(photos / 'c.gif')
    for source in (photos / 'c.gif', photos / '*.gif', photos):
        assert find_sources(str(source))[-1] == photos / 'c.gif'


def test_files_of_macos_are_no_images(photos: Path) -> None:
    (photos / '._a.png').write_bytes(b'of macOS')
    names = [Path(result.source).name for result in Mean().predict(photos)]
    assert names == ['a.jpg', 'a.png', 'b.png']


def test_a_file_that_is_named_as_a_drawing_of_nothing(photos: Path) -> None:
    (photos / '_drawn.png').write_bytes((photos / 'a.png').read_bytes())
    assert '_drawn' in [result.name for result in Mean().predict(photos)]
