"""The photos of the benchmark, and boxes for them.

Those of `tools/benchmark.py data` are of the generated sample set at 640x480,
JPEGs of 87 KB in the mean. For detection their boxes are drawn anew, as many
and as large as COCO's: on them hangs how often a random crop has to be drawn.
"""

import json
from pathlib import Path

import cv2
import numpy as np

from mnv2_mm.datasets.sample.scenes import CLASSES
from mnv2_mm.datasets.sample.writer import SampleSettings, write_sample_set

#: Photos in the set, and their sides in pixels.
PICTURES, WIDTH, HEIGHT = 24, 640, 480
#: Large ones, of 2.8 MB in the mean, and their sides.
PHOTOS, PHOTO = 4, (4032, 3024)
#: Objects in a photo of COCO, in the mean.
OBJECTS = 7.3
#: Shares of its small, medium and large ones, and the sides between which
#: these are: cocodataset.org/#detection-eval.
SIZES = ((0.41, 8, 32), (0.34, 32, 96), (0.25, 96, 400))


def photo(seed: int) -> np.ndarray:
    """A photo of 640x480 with some structure, BGR."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (15, 20, 3), dtype=np.uint8)
    return cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC)


def write_photos(root: Path) -> None:
    """Write the sample set of these photos into a new folder."""
    settings = SampleSettings(width=WIDTH, height=HEIGHT, train=PICTURES, val=1)
    write_sample_set(root, settings)


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
    """A few of the photos as a phone takes them: 4032x3024, with grain."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    path = Path(dataset['ann_file'])
    content = json.loads(path.read_text())
    content['images'] = content['images'][:PHOTOS]
    for image in content['images']:
        photo = cv2.imread(f'{dataset["data_prefix"]["img"]}/{image["file_name"]}')
        photo = cv2.resize(photo, PHOTO, interpolation=cv2.INTER_CUBIC)
        grain = rng.normal(0, 4, (*photo.shape[:2], 1))
        photo = (photo + grain).clip(0, 255).astype(np.uint8)
        quality = [cv2.IMWRITE_JPEG_QUALITY, 90]
        cv2.imwrite(str(folder / image['file_name']), photo, quality)
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
