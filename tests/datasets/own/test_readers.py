"""Every annotation format gives the same records; every problem is reported."""

import json
import re
import shutil

import numpy as np
import pytest
from own_sets import CLASSES, HEIGHT, TRUTH, WIDTH, write_image, write_set

pytest.importorskip('globox', reason="the extra 'data' is not installed")

from mnv2_mm.datasets.own.collect import collect
from mnv2_mm.datasets.own.formats import FORMATS, recognize, scan
from mnv2_mm.datasets.own.records import ImageIndex, Problems
from mnv2_mm.datasets.own.writer import mask_of, read_image
from mnv2_mm.utils.errors import InputError

BOX_FORMATS = [format for format in FORMATS if format not in ('masks', 'folders')]
VOC = 'labels/photo 3.xml'
IMAGE = 'images/photo 3.jpg'
YOLO = 'labels/photo 3.txt'


def read(root, task=None, format=None):
    files, problems = scan(root), Problems()
    (found,) = recognize(files, task, format)
    records, classes = collect(found, files, problems, lambda: None)
    return found, records, classes, problems.found


def by_name(records):
    return {record.path.removeprefix('images/'): record for record in records}


def assert_truth(records, *, without=()):
    found = by_name(records)
    assert found.keys() == TRUTH.keys() - set(without)
    for name, record in found.items():
        assert record.size == (WIDTH, HEIGHT)
        assert record.labels == [row[0] for row in TRUTH[name]]
        wanted = np.array([row[1:] for row in TRUTH[name]])
        assert np.allclose(record.boxes, wanted, atol=1e-3)


@pytest.mark.parametrize('format', BOX_FORMATS)
def test_each_format_is_recognized_and_read(format, tmp_path):
    found, records, classes, problems = read(write_set(tmp_path, format))
    assert found == format
    assert classes == CLASSES
    assert not problems
    assert_truth(records)


@pytest.mark.parametrize('format', BOX_FORMATS)
def test_windows_text_is_read(format, tmp_path):
    """A byte-order mark and CRLF line ends."""
    write_set(tmp_path, format)
    for ending in ('txt', 'xml', 'json', 'csv', 'yaml'):
        for file in tmp_path.rglob(f'*.{ending}'):
            text = file.read_text().replace('\n', '\r\n')
            file.write_bytes(b'\xef\xbb\xbf' + text.encode())
    found, records, classes, problems = read(tmp_path)
    assert found == format and classes == CLASSES and not problems
    assert_truth(records)
    assert scan(tmp_path).bom


@pytest.mark.parametrize('quote', ['', '"'])
def test_class_names_by_number(quote, tmp_path):
    write_set(tmp_path, 'yolo')
    keys = [n * 10 for n in range(len(CLASSES))]  # 10 comes before 9 in text
    for file in (tmp_path / 'labels').rglob('*.txt'):
        lines = [f'{row[0]}0{row[1:]}' for row in file.read_text().splitlines()]
        file.write_text('\n'.join(lines).replace('00 ', '0 '))
    names = ''.join(
        f'  {quote}{key}{quote}: {name}\n'
        for key, name in zip(keys, CLASSES, strict=True)
    )
    for file in tmp_path.glob('*.yaml'):
        file.write_text('names:\n' + names)
    _, records, classes, _ = read(tmp_path)
    assert classes == CLASSES
    assert_truth(records)


def test_csv_without_header_and_with_windows_paths(tmp_path):
    write_set(tmp_path, 'none')
    lines = [
        f'C:\\set\\{name},{",".join(map(str, row[1:]))},{row[0]}'
        for name, rows in TRUTH.items()
        for row in rows
    ]
    (tmp_path / 'all.csv').write_text('\n'.join(lines))
    assert_truth(read(tmp_path)[1])


def replace(root, name, old, new):
    text = (root / name).read_text()
    assert old in text
    (root / name).write_text(text.replace(old, new, 1))


def append(root, name, line):
    with open(root / name, 'a') as file:
        file.write(f'\n{line}\n')


def edit(name, *pairs):
    """Replace texts in a file of a set."""

    def damage(root):
        for old, new in pairs:
            replace(root, name, old, new)

    return damage


def write(name, content):
    return lambda root: (root / name).write_text(content)


SHARES = [
    ('<xmin>50.0', '<xmin>0.1'),
    ('<ymin>8.0', '<ymin>0.1'),
    ('<xmax>74.0', '<xmax>0.9'),
    ('<ymax>40.0', '<ymax>0.9'),
]
OUTSIDE = [('<xmin>50.0', '<xmin>150.0'), ('<xmax>74.0', '<xmax>174.0')]
BROKEN = {
    'class number': (
        'yolo',
        'not in 0 to 1',
        lambda r: append(r, YOLO, '7 .5 .5 .2 .2'),
    ),
    'pixels in YOLO': ('yolo', 'pixels', lambda r: append(r, YOLO, '1 40 30 20 20')),
    'text in YOLO': ('yolo', 'cannot be read', lambda r: append(r, YOLO, '1 a b c d')),
    'shares among pixels': ('voc', 'shares', edit(VOC, *SHARES)),
    'swapped': ('voc', 'cannot be read', edit(VOC, ('<xmin>50.0', '<xmin>79.0'))),
    'outside': ('voc', 'outside', edit(VOC, *OUTSIDE)),
    'no class': ('voc', 'no class', edit(VOC, ('<name>dog', '<name>'))),
    'twice': ('yolo', 'twice', lambda r: append(r, YOLO, (r / YOLO).read_text())),
}


@pytest.mark.parametrize('what', BROKEN)
def test_a_bad_box_is_reported_and_the_others_are_kept(what, tmp_path):
    format, word, damage = BROKEN[what]
    damage(write_set(tmp_path, format))
    _, records, _, problems = read(tmp_path)
    ((kind, places),) = problems.items()
    assert word in kind
    assert len(places) == (2 if what == 'twice' else 1)
    assert all('photo 3' in place for place in places)
    boxes = sum(len(record.boxes) for record in records)
    added = format == 'yolo'  # the bad box is an additional one
    assert boxes == sum(map(len, TRUTH.values())) - (not added)


def hide(root):
    """Two images of the name that an annotation gives, none in its folder."""
    shutil.move(root / IMAGE, root / 'images/a.jpg')
    write_image(root / 'x/photo 3.jpg')
    write_image(root / 'y/photo 3.jpg')


def cut(root):
    (root / IMAGE).write_bytes((root / IMAGE).read_bytes()[:-40])


FILES = {
    'image missing': ('missing', lambda root: (root / IMAGE).unlink()),
    'annotation missing': ('without annotation', lambda root: (root / VOC).unlink()),
    'cut off': ('cut off', cut),
    'no image': ('web page', write(IMAGE, '<html>')),
    'broken XML': ('no XML', write(VOC, '<annotation><object>')),
    'other shape': ('another shape', lambda r: write_image(r / IMAGE, size=(60, 80))),
    'ambiguous': ('ambiguous', hide),
}


@pytest.mark.parametrize('what', FILES)
def test_a_bad_file_is_reported_and_left_out(what, tmp_path):
    word, damage = FILES[what]
    damage(write_set(tmp_path, 'voc'))
    _, records, _, problems = read(tmp_path)
    kinds = [kind for kind, places in problems.items() if 'photo 3' in places[0]]
    assert any(word in kind for kind in kinds), problems
    assert_truth(records, without=['photo 3.jpg'])


def test_yolo_images_without_a_file_are_background_and_classes_may_be_empty(tmp_path):
    write_set(tmp_path, 'yolo')
    (tmp_path / YOLO).unlink()
    (tmp_path / 'data.yaml').write_text('names: {0: cat, 1: dog, 2: cow}\n')
    _, records, classes, problems = read(tmp_path)
    assert classes == CLASSES
    assert by_name(records)['photo 3.jpg'].labels == []
    assert problems['class without a box; it is left out'] == ['cow']
    assert any('without a text file' in kind for kind in problems)


def test_images_of_one_name_in_subfolders_keep_their_own_labels(tmp_path):
    for number, part in enumerate(('a', 'b')):
        truth = {'1.jpg': [('cat', 10.0 + number, 10.0, 40.0, 40.0)]}
        write_set(tmp_path / part, 'voc', truth)
    _, records, _, problems = read(tmp_path)
    assert not problems
    assert [record.boxes[0, 0] for record in records] == [10, 11]
    assert len({record.path for record in records}) == 2


def test_images_of_one_name_in_two_splits_of_coco(tmp_path):
    for split in ('train', 'val'):
        write_set(tmp_path / split, 'coco', {'1.jpg': TRUTH['photo 0.jpg']})
        target = tmp_path / f'annotations/instances_{split}.json'
        target.parent.mkdir(exist_ok=True)
        shutil.move(tmp_path / split / 'labels.json', target)
    _, records, _, problems = read(tmp_path)
    assert not problems
    assert [(r.path, r.split) for r in records] == [
        (f'{split}/images/1.jpg', f'annotations/instances_{split}.json')
        for split in ('train', 'val')
    ]


def test_a_resized_image_scales_its_boxes(tmp_path):
    write_set(tmp_path, 'voc')
    write_image(tmp_path / 'images/photo 3.jpg', size=(160, 120))
    _, records, _, problems = read(tmp_path)
    record = by_name(records)['photo 3.jpg']
    assert np.allclose(record.boxes[0], np.array(TRUTH['photo 3.jpg'][0][1:]) * 2)
    assert 'scaled' in next(iter(problems))


def test_boxes_drawn_before_the_exif_orientation(tmp_path):
    from PIL import Image

    write_set(tmp_path, 'voc')
    path = tmp_path / IMAGE
    with Image.open(path) as image:
        exif = image.getexif()
        exif[0x0112] = 6  # turned by 90 degrees
        image.save(path, exif=exif)
    _, records, _, problems = read(tmp_path)
    assert [kind[:4] for kind in problems] == ['EXIF']
    assert by_name(records)['photo 3.jpg'].stored
    assert_truth(records)
    files = scan(tmp_path)
    read_again = read_image(files, by_name(records)['photo 3.jpg'])
    assert read_again.shape[:2] == (HEIGHT, WIDTH)


def test_a_folder_without_annotations_is_refused(tmp_path):
    write_image(tmp_path / 'a.jpg')
    with pytest.raises(InputError, match='1 images and no annotations'):
        read(tmp_path)
    with pytest.raises(InputError, match='no folder'):
        read(tmp_path / 'nowhere')
    with pytest.raises(InputError, match='--format voc'):
        read(write_set(tmp_path / 'b', 'csv'), format='voc')


@pytest.mark.parametrize(
    ('given', 'near', 'wanted'),
    [
        ('x.png', 'masks/a/x.png', 'a/x.jpg'),
        ('x', 'labels/b/x.txt', 'b/x.jpg'),
        ('x', 'labels/x.txt', 'x.jpg'),
        ('./a/x.jpg', 'labels.json', 'a/x.jpg'),
    ],
)
def test_of_images_of_one_name_that_of_the_same_folders_is_taken(
    given, near, wanted, tmp_path
):
    index = ImageIndex(tmp_path, ['x.jpg', 'a/x.jpg', 'b/x.jpg'])
    assert index.find(given, near) == wanted


def coco(root, *, size=(WIDTH, HEIGHT), **changes):
    """An image with a square of cats, from x = 20, y = 10 to x = 40, y = 30."""
    write_image(root / 'a.jpg')
    factor = size[0] / WIDTH
    x1, y1, x2, y2 = (side * factor for side in (20, 10, 40, 30))
    row = dict(id=1, image_id=1, category_id=1, iscrowd=0)
    row |= dict(segmentation=[[x1, y1, x2, y1, x2, y2, x1, y2]])
    images = [dict(id=1, file_name='a.jpg', width=size[0], height=size[1])]
    content = dict(images=images, categories=[dict(id=1, name='cat ')])
    content |= dict(annotations=[row | changes])
    (root / 'a.json').write_text(json.dumps(content))
    return content


def rle(width, height):
    mask = np.zeros((height, width), int)
    mask[height // 6 : height // 2, width // 4 : width // 2] = 1
    values = mask.T.ravel()
    edges = np.flatnonzero(np.diff(values)) + 1
    counts = np.diff([0, *edges, len(values)]).tolist()
    return dict(counts=counts, size=[height, width])


@pytest.mark.parametrize('factor', [1, 2])
@pytest.mark.parametrize('format', ['polygon', 'rle'])
def test_masks_of_coco_follow_the_size_of_the_image(format, factor, tmp_path):
    size = WIDTH * factor, HEIGHT * factor
    coco(
        tmp_path, size=size, **({'segmentation': rle(*size)} if format == 'rle' else {})
    )
    record, classes, problems = masks_of(tmp_path)
    assert classes == ['background', 'cat']
    mask = mask_of(record, classes, scan(tmp_path), Problems())
    assert mask.shape == (HEIGHT, WIDTH)
    rows, columns = np.nonzero(mask == 1)
    edges = [columns.min(), rows.min(), columns.max(), rows.max()]
    assert edges == pytest.approx([20, 10, 39, 29], abs=1)
    assert [kind[-6:] for kind in problems] == ['scaled'] * (factor > 1)


def masks_of(root):
    files, problems = scan(root), Problems()
    (record,), classes = collect('coco', files, problems, lambda: None, masks=True)
    return record, classes, problems.found


def test_crowds_of_coco_are_ignored_by_masks(tmp_path):
    coco(tmp_path, iscrowd=1)
    record, classes, problems = masks_of(tmp_path)
    mask = mask_of(record, classes, scan(tmp_path), Problems())
    assert set(np.unique(mask)) == {0, 255} and not problems


@pytest.mark.parametrize('key', ['images', 'categories'])
def test_coco_with_repeated_ids_is_left_out(key, tmp_path):
    content = coco(tmp_path)
    content[key] *= 2
    (tmp_path / 'a.json').write_text(json.dumps(content))
    records, problems = read(tmp_path)[1::2]
    assert not records and any(f'several {key}' in kind for kind in problems)


@pytest.mark.parametrize(
    ('header', 'absent'),
    [
        ('filename,class,x1,y1,w,h', 'xmax or ymax'),
        ('filename,xmin,ymin,xmax,ymax', 'class'),
        ('filename,class,xmin,ymin,width,height', 'xmax or ymax'),
    ],
)
def test_csv_whose_header_lacks_a_column_is_left_out(header, absent, tmp_path):
    write_image(tmp_path / 'a.jpg')
    (tmp_path / 'a.csv').write_text(f'{header}\na.jpg,1,20,30,40,50\n')
    records, problems = read(tmp_path, format='csv')[1::2]
    assert not records and any(kind.endswith(absent) for kind in problems)


def test_groups_of_open_images_and_rotated_boxes_of_cvat_are_left_out(tmp_path):
    truth = {'1.jpg': [('cat', 10.0, 10.0, 40.0, 40.0), ('dog', 50.0, 8.0, 74.0, 40.0)]}
    table = write_set(tmp_path / 'a', 'openimages', truth) / 'labels.csv'
    # IsGroupOf is the third column from the end
    table.write_text(re.sub(r'(,dog,.*),,,$', r'\1,1,,', table.read_text(), flags=re.M))
    marked = write_set(tmp_path / 'b', 'cvat', truth) / 'labels.xml'
    text = marked.read_text().replace(
        '<box label="dog"', '<box rotation="9" label="dog"'
    )
    marked.write_text(text)
    for folder in ('a', 'b'):
        _, (record,), _, problems = read(tmp_path / folder)
        assert record.labels == ['cat']
        assert any('left out' in kind for kind in problems)


def test_a_link_to_a_folder_above_is_not_followed(tmp_path):
    write_set(tmp_path, 'voc')
    (tmp_path / 'images/loop').symlink_to('..')
    assert sorted(scan(tmp_path).images) == sorted(f'images/{name}' for name in TRUTH)
