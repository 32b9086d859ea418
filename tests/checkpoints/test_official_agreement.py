"""Google's trained files and this project's networks give the same answers.

The references are the 8-bit files themselves, run by ai-edge-litert; the
networks are built from configs/official with the converted weights. 8 bits
and floats differ, so agreement is counted over real photos, and a wrong
network must agree less.
"""

import functools
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip('tflite')
pytest.importorskip('ai_edge_litert.interpreter')
pytest.importorskip('mmdet.models')
pytest.importorskip('mmseg.models')
pytest.importorskip('mmpretrain.models')

from ai_edge_litert import interpreter as litert
from mmdet.structures.bbox import bbox_overlaps

from mnv2_mm.api import init_model, predict
from mnv2_mm.checkpoints.assign import check_anchors
from mnv2_mm.checkpoints.convert import convert, read_weights, save
from mnv2_mm.datasets.sample.scenes import make_scene
from mnv2_mm.utils.config import get_config

SHARED = Path(__file__).resolve().parents[3] / 'shared'
WEIGHTS = SHARED / 'weights'
PHOTOS = sorted((SHARED / 'data/demo_photos').glob('*.jpg'))
PETS = sorted((SHARED / 'data/pets_mini').glob('*/*/*.jpg'))
CLS = WEIGHTS / 'mobilenet_v2_1.0_224_quant.tflite'
SEG = WEIGHTS / 'deeplabv3_mnv2_pascal_quant.tflite'
DET = WEIGHTS / 'mobile_object_localizer_v1_1_default_1.tflite'
OID = WEIGHTS / 'object_detection_ssd_mobilenetv2_oidv4_fp16.tflite'

pytestmark = pytest.mark.skipif(
    not (CLS.is_file() and PHOTOS),
    reason='needs the trained files and the photos of ../shared',
)


#: Every photo for docs/model_zoo.md, every second one in the fast tests.
every_photo = pytest.mark.parametrize(
    'every', [2, pytest.param(1, marks=pytest.mark.slow)]
)


class Reference:
    """A TFLite file under its interpreter, with the tensors inside."""

    def __init__(self, path):
        kinds = litert.OpResolverType
        self.interpreter = litert.Interpreter(
            str(path),
            num_threads=1,
            experimental_op_resolver_type=(kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES),
            experimental_preserve_all_tensors=True,
        )
        self.interpreter.allocate_tensors()
        self.details = self.interpreter.get_tensor_details()

    def __call__(self, rgb):
        """Run on (H, W, 3), uint8 or what the file takes."""
        index = self.interpreter.get_input_details()[0]['index']
        self.interpreter.set_tensor(index, rgb[None])
        self.interpreter.invoke()
        return self

    def output(self, number=0):
        details = self.interpreter.get_output_details()[number]
        return self._floats(details['index'])

    def inside(self, start):
        """The map whose name begins so (biases are no maps)."""
        (found,) = (
            d
            for d in self.details
            if d['name'].startswith(start) and len(d['shape']) > 2
        )
        return self._floats(found['index'])

    def _floats(self, index):
        (details,) = (d for d in self.details if d['index'] == index)
        scale, zero = details['quantization']
        value = self.interpreter.get_tensor(index)[0]
        return (value.astype(np.float32) - zero) * (scale or 1)


def converted(folder, config, file, options=None):
    """A network with the weights of a file, through the converter."""
    cfg = get_config(config).copy()
    cfg.merge_from_dict(options or {})
    path = folder / f'{file.stem}.pth'
    save(convert(file, cfg)[0], path)
    return init_model(cfg, path)


def batch(model, bgr):
    """What the network gets for one image (H, W, 3) uint8."""
    inputs = torch.from_numpy(np.ascontiguousarray(bgr)).permute(2, 0, 1)
    data = {'inputs': [inputs]}
    if hasattr(model, 'decode_head'):
        data['data_samples'] = []
    return model.data_preprocessor(data)['inputs']


def central(path, size):
    """TF's evaluation: the middle 87.5 % of each side, resized."""
    image = cv2.imread(str(path))
    h, w = image.shape[:2]
    y, x = round(h * 0.0625), round(w * 0.0625)
    return cv2.resize(image[y : h - y, x : w - x], (size, size))


def correlation(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


def shown(what, value):
    """Print a figure for `pytest -rP`, where README has it from."""
    print(f'{what}: {value:.4f}')
    return value


# ----------------------------------------------------------- classification
@functools.cache
def answers(every):
    """Logits of the file for images of 224x224, background left out."""
    reference = Reference(CLS)
    # of the many photos of pets another half
    images = [central(path, 224) for path in PHOTOS[::every] + PETS[:: 8 * every**2]]
    found = []
    for image in images:
        run = reference(image[..., ::-1])
        logits = run.inside('MobilenetV2/Logits/Conv2d_1c_1x1/BiasAdd;')
        found.append((logits.reshape(-1)[1:], run.output()[1:].max()))
    logits, sure = zip(*found, strict=True)
    return images, np.stack(logits), np.array(sure)


def logits_of(model, images):
    with torch.no_grad():
        return np.stack([model(batch(model, p))[0].numpy() for p in images])


@every_photo
def test_classification(tmp_path, every):
    """The file and the network name the same class."""
    images, wanted, sure = answers(every)
    model = converted(tmp_path, 'official/mnv2_in1k', CLS)
    found = logits_of(model, images)
    same = (found.argmax(1) == wanted.argmax(1))[sure > 0.5]
    assert shown(f'same class of {same.size}', same.mean()) >= 0.96
    assert shown('logits', correlation(found, wanted)) >= 0.995


@pytest.mark.slow
@pytest.mark.parametrize(
    'wrong',
    [
        pytest.param({'model.backbone.padding': 'symmetric'}, id='padding'),
        pytest.param({'model.backbone.act_cfg': dict(type='ReLU')}, id='ReLU'),
        pytest.param({'model.data_preprocessor.to_rgb': False}, id='BGR'),
    ],
)
def test_a_wrong_classifier_is_told_apart(tmp_path, wrong):
    """What other MobileNetV2s do differently costs agreement."""
    images, wanted, sure = answers(1)
    bgr = 'model.data_preprocessor.to_rgb' in wrong
    if bgr:  # the network refuses these weights without RGB
        wrong, images = {}, [p[..., ::-1] for p in images]
    model = converted(tmp_path, 'official/mnv2_in1k', CLS, wrong)
    found = logits_of(model, images)
    same = (found.argmax(1) == wanted.argmax(1))[sure > 0.5]
    assert shown(f'same class of {same.size}', same.mean()) < 0.96
    assert shown('logits', correlation(found, wanted)) < 0.95


# ------------------------------------------------------------- segmentation
@pytest.fixture(scope='module')
def segmentor(tmp_path_factory):
    folder = tmp_path_factory.mktemp('seg')
    model = converted(folder, 'official/deeplabv3_mnv2_voc', SEG)
    return model, Reference(SEG)


@pytest.mark.parametrize(
    'path',
    [
        pytest.param(p, marks=pytest.mark.slow if i % 4 else (), id=p.stem)
        for i, p in enumerate(PHOTOS)
    ],
)
def test_segmentation_logits(segmentor, path):
    """Raw logits (33, 33, 21), before they are resized."""
    model, reference = segmentor
    bgr = cv2.resize(cv2.imread(str(path)), (513, 513))
    wanted = reference(bgr[..., ::-1]).inside('logits/semantic/BiasAdd')
    with torch.no_grad():
        found = model(batch(model, bgr))[0].permute(1, 2, 0).numpy()
    assert found.shape == wanted.shape == (33, 33, 21)
    assert shown('logits', correlation(found, wanted)) >= 0.995


def test_segmentation_of_the_published_photo(segmentor):
    """Equal pixels with the file, and overlap with the published mask."""
    model, reference = segmentor
    bgr = cv2.imread(str(WEIGHTS / 'bird_segmentation.bmp'))
    mask = cv2.imread(str(WEIGHTS / 'bird_segmentation_mask.bmp'), cv2.IMREAD_UNCHANGED)
    found = predict(model, bgr).pred_sem_seg.data[0].numpy()
    same = found == reference(bgr[..., ::-1]).output()
    assert shown('equal pixels', same.mean()) >= 0.997
    known = (mask != 1) & (mask != 2)  # blended edge pixels
    bird, ours = (mask == 3) & known, (found == 3) & known
    iou = (bird & ours).sum() / (bird | ours).sum()
    assert shown('IoU with the mask', iou) >= 0.91


# ---------------------------------------------------------------- detection
@pytest.fixture(scope='module')
def detector(tmp_path_factory):
    folder = tmp_path_factory.mktemp('det')
    model = converted(folder, 'official/ssdlite_mnv2_objects', DET)
    return model, Reference(DET)


def scenes(generated, every):
    """Photos and a number of generated scenes, 192x192."""
    images = [cv2.imread(str(path)) for path in PHOTOS[::every]]
    images += [
        make_scene(np.random.default_rng(seed)).image
        for seed in range(0, generated, every)
    ]
    return [cv2.resize(image, (192, 192)) for image in images]


def test_anchors(detector):
    """Those in the file are rounded to 0.0065, so half of that may differ."""
    model, _ = detector
    anchors = read_weights(DET).anchors
    difference = check_anchors(model, anchors, str(DET))
    assert shown('anchors', difference) < 0.0033


@every_photo
def test_box_codes(detector, every):
    """Codes of all 738 anchors; TF has them as y, x, h, w."""
    model, reference = detector
    for bgr in scenes(10, every):
        wanted = reference(bgr[..., ::-1]).inside('Squeeze')
        with torch.no_grad():
            _, codes = model(batch(model, bgr))
        found = model.bbox_head.flatten(codes, 4)[0][:, [1, 0, 3, 2]]
        assert shown('codes', correlation(found.numpy(), wanted)) >= 0.998


@every_photo
def test_detections(detector, every):
    """Nearly all the file's detections over 0.2 are found, scored alike."""
    model, reference = detector
    total = matched = 0
    for bgr in scenes(40, every):
        run = reference(bgr[..., ::-1])
        boxes, scores = run.output(0), run.output(2)
        keep = scores > 0.2
        y1, x1, y2, x2 = torch.tensor(boxes[keep] * 192).unbind(1)
        found = predict(model, bgr).pred_instances
        iou = bbox_overlaps(torch.stack([x1, y1, x2, y2], 1), found.bboxes)
        alike = (found.scores - torch.tensor(scores[keep])[:, None]).abs()
        matched += int(((iou >= 0.75) & (alike < 0.1)).any(1).sum())
        total += int(keep.sum())
    assert total >= 80 / every
    assert shown(f'matched of {total}', matched / total) >= 0.95


# ------------------------------------------- plain SSD with 1x1 predictors
@every_photo
@pytest.mark.skipif(not OID.is_file(), reason='needs the file of ../shared')
def test_float16_detector(tmp_path, every):
    """Codes, logits and pairs over 0.3; float16 weights are exact, so all are equal."""
    model = converted(tmp_path, 'official/ssd_mnv2_openimages', OID)
    reference = Reference(OID)
    pairs, codes_apart, logits_apart = [], [], []
    for path in PHOTOS[every - 1 :: every]:
        bgr = cv2.resize(cv2.imread(str(path)), (300, 300))
        run = reference(bgr[..., ::-1].astype(np.float32) / 127.5 - 1)
        with torch.no_grad():
            logits, codes = model(batch(model, bgr))
        codes = model.bbox_head.flatten(codes, 4)[0].numpy()[:, [1, 0, 3, 2]]
        # the background is the first slot of the file, the last one here
        logits = model.bbox_head.flatten(logits, 24)[0].roll(1, 1).numpy()
        codes_apart.append(abs(codes - run.output(0)).max())
        logits_apart.append(abs(logits - run.output(1)).max())
        both = 1 / (1 + np.exp(-np.stack([logits, run.output(1)])[..., 1:]))
        pairs.append((both > 0.3).sum(axis=(1, 2)))
        assert ((both > 0.3)[0] == (both > 0.3)[1]).all()
    assert shown('codes apart, 1e-4', 1e4 * max(codes_apart)) < 10
    assert shown('logits apart, 1e-4', 1e4 * max(logits_apart)) < 10
    assert shown('pairs over 0.3', np.sum(pairs, axis=0)[1]) >= 50 / every
