"""Splits: kept where the data has them, else by class, seed and group."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from mnv2_mm.datasets.own.formats import Files
from mnv2_mm.datasets.own.recipe import EPOCHS, detection_input, schedule
from mnv2_mm.datasets.own.records import Problems, Record
from mnv2_mm.datasets.own.split import groups, split_records
from mnv2_mm.utils.errors import InputError


def record(path, labels=('a',), split=''):
    boxes = np.array([[0, 0, 10, 10]] * len(labels), float).reshape(-1, 4)
    return Record(path, (100, 100), list(labels), boxes, split=split)


def divided(records, seed=0, texts=None):
    problems, files = Problems(), Files(Path())
    how = split_records(records, files, problems, seed)
    return {r.path: r.split for r in records}, problems.found, how


def mixed(count=100):
    rng = np.random.default_rng(0)
    return [
        record(
            f'p{n:03d}x.jpg', ['a'] * int(rng.integers(1, 4)) + ['rare'] * (n % 20 == 0)
        )
        for n in range(count)
    ]


def test_each_class_has_its_share_in_val():
    records = mixed()
    splits, problems, _ = divided(records)
    assert Counter(splits.values()) == {'train': 80, 'val': 20}
    rare = [splits[r.path] for r in records if 'rare' in r.labels]
    assert Counter(rare) == {'train': 4, 'val': 1}
    assert not problems


def test_each_class_is_in_both_splits_of_a_small_set():
    records = [record(f'{c}/x{n}y.jpg', [c]) for c in 'abc' for n in range(3)]
    splits, problems, _ = divided(records)
    assert {name[0] for name, split in splits.items() if split == 'val'} == set('abc')
    assert not problems


def test_the_seed_decides():
    assert divided(mixed())[0] == divided(mixed())[0]
    assert divided(mixed())[0] != divided(mixed(), seed=1)[0]


@pytest.mark.parametrize(
    'form', ['v{v}_frame_{n:04d}.jpg', 'clip{v}/{n}.jpg', 'a{v}_jpg.rf.{n:08x}abcd.jpg']
)
def test_frames_and_copies_stay_together(form):
    names = [form.format(v=chr(97 + v), n=n) for v in range(10) for n in range(6)]
    splits, _, _ = divided([record(name) for name in names])
    for v in range(10):
        assert len({splits[name] for name in names[6 * v : 6 * v + 6]}) == 1
    assert 0 < Counter(splits.values())['val'] <= 18


@pytest.mark.parametrize('form', ['{c}/{n:03d}.jpg', 'all/{c}_{n}.jpg'])
def test_classes_are_no_videos(form):
    records = [
        record(form.format(c=chr(97 + c), n=n), [chr(97 + c)])
        for c in range(6)
        for n in range(10)
    ]
    splits, problems, _ = divided(records)
    assert Counter(splits.values()) == {'train': 48, 'val': 12}
    assert not problems


@pytest.mark.parametrize(
    'form', ['raccoon-{n}.jpg', 'IMG_{n:04d}.JPG', 'images/{n:06d}.jpg']
)
def test_photos_of_a_camera_are_no_video(form):
    assert groups([record(form.format(n=n)) for n in range(50)]) is None


def test_photos_chosen_from_a_set_are_no_frames():
    """The numbers of frames have one step; those of chosen photos have many."""

    def names(numbers, form='{kind}_{n}.jpg'):
        paths = [form.format(kind=kind, n=n) for kind in 'abcdefgh' for n in numbers]
        return groups([record(path) for path in paths])

    assert names([3, 18, 40, 41, 90, 169]) is None
    assert names([3, 18, 40, 41, 90, 169], '{kind}_CLIP_{n}.jpg') is not None
    assert names([3, 18, 40, 41, 90, 169], 'video{kind}/video_{n}.jpg') is not None
    assert names([3, 18, 40, 41, 90, 169], 'frames/{kind}_{n}.jpg') is None
    assert len(set(names([0, 10, 20, 30, 40, 55]))) == 8


def test_no_class_is_left_out_of_val_for_a_group():
    """Where names only may be those of videos; one that says so is kept whole."""

    def missing(form):
        records = [
            record(form.format(c=c, n=n), ['a' if c == 'a' else 'xy'[n % 2]])
            for c in 'abcdefgh'
            for n in range(6)
        ]
        return divided(records)[1].get('class in train and not in val', [])

    assert missing('{c}_{n}.jpg') == []
    assert missing('{c}_frame_{n}.jpg') == ['a']


@pytest.mark.parametrize(
    ('paths', 'notes'),
    [
        (['images/train/1.jpg', 'images/valid/2.jpg'], ['', '']),
        (['Train/1.jpg', 'val2017/2.jpg'], ['', '']),
        (['1.jpg', '2.jpg'], ['instances_train2017.json', 'instances_val2017.json']),
        (['1.jpg', '2.jpg'], ['train_labels.csv', 'valid_labels.csv']),
    ],
)
def test_splits_of_the_data_are_kept(paths, notes):
    records = [record(p, split=n) for p, n in zip(paths, notes, strict=True)]
    splits, _, how = divided(records)
    assert list(splits.values()) == ['train', 'val'] and 'kept' in how


def test_a_list_with_paths_of_another_machine(tmp_path):
    paths = ['01/02/0.jpg', '02/01/0.jpg', 'train/1.jpg', 'train/data/1.jpg']
    (tmp_path / 'val.txt').write_text('/content/01/02/0.jpg\n/data/train/1.jpg\n')
    records = [record(path) for path in paths]
    split_records(records, Files(tmp_path, texts=['val.txt']), Problems(), 0)
    assert [r.split for r in records] == ['val', 'train', 'val', 'train']


def test_lists_and_folders_named_by_files(tmp_path):
    (tmp_path / 'data.yaml').write_text('train: ../first/images\nval: [second]\n')
    (tmp_path / 'val.txt').write_text('1\n')
    files = Files(tmp_path, texts=['val.txt'], yamls=['data.yaml'])
    records = [record(f'first/images/{n}.jpg') for n in range(3)]
    records.append(record('second/9.jpg'))
    split_records(records, files, Problems(), 0)
    assert [r.split for r in records] == ['train', 'val', 'train', 'val']


def test_lists_name_paths_and_names_with_spaces(tmp_path):
    (tmp_path / 'train.txt').write_text('data/a/1.jpg\n./a/img 2.jpg\nb 3 -1\n')
    (tmp_path / 'val.txt').write_text('data/b/1.jpg\nimg 4.jpg\n')
    files = Files(tmp_path, texts=['train.txt', 'val.txt'])
    paths = 'a/1.jpg', 'b/1.jpg', 'a/img 2.jpg', 'b/img 4.jpg'
    records = [record(path) for path in paths]
    split_records(records, files, Problems(), 0)
    assert [r.split for r in records] == ['train', 'val', 'train', 'val']


def test_test_alone_is_taken_for_val_and_said():
    splits, problems, how = divided([record('train/1.jpg', 'ab'), record('test/2.jpg')])
    assert list(splits.values()) == ['train', 'val']
    assert 'test is taken' in how
    assert problems == {'class in train and not in val': ['b']}


def test_images_in_no_split_are_for_training():
    paths = ['train/1.jpg', 'test/2.jpg', 'other/3.jpg']
    splits, problems, _ = divided([record(path) for path in paths])
    assert list(splits.values()) == ['train', 'val', 'train']
    assert problems == {'image in no split; taken for train': ['other/3.jpg']}


def test_one_image_is_too_few():
    with pytest.raises(InputError, match='two are needed'):
        divided([record('1.jpg')])
    splits = divided([record('1.jpg'), record('2.jpg')])[0]
    assert sorted(splits.values()) == ['train', 'val']


@pytest.mark.parametrize('count', [2, 5, 33, 205, 5000, 120_000])
@pytest.mark.parametrize('task', ['det', 'seg', 'cls'])
def test_the_schedule_fits_the_set(count, task):
    records = [record('a.jpg', split='train')] * count
    values = schedule(task, records, trained=True)
    per_epoch = count // values['batch_size']
    steps = per_epoch * values['max_epochs']
    assert per_epoch >= 1
    # LinearLR with one step stays at its start
    assert 2 <= values['warmup'] <= max(2, steps // 20)
    assert 0 < values['bn_momentum'] <= 0.1
    # after the run, less than a thousandth of the first average is left
    assert values['ema_decay'] ** steps < 1e-3 or steps < 100
    assert values['max_epochs'] >= values['val_interval'] * 5
    # random weights take longer
    random = schedule(task, records, trained=False)['max_epochs']
    assert random in (2 * values['max_epochs'] + n for n in (-1, 0)) or random in EPOCHS


@pytest.mark.parametrize(('side', 'wanted'), [(40, 300), (5, 384), (2, 512)])
def test_small_objects_get_a_larger_input(side, wanted):
    one = record('a.jpg')
    one.boxes = np.array([[0, 0, side, side]], float)
    assert detection_input([one]) == wanted
