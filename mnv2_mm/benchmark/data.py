"""The training pipelines: pictures per second of one worker.

One call takes every picture of a set through a pipeline as a worker of the
data loader does, from its annotation to the packed tensor; files are in the
system's cache, and nothing is collated or sent. The pictures are those of the
generated sample set at 640x480, JPEGs of 87 KB in the mean. For detection
their boxes are drawn anew, as many and as large as COCO's: on them hangs how
often a random crop has to be drawn. Each pass draws new random numbers, the
same for all contestants.
"""

import argparse
import atexit
import contextlib
import copy
import io
import itertools
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from mmengine.registry import DATASETS, TRANSFORMS, init_default_scope

from mnv2_mm.benchmark.pairs import Contestant, Part
from mnv2_mm.benchmark.peers import peer_config
from mnv2_mm.config_files import get_config
from mnv2_mm.datasets.sample_scenes import CLASSES
from mnv2_mm.datasets.sample_writer import SampleSettings, write_sample_set

#: Pictures in the set, and their sides in pixels.
PICTURES, WIDTH, HEIGHT = 24, 640, 480
#: Large ones, of 2.8 MB in the mean, and their sides.
PHOTOS, PHOTO = 4, (4032, 3024)
#: Objects in a picture of COCO, in the mean.
OBJECTS = 7.3
#: Shares of its small, medium and large ones, and the sides between which
#: these are: cocodataset.org/#detection-eval.
SIZES = ((0.41, 8, 32), (0.34, 32, 96), (0.25, 96, 400))
#: Transforms of ours that a host has under another name.
_HOSTS_NAME = {
    'LoadImage': 'LoadImageFromFile',
    'SegPhotoMetricDistortion': 'PhotoMetricDistortion',
    'SegRandomCrop': 'RandomCrop',
}


def parts(_: argparse.Namespace) -> list[Part]:
    """What `tools/benchmark.py data` measures."""
    cv2.setNumThreads(0)  # as in a worker
    folder = tempfile.TemporaryDirectory(prefix='mnv2_mm_benchmark_')
    atexit.register(folder.cleanup)
    root = Path(folder.name) / 'sample'
    settings = SampleSettings(
        width=WIDTH, height=HEIGHT, train=PICTURES, val=1
    )
    write_sample_set(root, settings)
    return [*detection(root), *segmentation(root)]


def detection(root: Path) -> list[Part]:
    """Our three recipes of SSDLite's pipeline, against mmdet's transforms."""
    dataset = dict(
        type='CocoDataset',
        metainfo=dict(classes=CLASSES),
        ann_file=str(with_boxes_of_coco(root / 'annotations/train.json')),
        data_prefix=dict(img=str(root / 'images/train')),
    )
    modern = _pipeline('ssdlite_mnv2_coco_modern')
    official = _pipeline('ssdlite_mnv2_coco')
    cells = _pipeline('ssdlite_bccd')
    cells[3].scale = modern[4].scale
    shipped = peer_config().train_dataloader.dataset.dataset.pipeline
    return [
        _part(
            'SSDLite 320: expand, crop, resize, flip, photometric',
            'mmdet',
            dataset,
            {
                "mmdet's ssdlite, as shipped": shipped,
                'ssdlite_mnv2_coco_modern': modern,
                'the same, deferred': deferred(modern),
            },
        ),
        _part(
            'SSDLite 320: crop, resize, flip, photometric',
            'mmdet',
            dataset,
            {
                "mmdet's transforms": plain(cells, 'mmdet'),
                'ssdlite_bccd at 320': cells,
                'the same, deferred': deferred(cells),
            },
        ),
        _part(
            'SSDLite 320: crop, resize, flip',
            'mmdet',
            dataset,
            {
                "mmdet's transforms, our crop": plain(official, 'mmdet'),
                'ssdlite_mnv2_coco': official,
            },
        ),
        _part(
            'SSDLite 320: crop, resize, flip, photos of 12 megapixels',
            'mmdet',
            enlarged(dataset, root / 'photos'),
            {
                "mmdet's transforms, our crop": plain(official, 'mmdet'),
                'ssdlite_mnv2_coco': official,
                'the same, deferred': deferred(official),
            },
            pictures=PHOTOS,
        ),
    ]


def segmentation(root: Path) -> list[Part]:
    """Both recipes of Mobile DeepLabv3, against mmseg's transforms."""
    dataset = dict(
        type='BaseSegDataset',
        data_root=str(root),
        data_prefix=dict(img_path='images/train', seg_map_path='masks/train'),
    )
    parts = []
    for name, steps in (
        ('deeplabv3_mnv2_voc_modern', 'scale, crop, flip, photometric'),
        ('deeplabv3_mnv2_voc', 'scale, crop, pad, flip'),
    ):
        ours = _pipeline(name)
        pipelines = {"mmseg's transforms": plain(ours, 'mmseg'), name: ours}
        title = f'Mobile DeepLabv3 513: {steps}'
        parts.append(_part(title, 'mmseg', dataset, pipelines))
    return parts


def with_boxes_of_coco(path: Path) -> Path:
    """A copy of an annotation file, beside it, with other boxes."""
    rng = np.random.default_rng(0)
    content = json.loads(path.read_text())
    content['annotations'] = []
    shares, least, most = np.array(SIZES).T
    for image in content['images']:
        for _ in range(max(1, rng.poisson(OBJECTS))):
            size = rng.choice(len(SIZES), p=shares)
            side = np.exp(rng.uniform(*np.log([least[size], most[size]])))
            aspect = np.exp(rng.uniform(*np.log([0.5, 2.0])) / 2)
            width = min(side * aspect, WIDTH)
            height = min(side / aspect, HEIGHT)
            left = rng.uniform(0, WIDTH - width)
            top = rng.uniform(0, HEIGHT - height)
            content['annotations'].append(
                dict(
                    id=len(content['annotations']) + 1,
                    image_id=image['id'],
                    category_id=int(rng.integers(len(CLASSES))) + 1,
                    bbox=[left, top, width, height],
                    area=width * height,
                    iscrowd=0,
                )
            )
    path = path.with_stem('boxes_of_coco')
    path.write_text(json.dumps(content))
    return path


def enlarged(dataset: dict, folder: Path) -> dict:
    """A few of the pictures as a phone takes them: 4032x3024, with grain."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    path = Path(dataset['ann_file'])
    content = json.loads(path.read_text())
    content['images'] = content['images'][:PHOTOS]
    for image in content['images']:
        picture = cv2.imread(
            f'{dataset["data_prefix"]["img"]}/{image["file_name"]}'
        )
        picture = cv2.resize(picture, PHOTO, interpolation=cv2.INTER_CUBIC)
        grain = rng.normal(0, 4, (*picture.shape[:2], 1))
        picture = (picture + grain).clip(0, 255).astype(np.uint8)
        quality = [cv2.IMWRITE_JPEG_QUALITY, 90]
        cv2.imwrite(str(folder / image['file_name']), picture, quality)
        image.update(width=PHOTO[0], height=PHOTO[1])
    for item in content['annotations']:
        item['bbox'] = [PHOTO[0] / WIDTH * side for side in item['bbox']]
    path = path.with_stem('photos')
    path.write_text(json.dumps(content))
    return {
        **dataset,
        'ann_file': str(path),
        'data_prefix': dict(img=str(folder)),
    }


def deferred(pipeline: list[dict]) -> list[dict]:
    """The same, decoding at the scale that the window allows."""
    steps = copy.deepcopy(pipeline)
    steps[0]['deferred'] = True
    return steps


def plain(pipeline: list[dict], host: str) -> list[dict]:
    """The same steps by the host's transforms, where it has them."""
    steps = copy.deepcopy(pipeline)
    for step in steps:
        scope, _, name = step['type'].rpartition('.')
        name = _HOSTS_NAME.get(name, name)
        if scope == 'mnv2_mm' and TRANSFORMS.get(f'{host}.{name}'):
            step['type'] = name
    return steps


def _pipeline(name: str) -> list[dict]:
    """Training pipeline of a config of ours."""
    dataset = get_config(name).train_dataloader.dataset
    while 'pipeline' not in dataset:  # a ConcatDataset of two
        dataset = dataset.datasets[0]
    return dataset.pipeline


def _part(
    title: str,
    host: str,
    dataset: dict,
    pipelines: dict[str, list[dict]],
    *,
    pictures: int = PICTURES,
) -> Part:
    """Passes over one data set through each of the pipelines."""
    contestants = [
        Contestant(name, _passes(host, {**dataset, 'pipeline': steps}))
        for name, steps in pipelines.items()
    ]
    return Part(title, contestants, pictures=pictures)


def _passes(host: str, dataset: dict) -> Callable[[], Callable[[], object]]:
    """One pass over a data set."""

    def prepare() -> Callable[[], object]:
        init_default_scope(host)
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools talks
            pictures = DATASETS.build(dataset)
        seeds = itertools.count()

        def run() -> None:
            np.random.seed(next(seeds))
            for index in range(len(pictures)):
                pictures[index]

        return run

    return prepare
