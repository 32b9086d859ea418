"""Read boxes from tables: CSV files with a line a box, and those of Open Images."""

import csv
from collections.abc import Iterator
from functools import partial
from typing import Any

from mnv2_mm.datasets.own.formats import Files
from mnv2_mm.datasets.own.parsing import (
    LEFT_OUT,
    Box,
    Raw,
    Size,
    globox,
    parsed,
    read_text,
)
from mnv2_mm.datasets.own.records import Problems

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
    'group': ('isgroupof',),
}
_NEEDED = ('image', 'label', 'x1', 'y1', 'x2', 'y2')


def read_table(
    files: Files, names: list[str], problems: Problems, *, relative: bool
) -> Iterator[Raw]:
    """One line a box, with a header or as path, x1, y1, x2, y2, class.

    Corners are in pixels, or ``relative`` to the image as those of Open Images, which
    has its class names in a file of their own.
    """
    package = globox()
    display: dict[str, str] = {}
    for name in (n for n in files.others if 'class-descriptions' in n):
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
        if absent := [_COLUMNS[key][0] for key in _NEEDED if place[key] < 0]:
            kind = f'file left out, its header has no column {" or ".join(absent)}'
            problems.add(kind, name)
            continue
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
            if place['group'] >= 0:  # one box around many objects
                single = [r for r in rows_of if r[place['group']].strip() != '1']
                kind = f'{LEFT_OUT}, it is a group (IsGroupOf)'
                problems.add(kind, [where] * (len(rows_of) - len(single)))
                rows_of = single
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

    return parsed(rows, parse, where, problems)
