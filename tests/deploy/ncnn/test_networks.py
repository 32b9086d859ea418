"""Whole networks in ncnn give PyTorch's answers.

With Google's trained weights and real photos where they are at hand; a small
detector with random weights everywhere.
"""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip('onnx')
pytest.importorskip('ncnn')
pytest.importorskip('mmdeploy', reason='deployment is not installed')
pytest.importorskip('mmdet.models')
pytest.importorskip('mmseg.models')
pytest.importorskip('mmpretrain.models')

from ncnn_export import export, export_detection
from torch import nn
from torch.nn.functional import interpolate

from mnv2_mm.api import init_model, predict
from mnv2_mm.checkpoints.convert import convert, save
from mnv2_mm.deploy.ncnn.detection import detections
from mnv2_mm.deploy.ncnn.write import write
from mnv2_mm.engine.predictor import prepare
from mnv2_mm.runtime.ncnn import Ncnn
from mnv2_mm.utils.config import get_config
from mnv2_mm.utils.errors import InputError

SHARED = Path(__file__).resolve().parents[4] / 'shared'
PHOTOS = sorted((SHARED / 'data/demo_photos').glob('*.jpg'))
FILES = {
    'official/mnv2_in1k': 'mobilenet_v2_1.0_224_quant',
    'official/deeplabv3_mnv2_voc': 'deeplabv3_mnv2_pascal_quant',
    'official/ssdlite_mnv2_objects': 'mobile_object_localizer_v1_1_default_1',
}


@pytest.fixture(scope='module')
def official(tmp_path_factory):
    """Build a network of configs/official with Google's weights."""

    def build(config):
        pytest.importorskip('tflite')
        file = SHARED / 'weights' / f'{FILES[config]}.tflite'
        if not (file.is_file() and PHOTOS):
            pytest.skip('needs the trained files and the photos of ../shared')
        path = tmp_path_factory.mktemp('weights') / 'a.pth'
        save(convert(file, get_config(config))[0], path)
        return init_model(config, path)

    return build


class Classes(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x).softmax(1)


class Mask(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        logits = interpolate(
            self.model(x), x.shape[2:], mode='bilinear', align_corners=True
        )
        return logits.argmax(1)


def network_input(model, bgr):
    """(1, 3, H, W), through the config's test pipeline."""
    data = prepare(model, bgr)
    batch = {key: [value] for key, value in data.items()}
    return model.data_preprocessor(batch)['inputs']


def built(graph, folder, **options):
    paths = folder / 'a.param', folder / 'a.bin'
    write(graph, *paths, **options)
    return Ncnn(paths)


def size_of(folder):
    return os.path.getsize(folder / 'a.bin')


@pytest.mark.slow
def test_classification(official, tmp_path):
    """Probabilities within 1e-5; float16 weights take half the space."""
    model = official('official/mnv2_in1k')
    whole = Classes(model).eval()
    graph = export(whole, torch.zeros(1, 3, 224, 224), 'image', 'scores')
    inputs = [network_input(model, cv2.imread(str(p))) for p in PHOTOS[::2]]
    with torch.no_grad():
        wanted = [whole(x).numpy() for x in inputs]
    found, size = {}, {}
    for precision in ('fp32', 'fp16', 'int8'):
        runner = built(
            graph,
            tmp_path,
            precision=precision,
            calibration=[x.numpy() for x in inputs],
        )
        found[precision] = [runner.run(x.numpy())['scores'] for x in inputs]
        size[precision] = size_of(tmp_path)
    for mine, theirs in zip(found['fp32'], wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
    for mine, theirs in zip(found['fp16'], wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=0.01)
    same = [
        mine.argmax() == theirs.argmax()
        for mine, theirs in zip(found['int8'], wanted, strict=True)
    ]
    assert np.mean(same) >= 0.8
    assert size['fp16'] < 0.52 * size['fp32']
    assert size['int8'] < 0.29 * size['fp32']


@pytest.mark.slow
def test_segmentation(official, tmp_path):
    """At most 20 of 513x513 pixels differ; the argmax is in the graph."""
    model = official('official/deeplabv3_mnv2_voc')
    whole = Mask(model).eval()
    graph = export(whole, torch.zeros(1, 3, 513, 513), 'image', 'mask')
    runner = built(graph, tmp_path)
    for path in PHOTOS[::3]:
        x = network_input(model, cv2.imread(str(path)))
        with torch.no_grad():
            wanted = whole(x).numpy()
        found = runner.run(x.numpy())['mask']
        assert found.shape == wanted.shape
        assert (found != wanted).sum() <= 20
        assert len(np.unique(wanted)) > 1


def assert_matched(rows, instances, shape, least=0.05):
    """Every detection over ``least`` has its own in the other list."""
    height, width = shape
    boxes = rows[:, 2:] * np.array([width, height] * 2, np.float32)
    keep = instances.scores.numpy() > least
    free = set(range(len(rows)))
    for box, score, label in zip(
        instances.bboxes.numpy()[keep],
        instances.scores.numpy()[keep],
        instances.labels.numpy()[keep],
        strict=True,
    ):
        match = [
            i
            for i in free
            if rows[i, 0] == label + 1
            and abs(rows[i, 1] - score) <= 1e-4
            and np.abs(boxes[i] - box).max() <= 0.01
        ]
        assert match, f'class {label}, score {score}, {box}'
        free.remove(match[0])
    extra = sum(rows[i, 1] > least + 1e-4 for i in free)
    assert extra == 0
    return int(keep.sum())


def test_detection(official, tmp_path):
    """Every detection over 0.05: box within 0.01 px, score within 1e-4."""
    model = official('official/ssdlite_mnv2_objects')
    runner = built(export_detection(model), tmp_path)
    total = 0
    for path in PHOTOS[::2]:
        bgr = cv2.imread(str(path))
        x = network_input(model, bgr)
        (rows,) = runner.run(x.numpy())['detections']
        instances = predict(model, bgr).pred_instances
        total += assert_matched(rows, instances, bgr.shape[:2])
    assert total >= 100


# ------------------------------------------------------- with random weights
HEADS = {
    'sigmoid': dict(),
    'sigmoid alone': dict(background_slot=False),
    'softmax': dict(loss='softmax'),
}


@pytest.fixture
def small(tiny_config, tmp_path):
    """A detector of random weights whose detections spread."""

    def build(options, test_cfg=None):
        cfg = get_config(tiny_config('det')).copy()
        cfg.model.bbox_head.update(options)
        cfg.model.test_cfg.update(test_cfg or dict(score_thr=0.01))
        torch.manual_seed(3)
        model = init_model(cfg)
        for convs in (model.bbox_head.cls_convs, model.bbox_head.reg_convs):
            for conv in convs:
                # logits and codes of about 2
                std = 3 / conv[-1].in_channels ** 0.5
                nn.init.normal_(conv[-1].weight, std=std)
        calibrate_batch_norm(model)
        return model

    return build


def calibrate_batch_norm(model):
    """Statistics of a few images, so that values keep their size."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
    model.train()
    with torch.no_grad():
        for _ in range(2):
            model(torch.randn(4, 3, 128, 128))
    model.eval()


def assert_like_predict(model, folder, seed=0):
    random = np.random.default_rng(seed)
    bgr = random.integers(0, 256, (128, 128, 3)).astype(np.uint8)
    runner = built(export_detection(model), folder)
    x = network_input(model, bgr)
    (rows,) = runner.run(x.numpy())['detections']
    with torch.no_grad():
        instances = predict(model, bgr).pred_instances
    return assert_matched(rows, instances, (128, 128)), rows


@pytest.mark.parametrize(
    'kind',
    [
        # the tests below have this head
        pytest.param('sigmoid', marks=pytest.mark.slow),
        pytest.param('sigmoid alone', marks=pytest.mark.slow),
        'softmax',
    ],
)
def test_every_kind_of_head(small, kind, tmp_path):
    model = small(HEADS[kind])
    count, _ = assert_like_predict(model, tmp_path)
    assert count >= 20


def test_a_sure_background_does_not_spoil_boxes(small, tmp_path):
    """Where the background's sigmoid is 1, ncnn would leave a box undecoded
    and still report it."""
    model = small({})
    slots = model.bbox_head.cls_out_channels
    for conv in model.bbox_head.cls_convs:
        conv[-1].bias.data.reshape(-1, slots)[:, -1] = 50
    count, _ = assert_like_predict(model, tmp_path)
    assert count >= 20


@pytest.mark.slow
def test_boxes_without_an_area_are_dropped(small, tmp_path):
    """Boxes far outside the image, which clipping leaves as lines."""
    model = small({}, dict(score_thr=0.01, min_bbox_size=0))
    for conv in model.bbox_head.reg_convs:
        conv[-1].bias.data.reshape(-1, 4)[:, 0] += 40
    _, rows = assert_like_predict(model, tmp_path)
    assert ((rows[:, 4] > rows[:, 2]) & (rows[:, 5] > rows[:, 3])).all()


@pytest.mark.slow
def test_sides_grow_to_a_limit(small, tmp_path):
    """A code of 40 for the width would be 9 million times a default box."""
    model = small({}, dict(score_thr=0.01, nms=dict(iou_threshold=0.99)))
    for conv in model.bbox_head.reg_convs:
        conv[-1].bias.data.reshape(-1, 4)[:, 0] -= 300
        conv[-1].bias.data.reshape(-1, 4)[:, 2] += 80
    _, rows = assert_like_predict(model, tmp_path)
    # 30 widths to the left, and half of 62 to the right of that
    assert (rows[:, 4] < 1).any()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda m: m.bbox_head.test_cfg.nms.update(type='soft_nms'), 'soft_'),
        (
            lambda m: m.bbox_head.test_cfg.nms.update(class_agnostic=True),
            'class_agnostic=True',
        ),
        (lambda m: m.bbox_head.test_cfg.update(max_per_img=-1), 'max_per_img is -1'),
        (
            lambda m: setattr(m.bbox_head.bbox_coder, 'clip_border', False),
            'clip_border=False',
        ),
    ],
)
def test_settings_that_ncnn_has_not(small, change, message):
    model = small({})
    change(model)
    maps = model.bbox_head(model.extract_feat(torch.zeros(1, 3, 128, 128)))
    with pytest.raises(InputError, match=message):
        detections(model.bbox_head, *maps)
