"""What the readers of all annotation formats share: texts, class names, boxes."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from mnv2_mm.datasets.own.formats import NAME_FILES, Files
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
    shapes: list | None = None  #: COCO masks, as of a record


def globox() -> Any:
    """The package, or one message with its command."""
    try:
        import globox
    except ImportError:
        raise InputError(
            'reading annotations needs globox (0.2 MB): pip install globox'
        ) from None
    return globox


def read_text(path: Path) -> str:
    """Text of a file without a byte-order mark; any line ends."""
    return path.read_bytes().decode('utf-8-sig', 'replace')


def yaml_contents(files: Files) -> Iterator[dict]:
    """The YAML files that hold a dictionary, as YOLO's data.yaml does."""
    for name in files.yamls:
        text = read_text(files.root / name)
        try:
            content = yaml.safe_load(text)
        except yaml.YAMLError as error:
            if not re.search(r'^(names|train|val|test)\s*:', text, re.M):
                continue  # of another program
            raise InputError(f'{files.root / name} is no YAML: {error}') from error
        if isinstance(content, dict):
            yield content


def class_names(format: str, files: Files) -> list[str]:
    """Class names in the order of a file that lists them; empty without one."""
    if format != 'yolo' and format != 'masks':
        return []
    for content in yaml_contents(files):
        names = content.get('names')
        if isinstance(names, dict):
            names = _by_number(names)
        if names:
            return [str(n) for n in names]
    for name in files.texts:
        if os.path.basename(name).lower() in NAME_FILES or name.endswith('.names'):
            lines = map(str.strip, read_text(files.root / name).splitlines())
            return [line for line in lines if line]
    return []


def _by_number(names: dict) -> list[str]:
    """Names by class number, which YAML may hold as text; gaps get ``class_N``."""
    try:
        numbered = {int(key): str(name) for key, name in names.items()}
    except ValueError as error:
        raise InputError(f'names of a data.yaml: {error}; give numbers') from error
    return [numbered.get(n, f'class_{n}') for n in range(max(numbered, default=-1) + 1)]


def mask_numbers(path: Path) -> np.ndarray | None:
    """Class numbers of a mask (H, W), as mmseg reads them: not the palette's colors.

    Returns:
        None if the image has colors.

    Raises:
        OSError, SyntaxError: it is damaged; Pillow has both.
    """
    with Image.open(path) as image:
        if image.mode in ('P', 'L', 'I', 'I;16', '1'):
            return np.asarray(image).astype(int)
    return None


def parsed(
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
            kind = f'{LEFT_OUT}, it cannot be read; correct it'
            problems.add(kind, f'{where}: {reason}')
    return boxes
