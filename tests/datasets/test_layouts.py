"""Validation sets of ImageNet, COCO and VOC, whole and in parts."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mnv2_mm.datasets.layouts import Choice, find_layout
from mnv2_mm.utils.errors import InputError

#: In the order of their WordNet ids, not of the development kit.
WNIDS = [f'n{number:08d}' for number in range(1000)]


def image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((4, 5, 3), np.uint8))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def flat(root: Path, count: int = 3) -> None:
    for number in range(1, count + 1):
        image(root / f'ILSVRC2012_val_{number:08d}.JPEG.png')


def devkit(path: Path) -> None:
    """Numbers 1 and 2 are classes 7 and 5."""
    savemat = pytest.importorskip('scipy.io').savemat
    kinds = [('ILSVRC2012_ID', 'O'), ('WNID', 'O')]
    savemat(path, {'synsets': np.array([(1, WNIDS[7]), (2, WNIDS[5])], kinds)})


def by_wnid(root: Path) -> None:
    write(root / 'imagenet_synsets.txt', '\n'.join(WNIDS))
    image(root / 'val' / WNIDS[900] / 'a.png')
    image(root / 'val' / WNIDS[3] / 'b.png')


def by_index(root: Path) -> None:
    image(root / '900/a.png')
    image(root / '3/b.png')


def caffe(root: Path) -> None:
    flat(root / 'val', 2)
    names = sorted(path.name for path in (root / 'val').iterdir())
    write(root / 'meta/val.txt', f'{names[0]} 3\n{names[1]} 900\n')


def beside(root: Path) -> None:
    """A list in ROOT, images in another folder."""
    flat(root / 'images', 2)
    names = sorted(path.name for path in (root / 'images').iterdir())
    write(root / 'val.txt', f'{names[1]} 900\n{names[0]} 3\n')


def slim(root: Path) -> None:
    """TF-slim's list, of more images than there are."""
    flat(root, 2)
    write(root / 'imagenet_synsets.txt', '\n'.join(WNIDS))
    lines = [WNIDS[3], WNIDS[900], WNIDS[5]]
    write(root / 'imagenet_2012_validation_synset_labels.txt', '\n'.join(lines))


def ground_truth(root: Path) -> None:
    flat(root)
    write(root / 'imagenet_synsets.txt', '\n'.join(WNIDS))
    write(root / 'ILSVRC2012_validation_ground_truth.txt', '2\n1\n2\n')
    devkit(root / 'meta.mat')


@pytest.mark.parametrize(
    ('make', 'labels'),
    [
        (by_wnid, [3, 900]),
        (by_index, [3, 900]),
        (caffe, [3, 900]),
        (beside, [900, 3]),
        (slim, [3, 900]),
        (ground_truth, [5, 7, 5]),
    ],
)
def test_imagenet(tmp_path: Path, make, labels: list[int]) -> None:
    make(tmp_path / 'set')
    choice = Choice(partial=make is slim)
    found = find_layout('cls', tmp_path / 'set', tmp_path, choice)
    lines = Path(found.dataset['ann_file']).read_text().splitlines()
    assert [int(line.split()[1]) for line in lines] == labels
    assert found.images == len(labels)
    for line in lines:
        assert Path(found.dataset['data_root'], line.split()[0]).is_file()


def coco(root: Path, *, present: int = 3, sub: str = 'val2017') -> None:
    rows = [dict(id=i, file_name=f'{i}.png', width=5, height=4) for i in (7, 8, 9)]
    for row in rows[:present]:
        image(root / sub / row['file_name'])
    boxes = [dict(id=i, image_id=i, category_id=1, bbox=[0, 0, 2, 2]) for i in (7, 9)]
    content = dict(images=rows, annotations=boxes, categories=[dict(id=1, name='x')])
    write(root / 'annotations/instances_val2017.json', json.dumps(content))


@pytest.mark.parametrize('sub', ['val2017', 'images', '.'])
def test_coco(tmp_path: Path, sub: str) -> None:
    coco(tmp_path, sub=sub)
    found = find_layout('det', tmp_path, tmp_path / 'lists', Choice())
    assert found.images == 3
    assert found.dataset['ann_file'].endswith('instances_val2017.json')
    assert Path(found.dataset['data_root'], '7.png').is_file()


@pytest.mark.parametrize('place', ['mscoco_minival_ids.txt', 'elsewhere/ids.txt'])
def test_coco_by_ids(tmp_path: Path, place: str) -> None:
    coco(tmp_path, present=2)
    write(tmp_path / place, '8\n7\n')
    choice = Choice(ids=tmp_path / place if 'elsewhere' in place else None)
    found = find_layout('det', tmp_path, tmp_path / 'lists', choice)
    content = json.loads(Path(found.dataset['ann_file']).read_text())
    assert {row['id'] for row in content['images']} == {7, 8}
    assert [row['image_id'] for row in content['annotations']] == [7]


def test_boxes_of_all_categories_can_be_one_class(tmp_path: Path) -> None:
    coco(tmp_path)
    found = find_layout('det', tmp_path, tmp_path / 'lists', Choice(merge=True))
    content = json.loads(Path(found.dataset['ann_file']).read_text())
    assert content['categories'] == [dict(id=1, name='any')]
    assert len(content['images']) == 3 and len(content['annotations']) == 2


def voc(root: Path, names: str = 'a\nb\nc\n') -> None:
    for name in 'ab':
        image(root / f'JPEGImages/{name}.jpg')
        image(root / f'SegmentationClass/{name}.png')
    write(root / 'ImageSets/Segmentation/val.txt', names)


@pytest.mark.parametrize('sub', ['.', 'VOC2012', 'VOCdevkit/VOC2012'])
def test_voc(tmp_path: Path, sub: str) -> None:
    voc(tmp_path / sub, 'b\na\n')
    found = find_layout('seg', tmp_path, tmp_path / 'lists', Choice())
    assert Path(found.dataset['ann_file']).read_text().split() == ['b', 'a']
    assert Path(found.dataset['data_root'], 'JPEGImages/a.jpg').is_file()


def test_limit_is_spread_and_changes_the_digest(tmp_path: Path) -> None:
    flat(tmp_path / 'set', 9)
    write(tmp_path / 'set/val.txt', '\n'.join(map(str, range(9))))
    found = [
        find_layout('cls', tmp_path / 'set', tmp_path, Choice(limit=limit))
        for limit in (3, 9)
    ]
    assert [layout.images for layout in found] == [3, 9]
    assert found[0].digest != found[1].digest


def bad_labels(root: Path) -> None:
    flat(root)
    write(root / 'val.txt', '1\n2\n1000\n')


def binary(root: Path) -> None:
    flat(root)
    (root / 'val.txt').write_bytes(b'\xff\xd8')


def unnumbered(root: Path) -> None:
    flat(root)
    write(root / 'val.txt', '1\n2\n')


def other_folders(root: Path) -> None:
    image(root / 'cat/a.png')


def lone_ground_truth(root: Path) -> None:
    flat(root)
    write(root / 'ILSVRC2012_validation_ground_truth.txt', '2\n1\n2\n')


def not_coco(root: Path) -> None:
    write(root / 'annotations/instances_val2017.json', '[1]')


def foreign_ids(root: Path) -> None:
    coco(root)
    write(root / 'mscoco_minival_ids.txt', '7\n77\n')


@pytest.mark.parametrize(
    ('task', 'make', 'named'),
    [
        ('cls', bad_labels, ['val.txt', '1000', 'subtract 1']),
        ('cls', binary, ['val.txt', 'cannot be read']),
        ('cls', unnumbered, ['2 lines', '3 images']),
        ('cls', other_folders, ['cat', 'WordNet']),
        ('cls', lone_ground_truth, ['meta.mat']),
        ('cls', coco, ['val2017', 'ImageNet']),
        ('det', voc, ['instances_val2017.json', 'JPEGImages']),
        ('det', not_coco, ['instances_val2017.json', 'COCO format']),
        ('det', foreign_ids, ['77', 'instances_val2014.json']),
        ('det', lambda root: coco(root, present=1), ['2 of 3', '8', '--partial']),
        ('seg', voc, ['1 of 3', 'c', '--partial']),
        ('seg', by_index, ['900', 'SegmentationClass']),
    ],
)
def test_a_wrong_set_is_one_message(tmp_path: Path, task, make, named) -> None:
    make(tmp_path / 'set')
    with pytest.raises(InputError) as error:
        find_layout(task, tmp_path / 'set', tmp_path / 'lists', Choice())
    assert all(word in str(error.value) for word in named), error.value


@pytest.mark.parametrize('task', ['det', 'seg'])
def test_a_part_is_evaluated_on_request(tmp_path: Path, task: str) -> None:
    {'det': lambda root: coco(root, present=2), 'seg': voc}[task](tmp_path)
    found = find_layout(task, tmp_path, tmp_path / 'lists', Choice(partial=True))
    assert found.images == 2
