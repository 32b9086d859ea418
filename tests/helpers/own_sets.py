"""Small data sets in every annotation format, written by globox where it can."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

WIDTH, HEIGHT = 80, 60
#: Boxes of each image, as class, x1, y1, x2, y2.
TRUTH = {
    f'photo {n}.jpg': [
        ('cat', 5.0 + n, 10.0, 45.0, 50.0),
        *([('dog', 50.0, 8.0, 74.0, 40.0)] if n % 2 else []),
    ]
    for n in range(10)
}
CLASSES = ['cat', 'dog']


def write_image(path: Path, *, seed: int = 0, size: tuple = (WIDTH, HEIGHT)) -> None:
    """A small JPEG of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3))
    cv2.imwrite(str(path), noise.astype(np.uint8))


def write_set(root: Path, format: str, truth: Mapping[str, list] = TRUTH) -> Path:
    """Write images and annotations of one format; returns the folder."""
    from globox import Annotation, AnnotationSet, BoundingBox

    for number, name in enumerate(truth):
        write_image(root / 'images' / name, seed=number)
    boxes = {
        name: [
            BoundingBox(label=c, xmin=x1, ymin=y1, xmax=x2, ymax=y2)
            for c, x1, y1, x2, y2 in rows
        ]
        for name, rows in truth.items()
    }
    made = AnnotationSet(
        Annotation(name, (WIDTH, HEIGHT), found) for name, found in boxes.items()
    )
    labels = root / 'labels'
    labels.mkdir(exist_ok=True)
    if format == 'yolo':
        numbers = {name: number for number, name in enumerate(CLASSES)}
        made.save_yolo_v5(labels, label_to_id=numbers)
        (root / 'data.yaml').write_text(json.dumps({'names': CLASSES}))
    elif format == 'csv':
        with open(root / 'labels.csv', 'w', newline='') as file:
            writer = csv.writer(file)
            columns = 'filename,width,height,class,xmin,ymin,xmax,ymax'
            writer.writerow(columns.split(','))
            for name, rows in truth.items():
                writer.writerows([name, WIDTH, HEIGHT, *row] for row in rows)
    elif format in ('voc', 'labelme'):
        {'voc': made.save_xml, 'labelme': made.save_labelme}[format](labels)
    elif format == 'coco':
        made.save_coco(root / 'labels.json', auto_ids=True)
    elif format == 'cvat':
        made.save_cvat(root / 'labels.xml')
    elif format == 'openimages':
        made.save_openimage(root / 'labels.csv')
    return root
