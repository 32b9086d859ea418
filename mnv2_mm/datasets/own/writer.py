"""Write a prepared data set: COCO JSON, PNG masks or class folders, and its config.

Images are hard links where the disk allows it, else copies: the folder can be moved,
and the source stays as it is.
"""

import itertools
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mnv2_mm.datasets.own.formats import TITLE, Files, is_prepared
from mnv2_mm.datasets.own.parsing import mask_numbers
from mnv2_mm.datasets.own.records import SPLITS, Problems, Record
from mnv2_mm.utils.cli import repository_root
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.files import check_output, write_image, write_text

#: The template of each task; its first block takes the values.
TEMPLATES = {'det': 'ssdlite_own_data', 'seg': 'deeplabv3_own_data'}
TEMPLATES |= {'cls': 'mnv2_own_data'}
_BLOCK = re.compile(r'(# ---- changed most often -+\n)(.*?)(# -+\n)', re.S)


def check_place(out: Path, *, force: bool) -> None:
    """Raise an InputError unless ``out`` is new, or a prepared set to replace."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        ours = is_prepared(out)
        if not ours or not force:
            remedy = 'replace it with --force, or' if ours else 'it is no prepared set;'
            raise InputError(f'{out} exists: {remedy} choose another folder with --out')
    check_output(out, folder=True)


@dataclass
class SetToWrite:
    """A set, and where it goes."""

    out: Path
    records: list[Record]
    classes: list[str]
    files: Files  #: where the images are
    problems: Problems
    tick: Callable[[], object]  #: called for each image


def write_images(task: str, made: SetToWrite) -> dict[str, object]:
    """Write images and labels; returns what the config has to know of them."""
    return {'det': _write_boxes, 'seg': _write_masks, 'cls': _write_folders}[task](made)


def place(source: Path, target: Path) -> None:
    """Link a file, or copy it where links are not possible; replaces nothing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(os.path.realpath(source), target)
    except FileExistsError:
        raise  # it may be a link to another image of the source
    except OSError:
        shutil.copyfile(source, target)


def read_image(files: Files, record: Record) -> np.ndarray:
    """The image (H, W, 3) BGR, turned as its labels are."""
    flag = cv2.IMREAD_IGNORE_ORIENTATION * record.stored | cv2.IMREAD_COLOR
    return cv2.imread(str(files.root / record.path), flag)


def _write_boxes(made: SetToWrite) -> dict[str, object]:
    out, records, files = made.out, made.records, made.files
    common = os.path.commonpath([os.path.dirname(r.path) or '.' for r in records])
    numbers = {name: number for number, name in enumerate(made.classes, 1)}
    for split in SPLITS:
        images: list[dict] = []
        rows: list[dict] = []
        for record in (r for r in records if r.split == split):
            name = os.path.relpath(record.path, common) if common else record.path
            if record.stored:
                write_image(out / 'images' / name, read_image(files, record))
            else:
                place(files.root / record.path, out / 'images' / name)
            made.tick()
            width, height = record.size
            images.append(dict(id=len(images) + 1, file_name=name))
            images[-1] |= dict(width=width, height=height)
            for label, box in zip(record.labels, record.boxes.tolist(), strict=True):
                x, y = box[:2]
                w, h = box[2] - x, box[3] - y
                row = dict(id=len(rows) + 1, image_id=len(images))
                row |= dict(category_id=numbers[label], bbox=[x, y, w, h])
                rows.append(row | dict(area=w * h, iscrowd=0))
        if images:
            categories = [dict(id=n, name=name) for name, n in numbers.items()]
            content = dict(images=images, annotations=rows, categories=categories)
            path = out / 'annotations' / f'{split}.json'
            write_text(path, json.dumps(content, separators=(',', ':')) + '\n')
    return {'test_ann': f'annotations/{_test_split(records)}.json'}


def _test_split(records: list[Record]) -> str:
    """What the test of the config reads."""
    return 'test' if any(record.split == 'test' for record in records) else 'val'


def _flat_names(records: list[Record], folder: Callable[[Record], str]) -> list[str]:
    """File names without folders and ending, unique in their folder.

    Names that two images share keep their folders, and get a number if that is not
    enough.
    """
    keys = [(folder(r), Path(r.path).stem) for r in records]
    counts = Counter(keys)
    taken: set[tuple[str, str]] = set()
    names = []
    for record, (inside, stem) in zip(records, keys, strict=True):
        if counts[inside, stem] > 1:
            stem = Path(record.path).with_suffix('').as_posix().replace('/', '_')
        numbered = (f'{stem}_{n}' for n in itertools.count(2))
        every = itertools.chain([stem], numbered)
        name = next(n for n in every if (inside, n.lower()) not in taken)
        taken.add((inside, name.lower()))
        names.append(name)
    return names


def _write_masks(made: SetToWrite) -> dict[str, object]:
    out, records, files = made.out, made.records, made.files
    endings = Counter(Path(r.path).suffix for r in records)
    suffix = endings.most_common(1)[0][0]  # mmseg takes one for all
    names = _flat_names(records, lambda record: record.split)
    for record, name in zip(records, names, strict=True):
        image = out / 'img_dir' / record.split / f'{name}{suffix}'
        if record.stored:
            write_image(image, read_image(files, record))
        elif Path(record.path).suffix == suffix:
            place(files.root / record.path, image)
        else:
            made.problems.add(f'image written again as {suffix}', record.path)
            write_image(image, read_image(files, record))
        mask = out / 'ann_dir' / record.split / f'{name}.png'
        if record.mask and not record.binary:
            place(files.root / record.mask, mask)
        else:
            write_image(mask, mask_of(record, made.classes, files, made.problems))
        made.tick()
    return {'img_suffix': suffix, 'test_split': _test_split(records)}


def mask_of(
    record: Record, classes: list[str], files: Files, problems: Problems
) -> np.ndarray:
    """Mask (H, W) uint8: of a file (binary ones as 0, 1), or drawn from shapes."""
    if record.mask:
        mask = mask_numbers(files.root / record.mask)
        return (mask > 0 if record.binary else mask).astype(np.uint8)
    from pycocotools import mask as coco

    width, height = record.shape_size or record.size
    mask = np.zeros((height, width), np.uint8)
    parts = []
    for label, shape in record.shapes:
        try:
            if isinstance(shape, list):
                shape = coco.merge(coco.frPyObjects(shape, height, width))
            elif isinstance(shape['counts'], list):
                shape = coco.frPyObjects(shape, height, width)
            part = coco.decode(shape) > 0
            if part.shape != mask.shape:
                raise ValueError(f'its size is {part.shape[1]}x{part.shape[0]}')
            parts.append((part, 255 if label is None else classes.index(label)))
        except Exception as error:  # of a compiled library
            kind = f'mask left out, it cannot be drawn ({error})'
            problems.add(kind, record.path)
    for part, number in sorted(parts, key=lambda part: -part[0].sum()):
        mask[part] = number  # small ones last
    return cv2.resize(mask, record.size, interpolation=cv2.INTER_NEAREST_EXACT)


def _write_folders(made: SetToWrite) -> dict[str, object]:
    out, records, files = made.out, made.records, made.files
    names = _flat_names(records, lambda record: record.split + record.labels[0])
    for record, name in zip(records, names, strict=True):
        folder = out / record.split / record.labels[0]
        place(files.root / record.path, folder / f'{name}{Path(record.path).suffix}')
        made.tick()
    for split in {record.split for record in records}:
        for name in made.classes:  # mmpretrain numbers the classes by the folders
            (out / split / name).mkdir(parents=True, exist_ok=True)
    return {'test_split': _test_split(records)}


def write_config(
    task: str, path: Path, values: Mapping[str, object], notes: Mapping[str, str]
) -> None:
    """Fill the first block of the task's template.

    Args:
        task: 'det', 'seg' or 'cls'.
        path: The config to write.
        values: By the names of the block; the others keep the template's value.
        notes: Comment lines to put above a name.
    """
    template = repository_root() / f'configs/examples/{TEMPLATES[task]}.py'
    write_text(path, fill_block(template.read_text('utf-8'), values, notes))


def fill_block(
    text: str, values: Mapping[str, object], notes: Mapping[str, str] | None = None
) -> str:
    """Set names of a config's first block; ``notes`` are comments above a name."""
    start, block, end = _BLOCK.search(text).groups()
    for name, value in values.items():
        shown = f'{name} = {value!r}'
        if len(shown) > 88:
            items = ''.join(f'    {item!r},\n' for item in value)
            shown = f'{name} = (\n{items})'
        line = re.compile(rf'^{name} = .*?(  #.*)?$', re.M)
        if not line.search(block):
            raise KeyError(f'the block has no {name}')
        note = ''.join(f'# {x}\n' for x in (notes or {}).get(name, '').splitlines())
        block = line.sub(lambda m, s=shown, n=note: f'{n}{s}{m[1] or ""}', block)
    return _BLOCK.sub(lambda _: start + block + end, text)


def write_report(path: Path, lines: list[str], problems: Problems) -> None:
    """Write what was found, with the name of every file."""
    text = [f'{TITLE}\n', *lines, '', f'problems: {len(problems.found)} kinds']
    for kind, places in problems.found.items():
        text += ['', f'{len(places)} x {kind}', *(f'  {name}' for name in places)]
    write_text(path, '\n'.join(text) + '\n')
