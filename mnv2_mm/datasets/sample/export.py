"""Write one split of the generated sample set for the three tasks.

- ``annotations/{train,val}.json``: COCO, category id = label + 1, masks as
  uncompressed run lengths (exact, and readable by pycocotools);
- ``masks/{train,val}/*.png``: index masks, 0 background, label + 1;
- ``classify/{train,val}/<class>/*.jpg``: crops around single objects.

Each image draws from a numpy Generator seeded with (seed, split, image
number): the same settings give the same set, whatever the number of
images.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np

from mnv2_mm.datasets.sample.scenes import CLASSES, Scene, make_scene
from mnv2_mm.utils.errors import InputError

#: Increased with every change of an image or an annotation.
GENERATOR_VERSION = 7
SPLITS = ('train', 'val')
#: Objects less visible than this get no classification crop.
MIN_CROP_VISIBLE = 0.75


@dataclass(frozen=True)
class SampleSettings:
    """What determines the content of a sample set."""

    seed: int = 0
    width: int = 256  #: of the images, in pixels
    height: int = 192
    train: int = 1000  #: images
    val: int = 100
    crop_size: int = 96  #: side of a classification crop, in pixels
    crops_per_object: int = 1  #: of the train split; one in val

    def __post_init__(self) -> None:
        """Refuse sizes that are too small."""
        for name, least in (
            ('seed', 0), ('width', 64), ('height', 64), ('train', 1),
            ('val', 1), ('crop_size', 32), ('crops_per_object', 1),
        ):  # fmt: skip
            if getattr(self, name) < least:
                raise InputError(
                    f'{name} is {getattr(self, name)}; the least is {least}'
                )

    def meta(self) -> dict:
        """The content of ``meta.json``: settings and generator version."""
        return {
            'generator': 'mnv2_mm sample set',
            'generator_version': GENERATOR_VERSION,
            'classes': list(CLASSES),
            **asdict(self),
        }


def run_lengths(mask: np.ndarray) -> list[int]:
    """COCO's uncompressed run lengths of a mask (H, W) bool.

    Counted down the columns, beginning with a run of zeros.
    """
    flat = mask.ravel(order='F')
    runs = [len(list(group)) for _, group in groupby(flat.tolist())]
    return [0, *runs] if flat[0] else runs


def crop_around(
    scene: Scene, index: int, rng: np.random.Generator, *, size: int
) -> np.ndarray:
    """Cut a square crop (size, size, 3) around one object of ``scene``.

    The object fills 60 to 90 % of the side and is off the center by up to an
    eighth, and more where the crop would leave the image. Around the largest
    objects the crop is larger than the image: the edge pixels are repeated.

    Args:
        scene: the scene.
        index: which of ``scene.objects``.
        rng: source of randomness.
        size: side of the crop in pixels.
    """
    x, y, width, height = scene.objects[index].box
    side = round(max(width, height) / rng.uniform(0.6, 0.9))
    shift = rng.uniform(-0.125, 0.125, 2) * side
    corner = np.array([x + width / 2, y + height / 2]) + shift - side / 2
    room = np.array(scene.image.shape[1::-1]) - side
    # kept inside; centered on the image along a side that is too short
    left, top = np.where(
        room >= 0, np.clip(corner, 0, np.maximum(room, 0)), room / 2
    ).astype(int)
    margin = max(0, -room.min())
    image = np.pad(scene.image, ((margin, margin), (margin, margin), (0, 0)), 'edge')
    left, top = left + margin, top + margin
    part = image[top : top + side, left : left + side].astype(np.float32)
    way = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    part = cv2.resize(part, (size, size), interpolation=way)
    return np.clip(np.rint(part), 0, 255).astype(np.uint8)


def write_split(root: Path, split: str, settings: SampleSettings) -> Iterator[None]:
    """Write one split under ``root``; yields after each image."""
    folders = {kind: root / kind / split for kind in ('images', 'masks')}
    folders |= {name: root / 'classify' / split / name for name in CLASSES}
    for folder in folders.values():
        folder.mkdir(parents=True)
    count = settings.train if split == 'train' else settings.val
    crops = settings.crops_per_object if split == 'train' else 1
    images: list[dict] = []
    annotations: list[dict] = []
    for number in range(count):
        rng = np.random.default_rng([settings.seed, SPLITS.index(split), number])
        scene = make_scene(rng, size=(settings.width, settings.height))
        stem = f'{number:05d}'
        quality = int(rng.integers(75, 96))
        _write_image(folders['images'] / f'{stem}.jpg', scene.image, quality)
        _write_image(folders['masks'] / f'{stem}.png', scene.index_mask())
        size = dict(width=settings.width, height=settings.height)
        images.append(dict(id=number + 1, file_name=f'{stem}.jpg', **size))
        for index, item in enumerate(scene.objects):
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=number + 1,
                    category_id=item.label + 1,
                    bbox=list(item.box),
                    area=int(item.mask.sum()),
                    iscrowd=0,
                    segmentation=dict(
                        size=list(item.mask.shape), counts=run_lengths(item.mask)
                    ),
                )
            )
            if item.visible < MIN_CROP_VISIBLE:
                continue
            for turn in range(crops):
                crop = crop_around(scene, index, rng, size=settings.crop_size)
                name = f'{stem}_{index}_{turn}.jpg'
                folder = folders[CLASSES[item.label]]
                _write_image(folder / name, crop, quality)
        yield
    categories = [
        dict(id=label + 1, name=name, supercategory='shape')
        for label, name in enumerate(CLASSES)
    ]
    content = dict(
        info=dict(description=f'mnv2_mm sample set, {split}'),
        licenses=[],
        categories=categories,
        images=images,
        annotations=annotations,
    )
    (root / 'annotations').mkdir(exist_ok=True)
    write_json(root / 'annotations' / f'{split}.json', content)


def _write_image(path: Path, image: np.ndarray, quality: int = 90) -> None:
    """Write a JPEG or PNG."""
    jpeg = [cv2.IMWRITE_JPEG_QUALITY, quality]
    if not cv2.imwrite(str(path), image, jpeg if path.suffix == '.jpg' else []):
        raise OSError(f'{path} could not be written')


def write_json(path: Path, content: dict) -> None:
    """Write JSON, byte for byte the same for the same content."""
    text = json.dumps(content, separators=(',', ':'))
    path.write_text(text + '\n', encoding='utf-8')
