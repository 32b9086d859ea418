"""Read boxes of seven annotation formats into records, box by box, by globox.

globox also reads whole folders. It then stops at the first error, matches images by
their name without folders, and takes one ending. So its parsers of one box are called
here, and each box that they refuse is reported with its file.
"""

import json
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from mnv2_mm.datasets.own.formats import Files
from mnv2_mm.datasets.own.parsing import (
    LEFT_OUT,
    Box,
    Raw,
    Size,
    class_names,
    globox,
    parsed,
    read_text,
)
from mnv2_mm.datasets.own.records import Problems, stem_of
from mnv2_mm.datasets.own.tables import read_table


def read_raw(format: str, files: Files, problems: Problems) -> Iterator[Raw]:
    """Read all annotation files of a format."""
    return _READERS[format](files, files.formats.get(format, []), problems)


def _yolo(files: Files, names: list[str], problems: Problems) -> Iterator[Raw]:
    """One text file an image: class number, center and size relative to the image."""
    classes = class_names('yolo', files)
    images = {stem_of(n) for n in files.images}
    # a file of an image whose first line has no numbers is a broken label file
    broken = [n for n in files.texts if stem_of(n) in images]
    for name in [*names, *broken]:
        lines = read_text(files.root / name).splitlines()
        lines = [line for line in lines if line.strip()]
        boxes = partial(_yolo_boxes, lines, name, len(classes), problems)
        yield Raw(stem_of(name), name, boxes)


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
    for label, corners in parsed(lines, parse, name, problems):
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
        boxes = partial(parsed, root.findall('object'), box.from_xml, name, problems)
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
        boxes = partial(parsed, area, box.from_labelme, name, problems)
        yield Raw(given, name, boxes, size)


def _cvat(files: Files, names: list[str], problems: Problems) -> Iterator[Raw]:
    """One XML file for many images; a polygon counts by the box around it."""
    box = globox().BoundingBox

    def parse(node: ET.Element) -> Any:
        if float(node.get('rotation', 0)):
            raise ValueError('it is rotated')
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
            boxes = partial(parsed, nodes, parse, given, problems)
            sides = image.get('width', ''), image.get('height', '')
            size = tuple(map(int, sides)) if all(map(str.isdecimal, sides)) else None
            yield Raw(given, name, boxes, size, image.get('subset', ''))


def _coco(files: Files, names: list[str], problems: Problems) -> Iterator[Raw]:
    """One JSON file for many images."""
    package = globox()
    for name in names:
        try:
            content = json.loads(read_text(files.root / name))
            for key in ('images', 'categories'):
                counts = Counter(row['id'] for row in content[key])
                if twice := [number for number, count in counts.items() if count > 1]:
                    raise ValueError(f'several {key} have the id {twice[0]}')
            labels = {r['id']: str(r['name']).strip() for r in content['categories']}
            files.classes += labels.values()
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
            given, of_image = str(image.get('file_name')), rows[image['id']]
            boxes = partial(_coco_boxes, of_image, parse, f'{name}: {given}', problems)
            shapes = [
                (labels.get(row.get('category_id'), ''), row['segmentation'])
                if not row.get('iscrowd')
                else (None, row['segmentation'])
                for row in of_image
                if row.get('segmentation')
            ]
            sides = image.get('width'), image.get('height')
            size = sides if all(isinstance(s, int) for s in sides) else None
            yield Raw(given, name, boxes, size, shapes=shapes)


def _coco_boxes(
    rows: list[dict],
    parse: Callable[[dict], Any],
    where: str,
    problems: Problems,
    size: Size,
) -> list[Box]:
    crowds = [where for row in rows if row.get('iscrowd')]
    problems.add(f'{LEFT_OUT}, it is a crowd (iscrowd)', crowds)
    rest = (row for row in rows if not row.get('iscrowd'))
    return parsed(rest, parse, where, problems)


_READERS = {
    'yolo': _yolo,
    'voc': _voc,
    'labelme': _labelme,
    'cvat': _cvat,
    'coco': _coco,
    'csv': partial(read_table, relative=False),
    'openimages': partial(read_table, relative=True),
}
