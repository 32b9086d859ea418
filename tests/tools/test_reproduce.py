"""tools/reproduce.py: accuracies of known sets, resuming, and wrong arguments."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import slim_variables
import torch
from graph_writer import frozen
from other_networks import torchvision_net

pytest.importorskip('google.protobuf')
pytest.importorskip('mmdet.models')
pytest.importorskip('mmseg.models')
pytest.importorskip('mmpretrain.models')

from mmdet.datasets import CocoDataset

from mnv2_mm.api import load
from mnv2_mm.commands import reproduce as command
from mnv2_mm.utils.files import write_json

Tool = Callable[..., int]
SHARED = Path(__file__).resolve().parents[3] / 'shared'
FLAGS = ('--workers', 0)
ROW, WIDER = 'mobilenet_v2_w035_r096', 'mobilenet_v2_w050_r096'
trained_files = pytest.mark.skipif(
    not (SHARED / 'weights').is_dir(), reason='needs the trained files of ../shared'
)


@pytest.fixture(scope='module')
def photos() -> list[np.ndarray]:
    """Blurred noise of several sizes."""
    rng = np.random.default_rng(0)
    sizes = [(60 + 7 * i, 90 - 5 * i, 3) for i in range(6)]
    noise = [rng.integers(0, 256, size, np.uint8) for size in sizes]
    return [cv2.GaussianBlur(image, (9, 9), 3) for image in noise]


def graph(path: Path, variables: dict) -> Path:
    path.write_bytes(frozen(variables))
    return path


@pytest.fixture(scope='module')
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('weights')
    return graph(folder / 'frozen.pb', slim_variables.classifier(0.35))


@pytest.fixture(scope='module')
def imagenet(
    classifier: Path, photos: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Six images; the labels of four are what the network says."""
    root = tmp_path_factory.mktemp('imagenet')
    for i, (image, result) in enumerate(
        # layer by layer, as the tool: the scores of random weights are nearly equal
        zip(photos, load(ROW, classifier, optimize=False).predict(photos), strict=True)
    ):
        label = (int(result.probs.argmax()) + (i in (1, 4))) % 1000
        path = root / f'val/{label}/{i}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), image)
    return root


def test_a_known_accuracy_once(
    run_tool: Tool,
    classifier: Path,
    imagenet: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flags = ['figure5', '--data', imagenet, '--weights', f'{ROW}={classifier}', *FLAGS]
    flags += ['--rows', ROW, '--opencv-resize', '--work-dir', tmp_path, '--host']
    out = ['--json', tmp_path / 'out.json', '--markdown', tmp_path / 'out.md']
    assert run_tool('reproduce', *flags, *out) == 0
    row, host = json.loads((tmp_path / 'out.json').read_text())
    assert row['measured'] == pytest.approx(400 / 6)
    assert row['publisher'] == 45.5 and row['paper'] is None
    assert row['difference'] == pytest.approx(row['measured'] - 45.5)
    assert row['interval'][0] < row['measured'] < row['interval'][1]
    assert row['images'] == 6 and 'too few images for a statement' in row['note']
    assert host['id'] == f'{ROW}_host' and 0 <= host['measured'] <= 100
    assert '66.67' in (tmp_path / 'out.md').read_text()

    def measured_again(*args: object) -> None:
        raise AssertionError('measured before')

    monkeypatch.setattr(command, 'measure', measured_again)
    assert run_tool('reproduce', *flags) == 0
    with pytest.raises(AssertionError, match='measured before'):
        run_tool('reproduce', *flags, '--limit', 3)


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--rows', WIDER, ROW], 'does not fit the network'),
        (['--rows', WIDER, '--interpreter'], 'pip install ai-edge-litert'),
    ],
)
def test_all_weights_are_checked_before_the_first_row(
    run_tool: Tool,
    imagenet: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    flags: list,
    message: str,
) -> None:
    monkeypatch.setattr(command, 'measure', None)
    monkeypatch.setitem(sys.modules, 'ai_edge_litert.interpreter', None)
    file = graph(tmp_path / 'graph.pb', slim_variables.classifier(0.5))
    weights = [f'{name}={file}' for name in flags if name.startswith('mobile')]
    flags = [*flags, '--data', imagenet, '--weights', *weights, *FLAGS]
    assert run_tool('reproduce', 'figure5', *flags, '--work-dir', tmp_path) == 2
    assert message in capsys.readouterr().err


@pytest.fixture
def coco(photos: list[np.ndarray], tmp_path: Path) -> Path:
    """Three images; one has no person."""
    root = tmp_path / 'coco'
    (root / 'val2017').mkdir(parents=True)
    rows, boxes = [], []
    for i, image in enumerate(photos[:3], 1):
        height, width = image.shape[:2]
        cv2.imwrite(str(root / f'val2017/{i}.png'), image)
        rows.append(dict(id=i, file_name=f'{i}.png', width=width, height=height))
        box = dict(id=i, image_id=i, category_id=1 + (i == 3), iscrowd=0)
        boxes.append(box | dict(bbox=[5, 5, 30, 30], area=900))
    classes = CocoDataset.METAINFO['classes']
    names = [dict(id=i, name=name) for i, name in enumerate(classes, 1)]
    content = dict(images=rows, annotations=boxes, categories=names)
    write_json(root / 'annotations/instances_val2017.json', content)
    return root


def test_a_detector_of_one_class(
    run_tool: Tool, coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    file = graph(tmp_path / 'person.pb', slim_variables.detector(slots=2))
    flags = ['table6', '--data', coco, '--weights', file, *FLAGS]
    flags += ['--rows', 'ssdlite_mobilenet_v2', '--work-dir', tmp_path]
    assert run_tool('reproduce', *flags) == 2
    assert '--classes with 1 name' in capsys.readouterr().err
    assert run_tool('reproduce', *flags, '--classes', 'persn') == 2
    assert 'person' in capsys.readouterr().err
    assert run_tool('reproduce', *flags, '--classes', 'person') == 0
    row = json.loads((tmp_path / 'ssdlite_mobilenet_v2.json').read_text())
    assert row['images'] == 3 and 0 <= row['measured'] <= 100
    assert {'AP50', 'AP75'} <= row['more'].keys()
    boxes = json.loads((tmp_path / 'ssdlite_mobilenet_v2/boxes.bbox.json').read_text())
    assert {box['category_id'] for box in boxes} == {1}
    assert {box['image_id'] for box in boxes} == {1, 2, 3}


@pytest.mark.slow
@pytest.mark.parametrize(
    ('slots', 'flags', 'ids'),
    [
        pytest.param(91, [], range(1, 81), id='coco'),
        pytest.param(2, ['--classes', 'any'], [1], id='any'),
    ],
)
def test_detectors_of_other_classes(
    run_tool: Tool, coco: Path, tmp_path: Path, slots: int, flags: list, ids: list
) -> None:
    file = graph(tmp_path / 'graph.pb', slim_variables.detector(slots))
    flags += ['--rows', 'ssdlite_mobilenet_v2', '--work-dir', tmp_path, *FLAGS]
    assert (
        run_tool('reproduce', 'table6', '--data', coco, '--weights', file, *flags) == 0
    )
    boxes = json.loads((tmp_path / 'ssdlite_mobilenet_v2/boxes.bbox.json').read_text())
    assert {box['category_id'] for box in boxes} <= set(ids)


@pytest.mark.parametrize(
    'row',
    [
        'mobilenet_v2_os16',
        pytest.param('mobilenet_v2_os8_msflip', marks=pytest.mark.slow),
    ],
)
def test_a_segmentation(
    run_tool: Tool, photos: list[np.ndarray], tmp_path: Path, row: str
) -> None:
    """The mask of the second image has only class 3 and ignored pixels."""
    root = tmp_path / 'VOCdevkit/VOC2012'
    for sub in ('JPEGImages', 'SegmentationClass', 'ImageSets/Segmentation'):
        (root / sub).mkdir(parents=True)
    for name, image in zip('ab', photos, strict=False):
        cv2.imwrite(str(root / f'JPEGImages/{name}.jpg'), image)
        mask = np.full(image.shape[:2], 255 if name == 'b' else 0, np.uint8)
        mask[10:40, 10:40] = 3
        cv2.imwrite(str(root / f'SegmentationClass/{name}.png'), mask)
    (root / 'ImageSets/Segmentation/val.txt').write_text('a\nb\n')
    file = graph(tmp_path / 'deeplab.pb', slim_variables.segmentor())
    flags = ['table7', '--data', tmp_path, '--weights', file, '--rows', row, *FLAGS]
    assert run_tool('reproduce', *flags, '--work-dir', tmp_path) == 0
    found = json.loads((tmp_path / f'{row}.json').read_text())
    assert found['images'] == 2 and 'too few images' in found['note']
    # random weights predict classes that the truth lacks
    assert found['more']['classes with truth'] == 2 < found['more']['classes']
    share = found['more']['classes'] / 2
    both = found['more']['mIoU over them']
    assert found['measured'] * share == pytest.approx(both, abs=0.1)


@pytest.mark.parametrize(
    ('flags', 'named'),
    [
        (['table4', '--rows', 'mobilenet_v3'], ['mobilenet_v3', 'mobilenet_v2_w140']),
        (['table4', '--rows', 'nasnet*'], ['tools/train.py', 'nasnet_a_mobile.py']),
        (['table4', '--weights', 'mnv2_in1k=no.pb'], ['no.pb']),
        (['table4', '--weights', 'mnv2=FILE.pb'], ['mnv2=FILE.pb', 'mnv2_in1k']),
        (['table4', '--weights', 'FILE.pb'], ['NAME=', 'mnv2_in1k']),
        (['table4', '--weights', 'FOLDER'], ['mobilenet_v2_1.0_224.tgz']),
        (['table4', '--rows', 'mobilenet_v2'], ['mobilenet_v2_1.0_224.tgz', '--rows']),
        (['table4', '--limit', 0], ['--limit']),
        (['figure5', '--peers', 'FILE.pb'], ['table4']),
        (['table6'], ['instances_val2017.json']),
        (['agreement'], ['--weights']),
        (['agreement', '--weights', 'FILE.pb', '--rows', 'a'], ['--rows']),
        (['agreement', '--weights', 'a=FILE.pb'], ['a=FILE.pb', '--weights FILE.pb']),
    ],
)
def test_wrong_arguments_are_one_message(
    run_tool: Tool,
    classifier: Path,
    imagenet: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    flags: list,
    named: list[str],
) -> None:
    monkeypatch.setenv('MNV2_MM_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setenv('https_proxy', 'http://127.0.0.1:9')
    shutil.copy(classifier, tmp_path / 'FILE.pb')
    (tmp_path / 'FOLDER').mkdir()
    monkeypatch.chdir(tmp_path)
    if flags[0] == 'figure5':
        flags = [*flags, '--weights', f'{ROW}=FILE.pb', '--rows', ROW]
    assert run_tool('reproduce', *flags, '--data', imagenet) == 2
    message = capsys.readouterr().err
    assert all(word in message for word in named), message


@pytest.mark.slow
def test_weights_of_another_project(
    run_tool: Tool, imagenet: Path, tmp_path: Path
) -> None:
    torch.save(torchvision_net(1.0).state_dict(), tmp_path / 'peer.pth')
    file = graph(tmp_path / 'graph.pb', slim_variables.classifier())
    flags = ['table4', '--data', imagenet, '--rows', 'mobilenet_v2', '--weights', file]
    flags += ['--peers', tmp_path / 'peer.pth', '--json', tmp_path / 'out.json', *FLAGS]
    assert run_tool('reproduce', *flags, '--work-dir', tmp_path) == 0
    _, peer = json.loads((tmp_path / 'out.json').read_text())
    assert 'torchvision' in peer['row'] and peer['publisher'] is None
    assert 0 <= peer['measured'] <= 100


@pytest.mark.slow
@trained_files
def test_an_8_bit_file_beside_its_network(
    run_tool: Tool, imagenet: Path, tmp_path: Path
) -> None:
    """It is known by its digest, and compared with its own published figure."""
    pytest.importorskip('ai_edge_litert.interpreter')
    flags = ['table4', '--data', imagenet, '--rows', 'mobilenet_v2', '--interpreter']
    flags += ['--weights', SHARED / 'weights', '--json', tmp_path / 'out.json', *FLAGS]
    assert run_tool('reproduce', *flags, '--work-dir', tmp_path) == 0
    network, file = json.loads((tmp_path / 'out.json').read_text())
    assert network['publisher'] == file['publisher'] == 70.8
    assert 'mnv2_in1k_quant' in network['note'] and 'itself' in file['row']


@pytest.mark.slow
@trained_files
@pytest.mark.parametrize(
    ('file', 'least'),
    [
        ('mobilenet_v2_1.0_224_quant.tflite', 75),
        ('deeplabv3_mnv2_pascal_quant.tflite', 98),
        ('mobile_object_localizer_v1_1_default_1.tflite', 90),
        ('object_detection_ssd_mobilenetv2_oidv4_fp16.tflite', 100),
    ],
)
def test_files_agree_with_their_interpreter(
    run_tool: Tool, tmp_path: Path, file: str, least: float
) -> None:
    pytest.importorskip('ai_edge_litert.interpreter')
    flags = ['--data', SHARED / 'data/demo_photos', '--limit', 4]
    flags += ['--weights', SHARED / 'weights' / file, '--work-dir', tmp_path]
    assert (
        run_tool('reproduce', 'agreement', *flags, '--json', tmp_path / 'o.json') == 0
    )
    (found,) = json.loads((tmp_path / 'o.json').read_text())
    assert found['images'] == 4
    shares = [v for v in found.values() if isinstance(v, float)]
    assert min(shares[:1]) >= least
