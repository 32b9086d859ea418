"""Write the generated sample set for the three tasks, completely or not at all.

- ``annotations/{train,val}.json``: COCO, category id = label + 1, masks as
  uncompressed run lengths (exact, and readable by pycocotools);
- ``masks/{train,val}/*.png``: index masks, 0 background, label + 1;
- ``classify/{train,val}/<class>/*.jpg``: crops around single objects;
- ``meta.json``: the settings and the version of the generator.

Each image draws from a numpy Generator seeded with (seed, split, image number): it is
the same whatever the number of images.
"""

import contextlib
import functools
import json
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import cv2
import numpy as np

from mnv2_mm.datasets.sample.scenes import CLASSES, Scene, make_scene
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.files import whole_folder, write_image, write_text

#: Increased with every change of an image or an annotation.
GENERATOR_VERSION = 8
SPLITS = ('train', 'val')
#: Objects less visible than this get no classification crop.
MIN_CROP_VISIBLE = 0.85


@dataclass(frozen=True)
class SampleSettings:
    """What determines the content of a sample set."""

    seed: int = 0
    width: int = 192  #: of the images, in pixels
    height: int = 144
    train: int = 1000  #: images
    val: int = 200
    crop_size: int = 96  #: side of a classification crop, in pixels

    def __post_init__(self) -> None:
        """Refuse sizes that are too small."""
        lowest = (0, 64, 64, 1, 1, 32)
        for (name, value), least in zip(asdict(self).items(), lowest, strict=True):
            if value < least:
                raise InputError(f'{name} is {value}; the least is {least}')

    def meta(self) -> dict:
        """The content of ``meta.json``."""
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
    ends = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff([0, *ends, flat.size]).tolist()
    return [0, *runs] if flat[0] else runs


def crop_around(
    scene: Scene, index: int, rng: np.random.Generator, *, size: int
) -> np.ndarray:
    """Cut a square crop (size, size, 3) around one object of ``scene``.

    The object fills 70 to 95 % of the side and is off the center by up to a
    twelfth, and more where the crop would leave the image. Around the largest
    objects the crop is larger than the image: the edge pixels are repeated.
    """
    x, y, width, height = scene.objects[index].box
    side = round(max(width, height) / rng.uniform(0.7, 0.95))
    shift = rng.uniform(-0.08, 0.08, 2) * side
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


def _write_split(
    root: Path, split: str, settings: SampleSettings, run: Callable
) -> Iterator[None]:
    """Write one split under ``root``; yields after each image."""
    for folder in _folders(root, split).values():
        folder.mkdir(parents=True)
    count = settings.train if split == 'train' else settings.val
    size = dict(width=settings.width, height=settings.height)
    images: list[dict] = []
    annotations: list[dict] = []
    job = functools.partial(_write_scene, root, split, settings)
    for number, rows in enumerate(run(job, range(count)), 1):
        images.append(dict(id=number, file_name=f'{number - 1:05d}.jpg', **size))
        for row in rows:
            annotations.append(dict(id=len(annotations) + 1, image_id=number, **row))
        yield
    content = dict(
        info=dict(description=f'mnv2_mm sample set, {split}'),
        licenses=[],
        categories=[
            dict(id=label, name=name, supercategory='shape')
            for label, name in enumerate(CLASSES, 1)
        ],
        images=images,
        annotations=annotations,
    )
    (root / 'annotations').mkdir(exist_ok=True)
    _write_json(root / 'annotations' / f'{split}.json', content)


def _folders(root: Path, split: str) -> dict[str, Path]:
    folders = {kind: root / kind / split for kind in ('images', 'masks')}
    return folders | {name: root / 'classify' / split / name for name in CLASSES}


def _write_scene(
    root: Path, split: str, settings: SampleSettings, number: int
) -> list[dict]:
    """Write the files of one image; returns its rows of the annotations."""
    folders, stem = _folders(root, split), f'{number:05d}'
    rng = np.random.default_rng([settings.seed, SPLITS.index(split), number])
    scene = make_scene(rng, size=(settings.width, settings.height))
    quality = int(rng.integers(75, 96))
    _write_image(folders['images'] / f'{stem}.jpg', scene.image, quality)
    _write_image(folders['masks'] / f'{stem}.png', scene.index_mask())
    rows = []
    for index, item in enumerate(scene.objects):
        runs = dict(size=list(item.mask.shape), counts=run_lengths(item.mask))
        row = dict(
            category_id=item.label + 1,
            bbox=list(item.box),
            area=int(item.mask.sum()),
            iscrowd=0,
            segmentation=runs,
        )
        rows.append(row)
        if item.visible >= MIN_CROP_VISIBLE:
            crop = crop_around(scene, index, rng, size=settings.crop_size)
            name = f'{stem}_{index}_0.jpg'
            _write_image(folders[CLASSES[item.label]] / name, crop, quality)
    return rows


@contextlib.contextmanager
def _processes(images: int) -> Iterator[Callable]:
    """A ``map`` in order, on all cores where there is enough to do."""
    if images < 200:  # starting them takes longer
        yield map
        return
    # Ctrl-C is for the main process, which ends the others
    ignore = (signal.SIGINT, signal.SIG_IGN)
    with multiprocessing.Pool(initializer=signal.signal, initargs=ignore) as pool:
        yield functools.partial(pool.imap, chunksize=8)


def _write_image(path: Path, image: np.ndarray, quality: int | None = None) -> None:
    """Write a PNG, or a JPEG of a quality of 0 to 100."""
    jpeg = [] if quality is None else [cv2.IMWRITE_JPEG_QUALITY, quality]
    write_image(path, image, *jpeg)


def _write_json(path: Path, content: dict) -> None:
    """Write JSON, byte for byte the same for the same content."""
    write_text(path, json.dumps(content, separators=(',', ':')) + '\n')


def write_sample_set(
    out: str | Path,
    settings: SampleSettings | None = None,
    *,
    force: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> bool:
    """Write the sample set and return True, or False if it exists already.

    Args:
        out: Folder of the set.
        settings: The defaults when None.
        force: Replace a sample set with other settings.
        progress: Called with (images done, images in all).

    Raises:
        InputError: ``out`` holds something else, or a sample set with other
            settings and ``force`` is not set.
    """
    out = Path(out)
    settings = settings or SampleSettings()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        differs = _differences(out, settings)
        if not differs:
            return False
        if not force:
            raise InputError(
                f'{out} holds a sample set with other settings ({differs}): '
                'replace it with --force, or choose another folder with --out'
            )
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # several are slower on a busy machine
    total = settings.train + settings.val
    try:
        with whole_folder(out) as made, _processes(total) as run:
            images = (_write_split(made, split, settings, run) for split in SPLITS)
            for done, _ in enumerate(chain.from_iterable(images), 1):
                progress(done, total)
            _write_json(made / 'meta.json', settings.meta())
            write_text(made / 'README.md', _readme(settings))
    finally:
        cv2.setNumThreads(threads)
    return True


def _differences(out: Path, settings: SampleSettings) -> str:
    """Compare the sample set in ``out`` with ``settings``; '' for equal.

    Raises:
        InputError: ``out`` holds something else; it is never deleted.
    """
    wanted = settings.meta()
    try:
        found = json.loads((out / 'meta.json').read_text(encoding='utf-8'))
        known = found['generator'] == wanted['generator']
    except (OSError, ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise InputError(
            f'{out} exists, but is not a generated sample set: choose '
            'another folder with --out, or move that one away'
        )
    return ', '.join(
        f'{key} {found.get(key)!r} instead of {value!r}'
        for key, value in wanted.items()
        if found.get(key) != value
    )


def _readme(settings: SampleSettings) -> str:
    """The text of the set's README.md."""
    return (
        '# Generated sample set\n\nWritten by `tools/make_sample_data.py`; meta.json '
        f'holds the settings.\nImages of {settings.width}x{settings.height}, '
        f'{settings.train} train and {settings.val} val, classes '
        f'{", ".join(CLASSES)}.\n\n'
        '- annotations/{train,val}.json: COCO (boxes and masks of the visible part)\n'
        '- images/{train,val}/*.jpg\n'
        '- masks/{train,val}/*.png: 0 background, 1.. the classes in order\n'
        '- classify/{train,val}/<class>/*.jpg: crops around single objects\n'
    )
