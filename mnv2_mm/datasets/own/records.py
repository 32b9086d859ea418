"""One image with its labels in any annotation format, and the list of problems.

Every reader returns :class:`Record`, every step after it works on this list alone. The
records of globox hold a Python object for each box; here boxes are one array an image,
so that 100,000 images fit into little memory.
"""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mnv2_mm.datasets.checks.source import listed

SPLITS = ('train', 'val', 'test')


@dataclass(slots=True)
class Record:
    """An image, its labels, and the split that it comes from."""

    path: str  #: of the image
    size: tuple[int, int]  #: (width, height) in pixels
    labels: list[str]  #: class of each box, or the one of the image
    boxes: np.ndarray | None = None  #: (N, 4) as x1, y1, x2, y2 in pixels
    mask: str = ''  #: path of the PNG mask
    binary: bool = False  #: whether the objects of its mask are 255, not 1
    stored: bool = False  #: whether its boxes are those before the EXIF orientation
    split: str = ''  #: 'train', 'val', 'test' or '' where the data has none
    #: COCO masks: (class, segmentation); the class is None for a crowd, '' if unknown
    shapes: list = field(default_factory=list)
    shape_size: tuple[int, int] | None = None  #: (width, height) in which they are


class Problems:
    """What is wrong with a data set: each kind with all places where it is."""

    def __init__(self) -> None:
        self.found: dict[str, list[str]] = {}

    def add(self, kind: str, places: str | Iterable[str]) -> None:
        """Record a kind of problem (with its remedy) at one place or several."""
        places = [places] if isinstance(places, str) else list(places)
        if places:
            self.found.setdefault(kind, []).extend(places)

    def lines(self, most: int = 3) -> Iterator[str]:
        """One line a kind: the count, the kind, the first few places."""
        for kind, places in self.found.items():
            yield f'{len(places)} x {kind}: {listed(places, most)}'


def stem_of(path: str) -> str:
    """Name of a file without folders and ending."""
    return os.path.splitext(os.path.basename(path))[0]


class ImageIndex:
    """The images below a folder, found by the names that annotations give."""

    def __init__(self, root: Path, names: Iterable[str]) -> None:
        self.root = root
        self.names = sorted(names)  #: relative to the root
        self._by_key: dict[str, list[str]] = {}
        for name in self.names:
            base = os.path.basename(name)
            for key in {name, base, stem_of(base)}:
                self._by_key.setdefault(key, []).append(name)

    def find(self, given: str, near: str) -> str | list[str]:
        """Name of the image that an annotation file calls ``given``.

        Of several images of one name the one is taken whose folders are most like
        those of the annotation file ``near`` (``labels/a/1.txt``: ``images/a/1.jpg``).

        Returns:
            The name, or all candidates if there is none or more than one.
        """
        given = given.replace('\\', '/')
        base = os.path.basename(given)
        parts = os.path.normpath(given).split('/')
        # a list of another machine has folders before the ones that are here
        ends = ('/'.join(parts[i:]) for i in range(len(parts) - 1))
        for key in (*ends, base, stem_of(base)):
            found = self._by_key.get(key, [])
            if len(found) > 1:
                # the folders, and for instances_train2017.json its words
                wanted = [*near.split('/'), *re.findall(r'[A-Za-z]+\d*', near)]
                path = os.path.dirname(os.path.normpath(given)).split('/')
                score = [self._alike(name, wanted, path) for name in found]
                found = [
                    n for n, s in zip(found, score, strict=True) if s == max(score)
                ]
            if found:
                return found[0] if len(found) == 1 else found
        return []

    @staticmethod
    def _alike(name: str, near: list[str], given: list[str]) -> tuple[int, int]:
        """Folders that a name shares with the others; then, fewest of its own."""
        folders = [*filter(None, os.path.dirname(name).split('/'))]
        shared = [(part in near) + 2 * (part in given) for part in folders]
        return sum(shared), -shared.count(0)
