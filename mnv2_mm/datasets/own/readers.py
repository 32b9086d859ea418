"""Read boxes of seven annotation forms into records, box by box, by globox.

globox also reads whole folders. It then stops at the first error, matches images by
their name without folders, and takes one ending. So its parsers of one box are called
here, and each box that they refuse is reported with its file.
"""

import csv
import json
import os
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from mnv2_mm.datasets.own.forms import NAME_FILES, Files
from mnv2_mm.datasets.own.records import Problems
from mnv2_mm.utils.errors import InputError

Size = tuple[int, int]
#: Class and corners (x1, y1, x2, y2) in pixels.
Box = tuple[str, tuple[float, float, float, float]]
LEFT_OUT = 'box left out'


@dataclass(slots=True)
class Raw:
    """What an annotation file says of one image."""

    given: str  #: name of the image as written there
    near: str  #: the annotation file, for messages and to find the image
    boxes: Callable[[Size], list[Box]]  #: parses, given the size of the image
    size: Size | None = None  #: as written there
    split: str = ''
    shapes: list | None = None  #: COCO masks: (class, segmentation)


def globox() -> Any:
    """The package, or one message with its command."""
    try:
        import globox
    except ImportError:
        raise InputError(
            'reading annotations needs globox (0.2 MB): pip install globox'
        ) from None
    return globox


def read_raw(form: str, files: Files, problems: Problems) -> Iterator[Raw]:
    """Read all annotation files of a form."""
    return _READERS[form](files, files.forms.get(form, []), problems)


def read_text(path: Path) -> str:
    """Text of a file without a byte-order mark; any line ends."""
    return path.read_bytes().decode('utf-8-sig', 'replace')


def class_names(form: str, files: Files) -> list[str]:
    """Class names in the order of a file that lists them; empty without one."""
    if form != 'yolo' and form != 'masks':
        return []
    for name in files.yamls:
        content = yaml.safe_load(read_text(files.root / name))
        names = content.get('names') if isinstance(content, dict) else None
        if isinstance(names, dict):
            names = [names[key] for key in sorted(names)]
        if names:
            return [str(n) for n in names]
    for name in files.texts:
        if os.path.basename(name).lower() in NAME_FILES or name.endswith('.names'):
            lines = map(str.strip, read_text(files.root / name).splitlines())
            return [line for line in lines if line]
    return []


def _parsed(
    rows: Iterable[Any],
    parse: Callable[[Any], Any],
    where: str,
    problems: Problems,
    size: Size | None = None,
) -> list[Box]:
    """Boxes of globox for rows; those that it refuses are reported.

    ``size`` is for readers of pixels, which do not need it.
    """
    boxes = []
    refused = (AssertionError, ValueError, KeyError, TypeError, globox().ParsingError)
    for row in rows:
        try:
            box = parse(row)
            boxes.append((str(box.label).strip(), box.ltrb))
        except refused as error:
            reason = ' '.join(str(error).split())[:80] or type(error).__name__
            problems.add(f'{LEFT_OUT}, it cannot be read ({reason}); correct it', where)
    return boxes


def _yolo(files: Files, names: list[str], problems: Problems) -> Iterator[Raw]:
    """One text file an image: class number, center and size relative to the image."""
    classes = class_names('yolo', files)
    images = {_stem(n) for n in files.images}
    # a file of an image whose first line has no numbers is a broken label file
    broken = [n for n in files.texts if _stem(n) in images]
    for name in [*names, *broken]:
        lines = read_text(files.root / name).splitlines()
        lines = [line for line in lines if line.strip()]
        boxes = partial(_yolo_boxes, lines, name, len(classes), problems)
        yield Raw(_stem(name), name, boxes)


def _yolo_boxes(
    lines: list[str], name: str, classes: int, problems: Problems, size: Size
) -> list[Box]:
    """Boxes of the lines; a line of more than six values is a polygon."""
    box = globox().BoundingBox

    def parse(line: str) -> Any:
        polygon = len(line.split()) > 6
        return (box.from_yolo_seg if polygon else box.from_yolo_v5)(
            line, image_size=size
        )

    kept = []
    for label, corners in _parsed(lines, parse, name, problems):
        if max(corners[2] / size[0], corners[3] / size[1]) > 2:
            kind = 'it has pixels, where YOLO has shares of the image; divide it'
        elif not label.isdecimal():
            kind = 'its class is no number'
        elif classes and int(label) >= classes:
            kind = f'its class number is not in 0 to {classes - 1}; add a name'
        else:
            kept.append((label, corners))
            continue
        problems.add(f'{LEFT_OUT}, {kind}', name)
    return kept


def _stem(name: str) -> str:
    return os.path.splitext(os.path.basename(name))[0]


def _xml(files: Files, name: str, problems: Problems) -> ET.Element | None:
    try:
        return ET.fromstring(read_text(files.root / name))
    except (ET.ParseError, ValueError) as error:
        problems.add(f'file left out, it is no XML ({error}); write it again', name)
        return None


def _voc(files: Files, names: list[str], problems: Problems) -> Iterator[Raw]:
    """One XML file an image."""
    box = globox().BoundingBox
    for name in names:
        root = _xml(files, name, problems)
        if root is None:
            continue
        sides = [root.findtext(f'size/{side}') or '' for side in ('width', 'height')]
        size = tuple(map(int, sides)) if all(map(str.isdecimal, sides)) else None
        boxes = partial(_parsed, root.findall('object'), box.from_xml, name, problems)
        yield Raw((root.findtext('filename') or '').strip(), name, boxes, size)


def _labelme(files: Files, names: list[str], problems: Problems) -> Iterator[Raw]:
    """One JSON file an image; a polygon counts by the box around it."""
    box = globox().BoundingBox
    for name in names:
        try:
            content = json.loads(read_text(files.root / name))
            size = int(content['imageWidth']), int(content['imageHeight'])
            given, shapes = str(content['imagePath']), list(content['shapes'])
        except (ValueError, KeyError, TypeError) as error:
            problems.add(f'file left out, it is no LabelMe JSON ({error})', name)
            continue
        area = [s for s in shapes if s.get('shape_type') in ('rectangle', 'polygon')]
        if len(area) < len(shapes):
            problems.add('shapes left out: neither rectangle nor polygon', name)
        boxes = partial(_parsed, area, box.from_labelme, name, problems)
        yield Raw(given, name, boxes, size)


def _cvat(files: Files, names: list[str], problems: Problems) -> Iterator[Raw]:
    """One XML file for many images; a polygon counts by the box around it."""
    box = globox().BoundingBox

    def parse(node: ET.Element) -> Any:
        if node.tag == 'box':
            return box.from_cvat(node)
        pairs = (pair.split(',') for pair in node.get('points', '').split(';'))
        points = [[float(x), float(y)] for x, y in pairs]
        return box.from_labelme({'label': node.get('label'), 'points': points})

    for name in names:
        root = _xml(files, name, problems)
        for image in root.iter('image') if root is not None else ():
            given = image.get('name', '')
            nodes = [n for n in image if n.tag in ('box', 'polygon')]
            if len(nodes) < sum(n.tag != 'tag' for n in image):
                problems.add('shapes left out: neither box nor polygon', given)
            boxes = partial(_parsed, nodes, parse, given, problems)
            sides = image.get('width', ''), image.get('height', '')
            size = tuple(map(int, sides)) if all(map(str.isdecimal, sides)) else None
            yield Raw(given, name, boxes, size, image.get('subset', ''))


def _coco(files: Files, names: list[str], problems: Problems) -> Iterator[Raw]:
    """One JSON file for many images."""
    package = globox()
    for name in names:
        try:
            content = json.loads(read_text(files.root / name))
            labels = {row['id']: str(row['name']) for row in content['categories']}
            rows: dict[Any, list] = {image['id']: [] for image in content['images']}
            for row in content['annotations']:
                if row.get('image_id') in rows:
                    rows[row['image_id']].append(row)
                else:
                    problems.add(f'{LEFT_OUT}, its image_id is of no image', name)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            problems.add(f'file left out, it is no COCO JSON ({error!r})', name)
            continue

        def parse(row: dict, labels: dict = labels) -> Any:
            corners = tuple(float(value) for value in row['bbox'])
            return package.BoundingBox.create(
                label=labels[row['category_id']],
                coords=corners,
                box_format=package.BoxFormat.LTWH,
            )

        for image in content['images']:
            given, of_image = str(image.get('file_name')), rows.pop(image['id'], [])
            where = f'{name}: {given}'
            boxes = partial(_parsed, of_image, parse, where, problems)
            shapes = [
                (labels.get(row.get('category_id'), ''), row['segmentation'])
                for row in of_image
                if row.get('segmentation')
            ]
            sides = image.get('width'), image.get('height')
            size = sides if all(isinstance(s, int) for s in sides) else None
            yield Raw(given, name, boxes, size, shapes=shapes)


#: Names of the columns of a CSV file, in lower case.
_COLUMNS = {
    'image': ('filename', 'imageid', 'image', 'image_path', 'path', 'img', 'file'),
    'label': ('class', 'labelname', 'label', 'name', 'class_name', 'category'),
    'x1': ('xmin', 'x1', 'x_min', 'left'),
    'y1': ('ymin', 'y1', 'y_min', 'top'),
    'x2': ('xmax', 'x2', 'x_max', 'right'),
    'y2': ('ymax', 'y2', 'y_max', 'bottom'),
    'width': ('width', 'image_width'),
    'height': ('height', 'image_height'),
}


def _csv(files: Files, names: list[str], problems: Problems) -> Iterator[Raw]:
    """One line a box in pixels, with a header or as path, x1, y1, x2, y2, class."""
    yield from _tables(files, names, problems, relative=False)


def _openimages(files: Files, names: list[str], problems: Problems) -> Iterator[Raw]:
    """One line a box, relative to the image; class names from their own file."""
    yield from _tables(files, names, problems, relative=True)


def _tables(
    files: Files, names: list[str], problems: Problems, *, relative: bool
) -> Iterator[Raw]:
    package = globox()
    lists = [n for n in files.others if 'class-descriptions' in n]
    display: dict[str, str] = {}
    for name in lists:
        display |= package.AnnotationSet.parse_mid_file(files.root / name)
    for name in names:
        lines = read_text(files.root / name).splitlines()
        rows = csv.reader(lines, delimiter=';' if ';' in lines[0] else ',')
        header = [column.strip().lower() for column in next(rows)]
        place = {
            key: next((header.index(n) for n in known if n in header), -1)
            for key, known in _COLUMNS.items()
        }
        table = list(rows)
        if place['x1'] < 0:  # no header
            place |= dict(image=0, x1=1, y1=2, x2=3, y2=4, label=5)
            table.insert(0, next(csv.reader(lines[:1])))
        images: dict[str, list] = {}
        for row in table:
            if len(row) > max(place.values()):
                images.setdefault(row[place['image']], []).append(row)
            elif row:
                problems.add('line left out, it has too few columns', name)

        for given, of_image in images.items():
            sides = [
                of_image[0][place[k]] for k in ('width', 'height') if place[k] >= 0
            ]
            size = tuple(map(int, sides)) if all(map(str.isdecimal, sides)) else None
            where = f'{name}: {given}'
            # a line without a box is an image without objects
            rows_of = [row for row in of_image if row[place['x1']].strip()]
            arguments = (rows_of, place, display, where, problems)
            boxes = partial(_table_boxes, *arguments, relative=relative)
            yield Raw(given, name, boxes, size if sides else None)


def _table_boxes(
    rows: list[list[str]],
    place: dict[str, int],
    display: dict[str, str],
    where: str,
    problems: Problems,
    size: Size,
    *,
    relative: bool,
) -> list[Box]:
    """Boxes of the lines of one image, by the places of their columns."""

    def parse(row: list[str]) -> Any:
        label = row[place['label']].strip()
        return globox().BoundingBox.create(
            label=display.get(label, label),
            coords=tuple(float(row[place[key]]) for key in ('x1', 'y1', 'x2', 'y2')),
            relative=relative,
            image_size=size,
        )

    return _parsed(rows, parse, where, problems)


_READERS = {
    'yolo': _yolo,
    'voc': _voc,
    'labelme': _labelme,
    'cvat': _cvat,
    'coco': _coco,
    'csv': _csv,
    'openimages': _openimages,
}
