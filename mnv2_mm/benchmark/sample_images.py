"""Images for the benchmark, and boxes for them.

The generated sample set at 640x480, as JPEGs of 87 KB on average. Its boxes
are replaced by random ones with the number and the sizes of COCO's: the time
of a random crop depends on them.
"""

import json
from pathlib import Path

import cv2
import numpy as np

from mnv2_mm.datasets.sample.scenes import CLASSES
from mnv2_mm.datasets.sample.writer import SampleSettings, write_sample_set

#: Images in the set, and their sides in pixels.
IMAGES, WIDTH, HEIGHT = 24, 640, 480
#: COCO: objects in an image on average; shares of small, medium and large
#: ones, and the sides between which these are (cocodataset.org/#detection-eval).
OBJECTS = 7.3
SHARES, SMALLEST, LARGEST = (0.41, 0.34, 0.25), (8, 32, 96), (32, 96, 400)


def photo(seed: int) -> np.ndarray:
    """A random image (480, 640, 3) with some structure, BGR."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (15, 20, 3), dtype=np.uint8)
    return cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def write_images(root: Path) -> None:
    """Write the sample set into a new folder, with COCO's boxes beside its own."""
    settings = SampleSettings(width=WIDTH, height=HEIGHT, train=IMAGES, val=1)
    write_sample_set(root, settings)
    content = json.loads((root / 'annotations/train.json').read_text())
    content['annotations'] = coco_like_boxes(content['images'])
    (root / 'annotations/coco_like.json').write_text(json.dumps(content))


def coco_like_boxes(images: list[dict]) -> list[dict]:
    """Random annotations of 640x480 images, distributed as those of COCO."""
    rng = np.random.default_rng(0)
    found = []
    for image in images:
        for _ in range(max(1, rng.poisson(OBJECTS))):
            kind = rng.choice(len(SHARES), p=SHARES)
            side = np.exp(rng.uniform(np.log(SMALLEST[kind]), np.log(LARGEST[kind])))
            root_of_aspect = np.exp(rng.uniform(np.log(0.5), np.log(2)) / 2)
            width = min(side * root_of_aspect, WIDTH)
            height = min(side / root_of_aspect, HEIGHT)
            corner = rng.uniform(0, [WIDTH - width, HEIGHT - height])
            found.append(
                dict(
                    id=len(found) + 1,
                    image_id=image['id'],
                    category_id=int(rng.integers(len(CLASSES))) + 1,
                    bbox=[*corner, width, height],
                    area=width * height,
                    iscrowd=0,
                )
            )
    return found
