"""Split a data set into train and val: by class, by seed, frames of a video together.

scikit-learn has no split that is both stratified over several labels an image and by
group; that of iterative-stratification has no groups.
"""

import os
import re
from collections import Counter

import numpy as np

from mnv2_mm.datasets.own.formats import Files
from mnv2_mm.datasets.own.parsing import read_text, yaml_contents
from mnv2_mm.datasets.own.records import SPLITS, ImageIndex, Problems, Record, stem_of
from mnv2_mm.utils.errors import InputError

VAL_SHARE = 0.2
MAX_VAL = 2000  # images; more take time at each evaluation
_NAMES = {'train': 'train', 'training': 'train', 'val': 'val', 'valid': 'val'}
_NAMES |= {'validation': 'val', 'dev': 'val', 'test': 'test', 'testing': 'test'}
#: Copies that Roboflow makes of one image differ after this.
_COPY = re.compile(r'\.rf\.[0-9a-f]{8,}$')
_VIDEO = re.compile(r'(?<![a-z])(frame|clip|video)(?![a-z])|\.rf\.', re.I)


def split_records(
    records: list[Record], files: Files, problems: Problems, seed: int
) -> str:
    """Give each record its split; returns how, in a sentence."""
    if len(records) < 2:
        raise InputError(f'{files.root} has one image that can be used; two are needed')
    lists, folders = _listed(files, records), _yaml_folders(files)
    for record in records:
        path = f'/{record.path}'
        named = next((s for f, s in folders.items() if f'/{f}/' in path), '')
        record.split = lists.get(record.path) or named or _split_of(record)
    found = Counter(record.split for record in records)
    text = 'the splits of the data are kept'
    if not found['train'] or not found['val'] + found['test']:
        names = groups(records)
        _divide(records, seed, names)
        if names and not _can_group(records):
            names = None
            _divide(records, seed, None)
        kind = 'group of frames or copies, kept in one split'
        problems.add(kind, sorted(set(names or ())))
        text = f'split here by class, seed {seed}'
        found['val'] = 1
    rest = [record for record in records if not record.split]
    problems.add('image in no split; taken for train', [r.path for r in rest])
    for record in rest:
        record.split = 'train'
    if not found['val']:
        text += '; there is no val, so test is taken for it'
        for record in records:
            record.split = record.split.replace('test', 'val')
    for one, other in (('train', 'val'), ('val', 'train')):
        inside, rest = (
            {label for r in records if r.split == s for label in r.labels}
            for s in (one, other)
        )
        problems.add(f'class in {one} and not in {other}', sorted(inside - rest))
    return text


def _split_of(record: Record) -> str:
    """Split by the folders of the image, or by the file that annotates it."""
    if record.split in SPLITS:
        return record.split
    for part in os.path.dirname(record.path).lower().split('/'):
        if name := _NAMES.get(re.sub(r'20\d\d$', '', part)):
            return name
    words = re.split(r'[^a-z]+', record.split.lower())  # of the annotation file
    return next((_NAMES[word] for word in words if word in _NAMES), '')


def _listed(files: Files, records: list[Record]) -> dict[str, str]:
    """Split by the lists of VOC (ImageSets) and darknet: one name or path a line."""
    found: dict[str, str] = {}
    index = ImageIndex(files.root, (record.path for record in records))
    for name in files.texts:
        if split := _NAMES.get(stem_of(name).lower()):
            for line in read_text(files.root / name).splitlines():
                # VOC's lists of a class have a number behind the name
                for entry in dict.fromkeys([line.strip(), *line.split()[:1]]):
                    if isinstance(path := index.find(entry, ''), str):
                        found[path] = split
                        break
    return found


def _yaml_folders(files: Files) -> dict[str, str]:
    """Split by the folders that YOLO's data.yaml names for train, val and test."""
    found = {}
    for content in yaml_contents(files):
        for split in SPLITS:
            value = content.get(split) or []
            for folder in [value] if isinstance(value, str) else value:
                found[re.sub(r'^(\.*/)+', '', str(folder)).rstrip('/')] = split
    return found


def group_of(path: str) -> str:
    """What the frames of a video, or copies of an image, share in their names."""
    stem = _COPY.sub('', os.path.splitext(path)[0])
    if stem != os.path.splitext(path)[0]:
        return os.path.basename(stem)
    return re.sub(r'[-_.]?(frame|f|img)?[-_.]?\d+$', '', stem, flags=re.I)


def groups(records: list[Record]) -> list[str] | None:
    """The group of each record; None where names show no videos.

    A camera also numbers its photos. So there must be at least five groups, none with
    more than a third of the images, and most images must share theirs. They must speak
    of videos, or their numbers must have one step, which those of photos that were
    chosen from a set do not have. Where most classes have a single group, the names are
    those of the classes.
    """
    names = [group_of(record.path) for record in records]
    counts = Counter(names)
    shared = sum(count for count in counts.values() if count > 1)
    copies = sum(bool(_COPY.search(stem_of(record.path))) for record in records)
    many = len(counts) >= 5 and max(counts.values()) * 3 <= len(names)
    inside: dict[str, list[str]] = {}
    for record, name in zip(records, names, strict=True):
        for label in set(record.labels):
            inside.setdefault(label, []).append(name)
    alone = [n for n in inside.values() if len(n) > 1 and len(set(n)) == 1]
    if len(alone) * 2 > len(inside) > 1:
        return None
    frames = shared * 2 > len(names) and (
        _says_video(records) or _are_in_sequence(records, names)
    )
    return names if many and (copies or frames) else None


def _says_video(records: list[Record]) -> bool:
    ends = ('/'.join(record.path.split('/')[-2:]) for record in records)
    said = sum(bool(_VIDEO.search(end)) for end in ends)
    return said * 2 > len(records)


def _are_in_sequence(records: list[Record], names: list[str]) -> bool:
    """Whether the numbers of most groups have one step, as those of frames."""
    numbers: dict[str, list[int]] = {}
    for record, name in zip(records, names, strict=True):
        if number := re.search(r'\d+$', stem_of(record.path)):
            numbers.setdefault(name, []).append(int(number[0]))
    steps = [np.diff(sorted(found)) for found in numbers.values() if len(found) > 2]
    even = [np.unique(s, return_counts=True)[1].max() * 2 > len(s) for s in steps]
    return sum(even) * 2 > len(even)


def _can_group(records: list[Record]) -> bool:
    """Whether val has images, and all classes unless the names speak of videos."""
    train, val = (
        {label for r in records if r.split == split for label in r.labels}
        for split in ('train', 'val')
    )
    some = any(record.split == 'val' for record in records)
    return some and (_says_video(records) or not train - val)


def _divide(records: list[Record], seed: int, names: list[str] | None) -> None:
    """Put whole groups into val until each class has its share there."""
    members: dict[str, list[int]] = {}
    for i, record in enumerate(records):
        members.setdefault(names[i] if names else record.path, []).append(i)
    share = min(VAL_SHARE, MAX_VAL / max(len(records), 1))
    per_class = Counter(label for r in records for label in set(r.labels))
    wanted = {x: max(1, round(n * share)) if n > 1 else 0 for x, n in per_class.items()}
    room = max(1, round(len(records) * share))
    order = np.random.default_rng(seed).permutation(len(members)).tolist()
    every = list(members.values())
    parts = [
        (every[i], Counter(x for k in every[i] for x in set(records[k].labels)))
        for i in order
    ]
    have: Counter = Counter()
    for record in records:
        record.split = 'train'

    def take(part: list[int], inside: Counter, slack: int) -> bool:
        """Move a group to val unless it is there, or a class would have too many."""
        fits = all(have[x] + n <= wanted[x] + slack for x, n in inside.items())
        fits &= all(n < per_class[x] for x, n in inside.items() if wanted[x])
        if not fits or records[part[0]].split == 'val':
            return False
        for i in part:
            records[i].split = 'val'
        have.update(inside)
        return True

    # rare classes first, while there is most choice
    for label in sorted(per_class, key=lambda name: (per_class[name], name)):
        for part, inside in parts:
            if have[label] >= wanted[label]:
                break
            if inside[label] and take(part, inside, len(part)):
                room -= len(part)
    for part, inside in parts:  # images without objects, and what the share lacks
        if len(part) <= room and take(part, inside, 1):
            room -= len(part)
