"""The page in headless Chromium against the Python runner, on images without loss.

ONNXRUNTIME_WEB is the archive onnxruntime-web-VERSION.tgz of npm; the slow tests let
npm fetch it.
"""

import base64
import functools
import http.server
import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
import onnx
from exported_folders import write_folder
from onnx_graphs import GraphBuilder

from mnv2_mm.runtime.description import File
from mnv2_mm.runtime.model import ExportedModel
from mnv2_mm.runtime.web import page
from mnv2_mm.utils.errors import InputError

ROOT = Path(__file__).resolve().parents[3]
SHARED = ROOT.parent / 'shared'
ARCHIVE = os.environ.get('ONNXRUNTIME_WEB')
BROWSERS = ('chromium-headless-shell', 'chromium', 'google-chrome')
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
OFFICIAL = {
    'det': (
        'ssd_mnv2_openimages',
        'object_detection_ssd_mobilenetv2_oidv4_fp16.tflite',
    ),
    'seg': ('deeplabv3_mnv2_voc', 'deeplabv3_mnv2_pascal_quant.tflite'),
    'cls': ('mnv2_in1k', 'mobilenet_v2_1.0_224_quant.tflite'),
}
needs_archive = pytest.mark.skipif(not ARCHIVE, reason='ONNXRUNTIME_WEB is not set')
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason='Chromium is not installed')


class Handler(http.server.SimpleHTTPRequestHandler):
    def guess_type(self, path: str) -> str:
        mjs = path.endswith('.mjs')  # as nginx
        return 'application/octet-stream' if mjs else super().guess_type(path)

    def log_message(self, *_: object) -> None:
        pass


class Tab:
    """A page, open in the browser at the size of a phone."""

    def __init__(self, context: object, folder: Path) -> None:
        from playwright.sync_api import expect

        handler = functools.partial(Handler, directory=str(folder))
        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.page, self.errors, self._expect = context.new_page(), [], expect
        self.page.on('pageerror', lambda error: self.errors.append(str(error)))
        self.page.on('console', lambda message: self.errors.append(message.text))
        self.page.goto(f'http://localhost:{self.server.server_port}/')
        self.status('^(Ready|Error)')

    def status(self, pattern: str, place: str = '#status') -> str:
        shown = self.page.locator(place)
        self._expect(shown).to_have_text(re.compile(pattern), timeout=30_000)
        return shown.inner_text()

    def stop_server(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def found(self) -> dict:
        code = '({...mnv2.found, mask: mnv2.found.mask && Array.from(mnv2.found.mask)})'
        return self.page.evaluate(code)

    def predict(self, image: Path) -> dict:
        self.page.set_input_files('#file', image)
        self.status(f'^{re.escape(image.name)}')
        return self.found()


@pytest.fixture(scope='module')
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """Chromium whose camera shows the photo of ``browser.photo``."""
    sync_api = pytest.importorskip('playwright.sync_api')
    folder = tmp_path_factory.mktemp('browser')
    photos = sorted((SHARED / 'data/demo_photos').glob('two_dogs.jpg'))
    noise = np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8)
    photo = cv2.imread(str(photos[0])) if photos else noise
    photo = cv2.resize(photo, (640, 480), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(folder / 'photo.png'), photo)
    frame = cv2.cvtColor(photo, cv2.COLOR_BGR2YUV_I420).tobytes()
    video = folder / 'camera.y4m'
    video.write_bytes(b'YUV4MPEG2 W640 H480 F20:1 Ip C420jpeg\n' + b'FRAME\n' + frame)
    flags = ['--no-sandbox', '--use-fake-ui-for-media-stream']
    flags += ['--use-fake-device-for-media-stream']
    flags += [f'--use-file-for-fake-video-capture={video}']
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield SimpleNamespace(chromium=chromium, photo=folder / 'photo.png')
        chromium.close()


@pytest.fixture
def open_page(browser: SimpleNamespace) -> Iterator[Callable[[Path], Tab]]:
    contexts = []

    def get(folder: Path) -> Tab:
        size = {'width': 390, 'height': 844}
        contexts.append(browser.chromium.new_context(viewport=size))
        return Tab(contexts[-1], folder)

    yield get
    for context in contexts:
        context.close()


def same(found: dict, wanted: dict[str, np.ndarray]) -> None:
    """The agreement, printed: far closer than 0.5 px and 99.5 % of the pixels."""
    if 'boxes' in wanted:
        assert found['labels'] == wanted['labels'].tolist()
        pairs = [(found[key], wanted[key]) for key in ('boxes', 'scores')]
        gaps = [np.abs(np.array(a) - b).max() for a, b in pairs]
        print(
            f'{len(wanted["labels"])} boxes, {gaps[0]:.1e} px, {gaps[1]:.1e} in score'
        )
        np.testing.assert_allclose(found['boxes'], wanted['boxes'], atol=2e-3)
        np.testing.assert_allclose(found['scores'], wanted['scores'], atol=1e-5)
    elif 'mask' in wanted:
        equal = np.array(found['mask']) == wanted['mask'].ravel()
        print(f'{(~equal).sum()} of {equal.size} pixels differ')
        assert equal.mean() >= 0.9999
    else:
        probabilities = wanted['probabilities']
        gap = np.abs(np.array(found['probabilities']) - probabilities).max()
        print(f'{gap:.1e} in probability')
        np.testing.assert_allclose(found['probabilities'], probabilities, atol=1e-5)


def folder_of(place: Path, task: str, preprocessing: dict) -> Path:
    """A network that returns its input, as classes or logits, or two boxes."""
    builder, shape = GraphBuilder(1, 3, 16, 16), [1, 3, 16, 16]
    info: dict = dict(task=task, input=dict(name='x', shape=shape))
    if task == 'det':
        boxes = [[[1, 2, 9, 8, 0.75], [3, 1, 12.5, 11, 0.5], [0, 0, 0, 0, 0]]]
        constants = (np.float32(boxes), np.array([[2, 0, -1]]))
        for name, constant in zip(('dets', 'labels'), constants, strict=True):
            builder.add('Identity', builder.constant(constant))
            builder.nodes[-1].output[0] = name
        columns = ['x0', 'y0', 'x1', 'y1', 'score']
        first = dict(name='dets', columns=columns, box_unit='input_pixel')
        info['outputs'] = [first, dict(name='labels', first_label=0)]
    elif task == 'seg':
        info['outputs'] = [dict(name=builder.add('Identity', 'x'))]
        info['ending'] = dict(resize=False, argmax=False, align_corners=False)
    else:
        info['outputs'] = [dict(name=builder.add('Flatten', 'x'))]
        info['classes'] = [f'c{i}' for i in range(np.prod(shape))]
        info['palette'] = [(0, 0, 0)] * len(info['classes'])
    folder = write_folder(place, **info)
    names = [output['name'] for output in info['outputs']]
    onnx.save(builder.model(*names), folder / 'a.onnx')
    text = json.loads((folder / 'model.json').read_text())
    text['files'] = [File.of(folder / 'a.onnx').model_dump()]
    text['preprocessing'] |= preprocessing
    (folder / 'model.json').write_text(json.dumps(text))
    return folder


def resized(do: str = 'resize', **keys: object) -> dict:
    return dict(do=do, interpolation='bilinear', **keys)


STEPS = {
    'stretch': dict(steps=[resized(size=[16, 16])], color_order='RGB'),
    'keep_ratio': dict(
        steps=[resized(size=[16, 16], keep_ratio=True)],
        pad_to=[16, 16],
        pad_value=0.25,
        mean=[10.0, 20.0, 30.0],
    ),
    'crops': dict(
        steps=[
            dict(do='crop_share', share=0.875),
            resized('resize_short', side=14),
            dict(do='crop_middle', size=[13, 13]),
        ],
        pad_multiple=16,
    ),
}


@needs_archive
@needs_chromium
@pytest.mark.parametrize(
    ('task', 'steps'), [('det', 'keep_ratio'), ('seg', 'keep_ratio'), ('cls', 'crops')]
)
def test_it_predicts_as_the_python_runner(
    open_page: Callable, tmp_path: Path, task: str, steps: str
) -> None:
    folder = folder_of(tmp_path / 'model', task, STEPS[steps])
    page.write_page(folder, tmp_path / 'page', archive=ARCHIVE)
    tab, model = open_page(tmp_path / 'page'), ExportedModel(folder)
    random = np.random.default_rng(1)
    for size in [(30, 40), (61, 47), (16, 16)]:  # odd, portrait, of the network
        image = random.integers(0, 255, (*size, 3), np.uint8)
        path = tmp_path / f'{size[0]}.png'
        cv2.imwrite(str(path), image)
        same(tab.predict(path), model(image))
    assert not tab.errors


@needs_archive
@needs_chromium
def test_camera_files_and_no_network(
    open_page: Callable, browser: SimpleNamespace, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / 'model', 'det', STEPS['stretch'])
    page.write_page(folder, tmp_path / 'page', archive=ARCHIVE)
    tab = open_page(tmp_path / 'page')
    tab.stop_server()
    tab.page.reload()
    tab.status('^Ready')
    tab.page.click('#camera')
    assert 'frames per second' in tab.status('second', '#speed')
    assert 'runtime 14.2 MB' in tab.status('model .* MB', '#sizes')
    wanted = ExportedModel(folder)(cv2.imread(str(browser.photo)))
    same(tab.found(), wanted)
    tab.page.evaluate(
        "document.getElementById('video').srcObject.getTracks()[0]"
        ".dispatchEvent(new Event('ended'))"
    )
    tab.status('stopped')
    tab.status('^Camera$', '#camera')
    text = tmp_path / 'notes.png'
    text.write_text('no image')
    tab.page.set_input_files('#file', text)
    assert 'notes.png' in tab.status('no image')
    tab.page.evaluate(
        '() => { navigator.mediaDevices.getUserMedia = '
        "() => Promise.reject(new DOMException('', 'NotReadableError')); }"
    )
    tab.page.click('#camera')
    tab.status('NotReadableError')
    tab.page.evaluate("Object.defineProperty(navigator, 'mediaDevices', {value: null})")
    tab.page.click('#camera')
    assert 'python -m http.server' in tab.status('https')


@needs_archive
@needs_chromium
@pytest.mark.parametrize('damage', ['model', 'schema'])
def test_a_damaged_folder_is_named(
    open_page: Callable, tmp_path: Path, damage: str
) -> None:
    folder = folder_of(tmp_path / 'model', 'cls', STEPS['stretch'])
    out = tmp_path / 'page'
    page.write_page(folder, out, archive=ARCHIVE)
    if damage == 'model':
        data = bytearray((out / 'a.onnx').read_bytes())
        data[-1] ^= 1
        (out / 'a.onnx').write_bytes(data)
    else:
        text = json.loads((out / 'model.json').read_text())
        text['preprocessing']['std'][0] = 0
        (out / 'model.json').write_text(json.dumps(text))
    named = {'model': 'a.onnx', 'schema': '"std"'}[damage]
    assert named in open_page(out).status('^Error')


@pytest.mark.slow
@needs_chromium
@pytest.mark.skipif(not shutil.which('npm'), reason='npm is not installed')
@pytest.mark.skipif(not SHARED.is_dir(), reason='needs the files of ../shared')
@pytest.mark.parametrize('task', OFFICIAL)
def test_googles_networks(
    open_page: Callable,
    browser: SimpleNamespace,
    run_tool: Callable,
    tmp_path: Path,
    task: str,
) -> None:
    """Exported with --target web; photo and camera."""
    pytest.importorskip('mmdeploy', reason='deployment is not installed')
    from mnv2_mm.checkpoints.convert import convert, save
    from mnv2_mm.utils.config import get_config

    config, file = OFFICIAL[task]
    cfg = get_config(f'official/{config}').copy()
    save(convert(SHARED / 'weights' / file, cfg)[0], tmp_path / 'w.pth')
    deploy = f'{task}_onnxruntime_static{"_513" if task == "seg" else ""}'
    arguments = deploy, f'official/{config}', tmp_path / 'w.pth', browser.photo
    archive = ['--onnxruntime-web', ARCHIVE] if ARCHIVE else []
    flags = '--work-dir', tmp_path / 'page', '--target', 'web', *archive
    assert run_tool('export', *arguments, *flags) == 0
    tab, model = open_page(tmp_path / 'page'), ExportedModel(tmp_path / 'page')
    wanted = model(cv2.imread(str(browser.photo)))
    same(tab.predict(browser.photo), wanted)
    tab.page.click('#camera')
    tab.status('second', '#speed')
    seen = tab.page.evaluate("mnv2.frame.toDataURL('image/png').split(',')[1]")
    frame = np.frombuffer(base64.b64decode(seen), np.uint8)
    same(tab.found(), model(cv2.imdecode(frame, cv2.IMREAD_COLOR)))
    assert not tab.errors


@pytest.mark.parametrize(
    'mistake', ['backend', 'step', 'ending', 'nms', 'archive', 'npm']
)
def test_mistakes_are_named_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_tool: Callable, mistake: str
) -> None:
    task = {'ending': 'seg', 'nms': 'det'}.get(mistake, 'cls')
    folder = folder_of(tmp_path / 'model', task, STEPS['stretch'])
    text = json.loads((folder / 'model.json').read_text())
    archive = tmp_path / 'other.tgz'
    archive.write_bytes(b'other')
    if mistake == 'backend':
        text['backend'] = 'openvino'
    elif mistake == 'step':
        text['preprocessing']['steps'][0]['interpolation'] = 'area'
    elif mistake == 'ending':
        text['ending']['resize'] = True
    elif mistake == 'nms':
        limits = dict(score_thr=0.1, nms_iou=0.5, max_per_img=9)
        text['thresholds'] = dict(in_graph=False, **limits)
    (folder / 'model.json').write_text(json.dumps(text))
    if mistake in ('step', 'ending', 'nms'):
        monkeypatch.setattr(page, 'runtime_files', lambda archive: {})
    if mistake == 'npm':
        monkeypatch.setenv('PATH', str(tmp_path))
    out = tmp_path / 'out/page'
    with pytest.raises(InputError) as error:
        page.write_page(folder, out, archive=None if mistake == 'npm' else archive)
    named = dict(backend='openvino', step='area', ending='resize', nms='with_nms')
    named |= dict(archive='other.tgz')
    assert named.get(mistake, '--onnxruntime-web') in str(error.value)
    assert not out.exists()
    if mistake == 'backend':
        assert run_tool('export_web', folder, '--out', out) == 2
