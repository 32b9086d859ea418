"""MediaPipe's tasks read the exported files and give the same answers.

The networks are Google's, with converted weights. The images have the size of the
network input, so that MediaPipe's own resizing changes nothing.
"""

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('mediapipe', reason='mediapipe is not installed')
pytest.importorskip('onnx2tf', reason='onnx2tf is not installed')
pytest.importorskip('ai_edge_quantizer')
pytest.importorskip('tflite')
pytest.importorskip('mmdeploy', reason='deployment is not installed')
pytest.importorskip('mmdet.models')
pytest.importorskip('mmseg.models')
pytest.importorskip('mmpretrain.models')

import mediapipe as mp
from mediapipe.tasks.python import BaseOptions, vision

from mnv2_mm.checkpoints.convert import convert, save
from mnv2_mm.runtime.model import ExportedModel
from mnv2_mm.utils.config import get_config

SHARED = Path(__file__).resolve().parents[4] / 'shared'
PHOTOS = sorted((SHARED / 'data/demo_photos').glob('*.jpg'))[:3]
OFFICIAL = {
    'det': ('ssdlite_mnv2_objects', 'mobile_object_localizer_v1_1_default_1', 192),
    'seg': ('deeplabv3_mnv2_voc', 'deeplabv3_mnv2_pascal_quant', 513),
    'cls': ('mnv2_in1k', 'mobilenet_v2_1.0_224_quant', 224),
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not ((SHARED / 'weights').is_dir() and PHOTOS),
        reason='needs the trained files and the photos of ../shared',
    ),
]


@pytest.fixture(scope='module')
def exported(run_tool, tmp_path_factory):
    """Export a network of Google's: the model, MediaPipe's options, the images."""

    def get(task, precision=''):
        name, file, side = OFFICIAL[task]
        folder = tmp_path_factory.mktemp(task)
        cfg = get_config(f'official/{name}').copy()
        save(convert(SHARED / f'weights/{file}.tflite', cfg)[0], folder / 'a.pth')
        size = '_513' if task == 'seg' else ''
        deploy = f'{task}_litert_{precision}static{size}'
        config = f'official/{name}'
        where = ('--work-dir', folder / 'exported')
        code = run_tool('deploy', deploy, config, folder / 'a.pth', PHOTOS[0], *where)
        assert code == 0
        model = ExportedModel(folder / 'exported', threads=1)
        model.info['preprocessing']['steps'] = []  # the image has the size already
        options = BaseOptions(str(folder / 'exported/end2end.tflite'))
        images = [cv2.resize(cv2.imread(str(x)), (side, side)) for x in PHOTOS]
        return model, options, images

    return get


def rgb(image):
    data = np.ascontiguousarray(image[..., ::-1])
    return mp.Image(image_format=mp.ImageFormat.SRGB, data=data)


@pytest.mark.parametrize('precision', ['', 'fp16_'])
def test_object_detector(exported, precision):
    """The same scores and labels; MediaPipe rounds boxes to pixels."""
    model, base, images = exported('det', precision)
    options = vision.ObjectDetectorOptions(base_options=base, score_threshold=0.2)
    total = 0
    with vision.ObjectDetector.create_from_options(options) as detector:
        for image in images:
            wanted, found = model(image), detector.detect(rgb(image)).detections
            kept = wanted['scores'] >= 0.2
            assert len(found) == kept.sum()
            for box, score, label, other in zip(
                wanted['boxes'][kept],
                wanted['scores'][kept],
                wanted['labels'][kept],
                found,
                strict=True,
            ):
                (category,) = other.categories
                assert abs(category.score - score) < 1e-4
                assert category.category_name == model.classes[label]
                place = other.bounding_box
                corners = np.array([place.origin_x, place.origin_y] * 2)
                corners[2:] += [place.width, place.height]
                assert np.abs(corners - box).max() <= 1.5
                total += 1
    assert total >= 3


def test_image_classifier(exported):
    model, base, images = exported('cls')
    options = vision.ImageClassifierOptions(base_options=base, max_results=-1)
    with vision.ImageClassifier.create_from_options(options) as classifier:
        for image in images:
            wanted = model(image)['probabilities']
            (head,) = classifier.classify(rgb(image)).classifications
            found = {x.category_name: x.score for x in head.categories}
            best = model.classes[wanted.argmax()]
            assert max(found, key=found.get) == best
            assert abs(found[best] - wanted.max()) < 1e-4


def test_image_segmenter(exported):
    """The class of each pixel; differs at most where two are equally likely."""
    model, base, images = exported('seg')
    options = vision.ImageSegmenterOptions(
        base_options=base, output_category_mask=True, output_confidence_masks=True
    )
    with vision.ImageSegmenter.create_from_options(options) as segmenter:
        for image in images:
            found = segmenter.segment(rgb(image))
            mask = found.category_mask.numpy_view().squeeze()
            wanted = model(image)['mask']
            assert (mask != wanted).mean() < 1e-3
            masks = [x.numpy_view().squeeze() for x in found.confidence_masks]
            assert len(masks) == len(model.classes)
            assert np.allclose(sum(masks), 1, atol=1e-3)  # softmax
