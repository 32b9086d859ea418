"""Find the validation sets of ImageNet, COCO and VOC in a folder, or parts of them.

The hosts read one layout each, and number class folders by their order, which is wrong
when classes are missing. Here the usual layouts are read, and the data set gets a list
of its own. :data:`LAYOUTS` says what is accepted.
"""

import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mnv2_mm.datasets.checks.source import evenly, listed, walk
from mnv2_mm.datasets.imagenet_ids import COUNT, devkit_ids, synsets
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.files import write_text

LAYOUTS = {
    'cls': """\
ImageNet, ROOT/val or ROOT itself:
  images, and a list in ROOT or ROOT/meta: val.txt with lines FILE LABEL (LABEL from 0,
  or a WordNet id), or one label a line in the order of the images:
  imagenet_2012_validation_synset_labels.txt, or ILSVRC2012_validation_ground_truth.txt
  with meta.mat of the development kit, which has an order of its own
  without a list: folders named by WordNet id (n01440764) or by class index (0 to 999)
WordNet ids need their order: 1000 folders, timm, or ROOT/imagenet_synsets.txt""",
    'det': """\
COCO: ROOT/annotations/instances_val2017.json (or instances_val2014.json, or the only
  .json there or in ROOT) with the images in ROOT/val2017, val2014, images or ROOT
mscoco_minival_ids.txt in ROOT or ROOT/annotations, or --ids, selects images by id""",
    'seg': """\
VOC 2012: ROOT, ROOT/VOC2012 or ROOT/VOCdevkit/VOC2012 with JPEGImages,
  SegmentationClass (or SegmentationClassRaw) and ImageSets/Segmentation/val.txt""",
}
#: Images of the whole validation sets.
WHOLE = {'cls': 50_000, 'det': 5_000, 'seg': 1_449}
_IMAGES = ('.jpg', '.jpeg', '.png', '.bmp')
_WNID = re.compile(r'n\d{8}')
_DEVKIT = 'ILSVRC2012_validation_ground_truth.txt'
_LISTS = ('val.txt', 'imagenet_2012_validation_synset_labels.txt', _DEVKIT)
_ANNOTATIONS = (
    'annotations/instances_val2017.json',
    'instances_val2017.json',
    'annotations/instances_val2014.json',
    'instances_val2014.json',
)


class Layout(NamedTuple):
    """A validation set that was found, for a config's ``test_dataloader``."""

    dataset: dict  #: keys of the data set
    images: int  #: how many are evaluated
    digest: str  #: of the list or of the annotations
    place: str  #: where it was found, for people


class Choice(NamedTuple):
    """Which images to take."""

    limit: int | None = None  #: at most this number, spread evenly
    partial: bool = False  #: whether a list may name images that are not there
    ids: Path | None = None  #: file of COCO's image ids
    merge: bool = False  #: whether COCO's boxes are of one class, ``any``


def find_layout(task: str, root: Path, folder: Path, choice: Choice) -> Layout:
    """Find a set and write its list.

    Args:
        task: 'cls' for ImageNet, 'det' for COCO, 'seg' for VOC.
        root: Folder of the set.
        folder: Where lists are written.
        choice: Which images to take.

    Raises:
        InputError: there is none, or its parts do not fit.
    """
    if not root.is_dir():
        raise InputError(f'there is no folder {root}; {LAYOUTS[task]}')
    if choice.limit is not None and choice.limit < 1:
        raise InputError(f'--limit is {choice.limit}; give the number of images')
    found = {'cls': _imagenet, 'det': _coco, 'seg': _voc}[task](root, folder, choice)
    if not found.images:
        raise InputError(f'{root} has no image to evaluate; {LAYOUTS[task]}')
    return found


def _none_in(root: Path, task: str) -> InputError:
    names = listed(sorted(os.listdir(root)), 8) or 'nothing'
    return InputError(f'{root} is not as expected; it has {names}\n{LAYOUTS[task]}')


def _chosen(names: Sequence, there: set, choice: Choice, what: str) -> list:
    """The listed images that are there, at most ``limit``."""
    kept = [name for name in names if name in there]
    lacking = [name for name in names if name not in there]
    if lacking and not choice.partial:
        raise InputError(
            f'{what}: {len(lacking)} of {len(names)} images are missing: '
            f'{listed(lacking, 3)}. Complete the set, or give --partial to evaluate on '
            f'the {len(kept)} that are there'
        )
    return kept if choice.limit is None else evenly(kept, choice.limit)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding='utf-8').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f'{path} cannot be read: {error}') from error


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# ------------------------------------------------------------------- ImageNet
def _imagenet(root: Path, folder: Path, choice: Choice) -> Layout:
    images = root / 'val' if (root / 'val').is_dir() else root
    names = [name for name in walk(images) if name.lower().endswith(_IMAGES)]
    places = [root / sub / name for name in _LISTS for sub in ('', 'meta')]
    listing = next((place for place in places if place.is_file()), None)
    if not names:
        raise _none_in(root, 'cls')
    if listing is not None:
        labels, place = _listed_labels(listing, names, root), str(listing)
    else:
        labels, place = _folder_labels(names, root), f'the folders of {images}'
    chosen = _chosen(list(labels), set(names), choice, place)
    text = ''.join(f'{name} {labels[name]}\n' for name in chosen)
    path = folder / 'imagenet.txt'
    write_text(path, text)
    dataset = dict(data_root=str(images), data_prefix='', split='')
    dataset['ann_file'] = str(path.resolve())
    return Layout(dataset, len(chosen), _digest(text), place)


def _folder_labels(names: Sequence[str], root: Path) -> dict[str, int]:
    """Label of each image by its first folder."""
    folders = sorted({name.split(os.sep)[0] for name in names})
    if all(_WNID.fullmatch(name) for name in folders):
        order = folders if len(folders) == COUNT else synsets(root)
        index = {name: number for number, name in enumerate(order)}
    else:
        index = {name: int(name) for name in folders if name.isdecimal()}
        index = {name: label for name, label in index.items() if label < COUNT}
    unknown = [name for name in folders if name not in index]
    if unknown:
        raise InputError(
            f'{len(unknown)} of {len(folders)} folders in {root} are no class of '
            f'ImageNet-1k: {listed(unknown)}\n{LAYOUTS["cls"]}'
        )
    return {name: index[name.split(os.sep)[0]] for name in names}


def _listed_labels(listing: Path, names: Sequence[str], root: Path) -> dict[str, int]:
    """Label of each image by a list: ``FILE LABEL``, or a label for each image."""
    rows = [line.split() for line in _lines(listing) if line.strip()]
    width = len(rows[0]) if rows else 0
    if width not in (1, 2) or any(len(row) != width for row in rows):
        raise InputError(f'{listing}: write lines FILE LABEL, or one label a line')
    words = [row[-1] for row in rows]
    if listing.name == _DEVKIT:
        wnids = devkit_ids(listing, root)
        words = [wnids.get(word, word) for word in words]
    if any(_WNID.fullmatch(word) for word in words):
        index = {name: number for number, name in enumerate(synsets(root))}
    else:
        index = {str(number): number for number in range(COUNT)}
    wrong = [word for word in words if word not in index]
    if wrong:
        hint = ' (labels begin at 0: subtract 1)' if '1000' in wrong else ''
        raise InputError(f'{listing}: {listed(wrong, 3)} is no class{hint}')
    if width == 2:  # FILE LABEL
        # the list may leave out folders
        places = {os.path.basename(name): name for name in names}
        places |= {name: name for name in names}
        pairs = zip((row[0] for row in rows), words, strict=True)
        return {places.get(name, name): index[word] for name, word in pairs}
    if len(rows) == len(names):
        ordered = sorted(names, key=os.path.basename)
        return {name: index[w] for name, w in zip(ordered, words, strict=True)}
    # ILSVRC2012_val_00000001.JPEG has the label of the first line
    numbers = {int((re.findall(r'\d+', name) or [0])[-1]): name for name in names}
    if not numbers.keys() <= set(range(1, len(rows) + 1)) or len(numbers) < len(names):
        raise InputError(
            f'{listing} has {len(rows)} lines for {len(names)} images, whose names '
            'have no numbers of lines (ILSVRC2012_val_00000001.JPEG)'
        )
    # a label stands for an image that may not be there
    return {numbers.get(n, f'image {n}'): index[w] for n, w in enumerate(words, 1)}


# ----------------------------------------------------------------------- COCO
def _coco(root: Path, folder: Path, choice: Choice) -> Layout:
    places = [root / name for name in _ANNOTATIONS]
    single = [*(root / 'annotations').glob('*.json')] or [*root.glob('*.json')]
    places += single if len(single) == 1 else []
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise _none_in(root, 'det')
    try:
        text = path.read_text(encoding='utf-8')
        content = json.loads(text)
        by_id = {row['id']: row['file_name'] for row in content['images']}
        boxes = [(row['image_id'], row) for row in content['annotations']]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f'{path} holds no annotations in COCO format ({error!r})'
        ) from None
    subs = ('val2017', 'val2014', 'images/val2017', 'images/val2014', 'images', '.')
    there = {sub: set(walk(root / sub)) if sub != '.' else None for sub in subs}
    there['.'] = {n for n in os.listdir(root) if n.lower().endswith(_IMAGES)}
    sub = max(subs, key=lambda name: len(there[name] & set(by_id.values())))
    ids = list(by_id)
    minival = [root / sub / 'mscoco_minival_ids.txt' for sub in ('', 'annotations')]
    ids_file = choice.ids or next((p for p in minival if p.is_file()), None)
    if ids_file is not None:
        ids = _image_ids(ids_file, by_id, path)
    found = {i for i in ids if by_id[i] in there[sub]}
    chosen = _chosen(ids, found, choice, str(path))
    if choice.merge:
        content['categories'] = [dict(id=1, name='any')]
        for _, row in boxes:
            row['category_id'] = 1
    if len(chosen) < len(by_id) or choice.merge:
        keep = set(chosen)
        content['images'] = [r for r in content['images'] if r['id'] in keep]
        content['annotations'] = [row for image, row in boxes if image in keep]
        text, path = json.dumps(content), folder / 'coco.json'
        write_text(path, text)
    dataset = dict(
        data_root=str(root / sub),
        data_prefix=dict(img=''),
        ann_file=str(path.resolve()),
    )
    return Layout(dataset, len(chosen), _digest(text), f'{path}, {root / sub}')


def _image_ids(path: Path, known: dict, annotations: Path) -> list:
    try:
        ids = [int(word) for word in path.read_text(encoding='utf-8').split()]
    except (OSError, ValueError) as error:
        raise InputError(f'{path}: write one image id a line ({error})') from None
    strange = [i for i in ids if i not in known]
    if strange:
        raise InputError(
            f'{path}: {len(strange)} of {len(ids)} ids are not in {annotations}: '
            f'{listed(strange, 3)}. Minival is a part of val2014 '
            '(instances_val2014.json)'
        )
    return ids


# ------------------------------------------------------------------------ VOC
def _voc(root: Path, folder: Path, choice: Choice) -> Layout:
    places = [root, root / 'VOC2012', root / 'VOCdevkit/VOC2012']
    base = next((place for place in places if (place / 'JPEGImages').is_dir()), None)
    kinds = ('SegmentationClass', 'SegmentationClassRaw')
    masks = base and next((kind for kind in kinds if (base / kind).is_dir()), None)
    listing = base and base / 'ImageSets/Segmentation/val.txt'
    if not masks or not listing.is_file():
        raise _none_in(base or root, 'seg')
    names = [line.strip() for line in _lines(listing) if line.strip()]
    there = {Path(name).stem for name in walk(base / masks)}
    there &= {Path(name).stem for name in walk(base / 'JPEGImages')}
    chosen = _chosen(names, there, choice, f'{listing} (image or mask)')
    text = ''.join(f'{name}\n' for name in chosen)
    path = folder / 'voc.txt'
    write_text(path, text)
    dataset = dict(
        data_root=str(base),
        data_prefix=dict(img_path='JPEGImages', seg_map_path=masks),
        ann_file=str(path.resolve()),
    )
    return Layout(dataset, len(chosen), _digest(text), str(listing))
