"""From the files of a folder to checked records: images found, boxes made usable.

What is left out or changed is recorded in ``Problems``, with the file.
"""

from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np

from mnv2_mm.datasets.checks.source import evenly
from mnv2_mm.datasets.own.formats import FORMATS, Files, class_folders, mask_pairs
from mnv2_mm.datasets.own.parsing import (
    LEFT_OUT,
    Box,
    Raw,
    Size,
    class_names,
    mask_numbers,
)
from mnv2_mm.datasets.own.readers import read_raw
from mnv2_mm.datasets.own.records import ImageIndex, Problems, Record, stem_of
from mnv2_mm.runtime.image_files import loaded_size, problem_of_file
from mnv2_mm.utils.errors import InputError

#: Image files that are read to the end; of the others the header is read.
MAX_OPENED = 2000
Tick = Callable[[], object]


def collect(
    format: str, files: Files, problems: Problems, tick: Tick, *, masks: bool = False
) -> tuple[list[Record], list[str]]:
    """Read one format; ``masks`` takes COCO's masks in place of its boxes.

    Returns:
        The records, sorted by path, and the classes in order.
    """
    if format == 'masks':
        return _masks(files, problems, tick)
    if format == 'folders':
        return _class_folders(files, problems, tick)
    records = _boxes(format, files, problems, tick, masks=masks)
    if masks:
        return records, _mask_classes(records, problems)
    return records, _box_classes(format, files, records, problems)


def _class_folders(
    files: Files, problems: Problems, tick: Tick
) -> tuple[list[Record], list[str]]:
    """Images in folders named after their class."""
    folders = class_folders(files)
    sizes = _sizes(folders, files, problems, tick)
    records = [Record(name, size, [folders[name]]) for name, size in sizes]
    rest = [name for name in files.images if name not in folders]
    problems.add('image in no class folder; it is left out', rest)
    records = _open_some(records, files, problems)
    return records, sorted({record.labels[0] for record in records})


def _mask_classes(records: list[Record], problems: Problems) -> list[str]:
    """Classes of COCO's masks, which become the labels of the records."""
    for record in records:
        if any(name == '' for name, _ in record.shapes):
            kind = 'mask left out, its category is not in the list; correct it'
            problems.add(kind, record.path)
            record.shapes = [shape for shape in record.shapes if shape[0] != '']
        record.labels = [name for name, _ in record.shapes if name]
        record.boxes = None
    names = {label for record in records for label in record.labels}
    return ['background', *sorted(names - {'background'})]


def _box_classes(
    format: str, files: Files, records: list[Record], problems: Problems
) -> list[str]:
    """Classes that have a box; YOLO's numbers become their names in the records."""
    names = class_names(format, files)
    if format == 'yolo':
        if not names:
            numbers = (int(label) for record in records for label in record.labels)
            names = [f'class_{n}' for n in range(max(numbers, default=-1) + 1)]
            kind = 'no class names (data.yaml or classes.txt); numbers are taken'
            problems.add(kind, FORMATS[format])
        for record in records:
            record.labels = [names[int(label)] for label in record.labels]
    counts = Counter(label for record in records for label in record.labels)
    names = list(dict.fromkeys(names or files.classes or sorted(counts)))
    empty = [name for name in names if not counts[name]]
    problems.add('class without a box; it is left out', empty)
    classes = [name for name in names if counts[name]]
    folded = Counter(name.lower() for name in classes)
    twins = [name for name in classes if folded[name.lower()] > 1]
    problems.add('class that differs from another by capitals; write one', twins)
    return classes


def _boxes(
    format: str, files: Files, problems: Problems, tick: Tick, *, masks: bool
) -> list[Record]:
    """Records of a format of boxes, with the background images of YOLO."""
    images = set(files.images) - set(mask_pairs(files).values())
    index = ImageIndex(files.root, images)
    records: dict[str, Record] = {}
    annotated = set()
    for raw in read_raw(format, files, problems):
        tick()
        name = _image_of(raw, format, index, problems)
        if name is None:
            continue
        if name in annotated:
            problems.add('image annotated twice; the second one is left out', raw.near)
            continue
        annotated.add(name)
        size = _size(name, files, problems)
        if size is None:
            continue
        stored = raw.size is not None and raw.size == size[::-1] != size
        stored &= loaded_size(files.root / name, color_type='unchanged') == raw.size
        if stored:
            kind = 'EXIF orientation that the boxes ignore; it is written without'
            problems.add(kind, name)
            size = size[::-1]
        if masks:
            raw.boxes = lambda _: []
        if (boxes := _scaled(raw, size, problems)) is None:
            continue
        boxes = _usable(boxes, size, f'{raw.near}: {name}', problems)
        records[name] = Record(
            name,
            size,
            [label for label, _ in boxes],
            np.array([corners for _, corners in boxes], float).reshape(-1, 4),
            split=raw.split or _file_split(format, raw.near),
            stored=stored,
            shapes=raw.shapes or [] if masks else [],  # they are large
            shape_size=raw.size if raw.size and min(raw.size) > 0 else None,
        )
    rest = [name for name in index.names if name not in annotated]
    if format == 'yolo':
        problems.add('image without a text file; taken as one without objects', rest)
        for name in rest:
            if (size := _size(name, files, problems)) is not None:
                records[name] = Record(name, size, [], np.zeros((0, 4)))
    else:
        problems.add('image without annotation; it is left out', rest)
    return _open_some([records[name] for name in sorted(records)], files, problems)


def _file_split(format: str, near: str) -> str:
    """Where one file annotates many images, its name may say the split."""
    return near if format in ('coco', 'cvat', 'csv', 'openimages') else ''


def _image_of(
    raw: Raw, format: str, index: ImageIndex, problems: Problems
) -> str | None:
    """Name of the image of an annotation."""
    stem = stem_of(raw.near)
    own = index.find(stem, raw.near) if format in ('voc', 'labelme') else []
    # many sets were renamed without the names in their files
    found = own if isinstance(own, str) else index.find(raw.given or stem, raw.near)
    if isinstance(found, str):
        return found
    kind = 'its image is ambiguous' if found else 'its image is missing'
    problems.add(f'annotation left out, {kind}', f'{raw.near}: {raw.given or stem}')
    return None


def _size(name: str, files: Files, problems: Problems) -> Size | None:
    size = loaded_size(files.root / name)
    if size is None:
        reason = problem_of_file(files.root / name) or 'is no image'
        problems.add(f'image left out, it {reason}', name)
    return size


def _sizes(
    names: Iterable[str], files: Files, problems: Problems, tick: Tick
) -> list[tuple[str, Size]]:
    found = []
    for name in sorted(names):
        tick()
        if (size := _size(name, files, problems)) is not None:
            found.append((name, size))
    return found


def _scaled(raw: Raw, size: Size, problems: Problems) -> list[Box] | None:
    """Boxes in pixels of the image, whose size the annotation may state otherwise."""
    stated = raw.size if raw.size and min(raw.size) > 0 else size
    boxes = raw.boxes(stated)
    if stated == size:
        return boxes
    shown = f'{raw.near}: {stated[0]}x{stated[1]}, the image {size[0]}x{size[1]}'
    factors = size[0] / stated[0], size[1] / stated[1]
    if abs(factors[0] / factors[1] - 1) > 0.02:
        problems.add('image left out, it has another shape than stated', shown)
        return None
    problems.add('image of another size than stated; its labels are scaled', shown)
    scale = np.array(factors * 2)
    return [(label, tuple((corners * scale).tolist())) for label, corners in boxes]


def _usable(boxes: list[Box], size: Size, where: str, problems: Problems) -> list[Box]:
    """Boxes inside of the image, of at least one pixel; each once."""
    kept: dict[Box, None] = {}
    for label, corners in boxes:
        x1, y1, x2, y2 = np.clip(corners, 0, (*size, *size)).tolist()
        if not np.isfinite(corners).all():
            kind = f'{LEFT_OUT}, it has no numbers'
        elif not label:
            kind = f'{LEFT_OUT}, it has no class'
        elif max(corners) <= 1 and min(size) > 8:
            kind = f'{LEFT_OUT}, it has shares of the image, where pixels are; multiply'
        elif min(x2 - x1, y2 - y1) < 1:
            thin = min(corners[2] - corners[0], corners[3] - corners[1]) < 1
            kind = f'{LEFT_OUT}, {"under a pixel" if thin else "outside of its image"}'
        elif (label, (x1, y1, x2, y2)) in kept:
            kind = f'{LEFT_OUT}, it is there twice'
        else:
            if np.abs(np.subtract(corners, (x1, y1, x2, y2))).max() > 2:
                problems.add('box reaches out of its image; it is cut', where)
            kept[label, (x1, y1, x2, y2)] = None
            continue
        problems.add(kind, where)
    return list(kept)


def _open_some(records: list[Record], files: Files, problems: Problems) -> list[Record]:
    """Read files to their end, and leave out those that are cut off."""
    broken = set()
    for record in evenly(records, MAX_OPENED):
        if problem := problem_of_file(files.root / record.path):
            problems.add(f'image left out, it {problem}', record.path)
            broken.add(record.path)
    return [record for record in records if record.path not in broken]


def _masks(
    files: Files, problems: Problems, tick: Tick
) -> tuple[list[Record], list[str]]:
    """Images with PNG masks of one label a pixel."""
    pairs, records, seen = mask_pairs(files), [], Counter()
    for name, size in _sizes(pairs, files, problems, tick):
        try:
            mask = mask_numbers(files.root / pairs[name])
        except (OSError, SyntaxError):
            problems.add('mask left out, it is damaged', pairs[name])
            continue
        if mask is None:
            kind = 'mask left out, it has colors; write one class number a pixel'
        elif mask.shape[::-1] != size:
            kind = 'mask left out, it has another size than its image'
        elif mask.max(initial=0) > 255:
            kind = 'mask left out, it has numbers over 255; they are read as 8 bits'
        else:
            found = np.unique(mask).tolist()
            seen.update(found)
            records.append(Record(name, size, list(map(str, found)), mask=pairs[name]))
            continue
        problems.add(kind, pairs[name])
    records = _open_some(records, files, problems)
    others = set(files.images) - pairs.keys() - set(pairs.values())
    problems.add('image without a mask; it is left out', sorted(others))
    if not records:
        shown = '\n'.join(problems.lines())
        hint = ' (class folders: --task cls)' if class_folders(files) else ''
        raise InputError(f'no mask can be used{hint}:\n{shown}')
    names = class_names('masks', files)
    if set(seen) <= {0, 255} and 255 in seen:
        problems.add('masks of 0 and 255; 255 is written as class 1', FORMATS['masks'])
        classes = names if len(names) == 2 else ['background', 'object']
        for record in records:
            record.binary = True
            record.labels = [classes[label != '0'] for label in record.labels]
        return records, classes
    count = max(label for label in seen if label != 255) + 1
    empty = [f'class {n}' for n in range(count) if n not in seen]
    problems.add('class number that no mask has; write 0, 1, 2, ...', empty)
    if names and len(names) < count:
        problems.add(f'labels over {len(names) - 1} have no name', 'class names')
    rest = [f'class_{number}' for number in range(len(names) or 1, count)]
    classes = [*(names or ['background']), *rest]
    for record in records:
        record.labels = [classes[int(x)] for x in record.labels if x != '255']
    return records, classes
