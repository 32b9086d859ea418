"""Bad data is reported before a run, by name and with a remedy."""

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from PIL import ExifTags, Image

from mnv2_mm.datasets.checks import source as check_source
from mnv2_mm.datasets.checks.preflight import check
from mnv2_mm.datasets.sample.writer import SampleSettings, write_sample_set
from mnv2_mm.utils.errors import InputError

ROOT = Path(__file__).resolve().parents[3]
HOSTS = {'det': 'mmdet', 'seg': 'mmseg', 'cls': 'mmpretrain'}
REAL = ROOT.parent / 'shared' / 'data'


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp('made') / 'sample'
    write_sample_set(out, SampleSettings(train=6, val=16))
    return out


@pytest.fixture
def sample(made, tmp_path):
    return shutil.copytree(made, tmp_path / 'sample')


def config(task: str, root: Path) -> Config:
    pytest.importorskip(HOSTS[task])
    base = ROOT / f'configs/_base_/datasets/sample_{task}.py'
    text = base.read_text().replace('data/sample/', f'{root}/')
    cfg = Config.fromstring(text, '.py')
    cfg.default_scope = HOSTS[task]
    return cfg


def edit(path: Path, change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def edit_train(change):
    return lambda root, cfg: edit(root / 'annotations/train.json', change)


def set_all(rows, **values):
    for row in rows:
        row.update(values)


def drop_key(table, key):
    return edit_train(lambda c: c[table][0].pop(key))


def each_dataset(cfg, **values):
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'].dataset.update(values)


def rename_class(root, cfg):
    classes = ('circle', 'Squares', 'triangle', 'star', 'ring')
    each_dataset(cfg, metainfo=dict(classes=classes))


def without_classes(root, cfg):
    for split in ('train', 'val', 'test'):
        del cfg[f'{split}_dataloader'].dataset['metainfo']


def swap_classes(root, cfg):
    classes = ('square', 'circle', 'triangle', 'star', 'ring')
    each_dataset(cfg, metainfo=dict(classes=classes))


def forget_comma(root, cfg):
    each_dataset(cfg, metainfo=dict(classes=('circle')))


def cut_image(root, cfg):
    path = root / 'images/train/00002.jpg'
    path.write_bytes(path.read_bytes()[:700])


def write_mask(value, name='masks/train/00000.png'):
    def write(root, cfg):
        shape = cv2.imread(str(root / name), -1).shape
        cv2.imwrite(str(root / name), np.full(shape, value, np.uint8))

    return write


def write_all_masks(root, cfg):
    for path in (root / 'masks').rglob('*.png'):
        mask = cv2.imread(str(path), -1)
        cv2.imwrite(str(path), np.where(mask > 0, 255, 0).astype(np.uint8))


def small_mask(root, cfg):
    path = root / 'masks/val/00001.png'
    cv2.imwrite(str(path), cv2.imread(str(path), -1)[::2, ::2])


def color_mask(root, cfg):
    path = root / 'masks/val/00001.png'
    cv2.imwrite(str(path), cv2.imread(str(path), 1))


def remove(*names):
    def run(root, cfg):
        for name in names:
            for path in root.glob(name):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    return run


def write(name, text):
    return lambda root, cfg: (root / name).write_text(text)


def use_listing(text, encoding='utf-8'):
    def run(root, cfg):
        (root / 'train.txt').write_text(text, encoding=encoding)
        cfg.train_dataloader.dataset.ann_file = 'train.txt'

    return run


def setting(key, value):
    return lambda root, cfg: cfg.merge_from_dict({key: value})


def save_as(encoding):
    return lambda root, cfg: (root / ANN).write_text(
        (root / ANN).read_text(), encoding=encoding
    )


def change_rows(table='annotations', rows=slice(0, 3, 2), **values):
    return edit_train(lambda c: set_all(c[table][rows], **values))


def with_masks(root, cfg):
    cfg.train_dataloader.dataset.pipeline[1].with_mask = True
    change_rows(segmentation='outline')(root, cfg)


def with_far_masks(root, cfg):
    cfg.train_dataloader.dataset.pipeline[1].with_mask = True
    change_rows(segmentation=[[1, 1, 9, 1, 1e9, 9]])(root, cfg)


def exif_of(orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


def turn_images(root, cfg):
    for path in (root / 'images/train').iterdir():
        with Image.open(path) as image:
            image.save(path, exif=exif_of(6))


TRAIN = 'train_dataloader.dataset'
ANN = 'annotations/train.json'
HEAD80 = setting('model', dict(bbox_head=dict(num_classes=80)))

ERRORS = {
    # ---- detection ------------------------------------------------------
    'no data': ('det', lambda root, cfg: shutil.rmtree(root),
                'data folder .*sample/ is missing'
                r'.*train_dataloader.dataset.data_root.*mnv2 sample'),
    'no annotations': ('det', remove(ANN), f'{ANN} is missing'
                       r'.*dataset.ann_file.*has val.json.*mnv2 sample'),
    'empty file': ('det', write(ANN, ''), f'{ANN} is empty. Fetch or write'),
    'not JSON': ('det', write(ANN, '{"images": ['), f'{ANN} is not COCO'
                 '.*line 1.*write it again'),
    'a list': ('det', write(ANN, '[]'), 'should be an object'),
    'other JSON': ('det', write(ANN, '{"shapes": [], "flags": {}}'),
                   "'images': .*it has the keys shapes, flags"),
    'no categories': ('det', edit_train(lambda c: c.pop('categories')),
                      "is not COCO JSON .'categories'"),
    'no area': ('det', drop_key('annotations', 'area'),
                r"1 entries in 'annotations' lack the key 'area'"
                r'.*width \* height'),
    'no width': ('det', drop_key('images', 'width'), "lack the key 'width'"),
    'bad bbox': ('det', edit_train(
        lambda c: c['annotations'][3].update(bbox=[1, 2, None])),
        r"wrong 'bbox'.*annotations\[3\].*x, y, width, height"),
    'with BOM': ('det', save_as('utf-8-sig'), f'{ANN} begins with .*BOM.*Save'),
    'UTF-16': ('det', save_as('utf-16'), f'{ANN} is not UTF-8 .*byte 0.*Save'),
    'NaN': ('det', change_rows(bbox=[0, float('nan'), 5, 5]),
            "wrong 'bbox' .*finite.*NaN"),
    '1e300': ('det', change_rows(bbox=[0, 0, 1e300, 5]), "wrong 'bbox' .*1e.300"),
    'area as text': ('det', change_rows(area='big'),
                     r"""2 entries in 'annotations' have a wrong 'area' .*"big".*"""
                     r'annotations\[0\], annotations\[2\]\.'),
    'list as id': ('det', change_rows(id=[7]), r"wrong 'id' .*\[7\]"),
    'truth as id': ('det', change_rows(image_id=True), "wrong 'image_id' .*true"),
    'text as iscrowd': ('det', change_rows(iscrowd='no'), "wrong 'iscrowd' .*no"),
    'row': ('det', edit_train(lambda c: c['images'].append('x.jpg')),
            r"'images' are no objects.*x.jpg.*images\[6\]"),
    'no file_name': ('det', change_rows('images', file_name=None),
                     "wrong 'file_name' .*null"),
    'width as text': ('det', change_rows('images', width='640'),
                      "wrong 'width' .*640"),
    'no height': ('det', change_rows('images', height=0), "wrong 'height' .*0"),
    'number as name': ('det', change_rows('categories', name=3), "wrong 'name' .*3"),
    'masks': ('det', with_masks, "wrong 'segmentation'"),
    'far masks': ('det', with_far_masks, "wrong 'segmentation'"),
    'iscrowd for evaluation': ('det', lambda root, cfg: edit(
        root / 'annotations/val.json', lambda c: c['annotations'][1].pop('iscrowd')),
        r"lack the key 'iscrowd': annotations\[1\]"),
    'key twice': ('det', lambda root, cfg: (root / ANN).write_text(
        (root / ANN).read_text().replace('"area"', '"area": 9, "area"', 2)),
        r"same key twice.*'area' \(2\)"),
    'name twice': ('det', change_rows('categories', name='ring'),
                   "names in 'categories' are not unique: ring"),
    'other size': ('det', change_rows('images', slice(6), width=99),
                   '6 of 6 train images .*00000.jpg is 192x144, its annotation says '
                   '99x144'),
    'turned': ('det', turn_images, 'is 144x192, turned by its EXIF orientation, its '
               'annotation says 192x144.*color_ignore_orientation'),
    'repeated ids': ('det', edit_train(
        lambda c: set_all(c['annotations'][:2], id=9)),
        "ids in 'annotations' are not unique: 9.*Number the entries again"),
    'no images': ('det', edit_train(lambda c: c.update(images=[])),
                  "'images': .*at least 1"),
    'class name': ('det', rename_class, "lacks 1 of the 5 classes.*'Squares' "
                   r"\(meant: 'square'\?\).*'triangle'.*write the names"),
    'classes of COCO': ('det', without_classes, 'lacks 80 of the 80 classes.*'
                        r'metainfo=dict\(classes=\(...\)\)'),
    'class order': ('det', swap_classes, 'order the classes differently.*'
                    r"Write classes=\('circle', 'square'"),
    'no comma': ('det', forget_comma, r"the text 'circle'.*\('circle',\)"),
    'class twice': ('det', setting(
        f'{TRAIN}.metainfo.classes', ['circle', 'circle']),
        'names circle more than once'),
    'head': ('det', HEAD80, 'model.bbox_head.num_classes is 80.*5 classes.*'
             'circle, square.*Set it to 5'),
    'nested head': ('det', setting('model', dict(roi_head=dict(bbox_head=[
        dict(num_classes=5), dict(num_classes=3)]))),
        r'model.roi_head.bbox_head\[1\].num_classes is 3'),
    'anchors': ('det', setting('model', dict(bbox_head=dict(
        anchor_generator=dict(input_size=300)))),
        r'images of 128x128, but .*input_size is 300x300.*one input_size'),
    'anchors, two': ('det', setting('model', dict(bbox_head=dict(
        anchor_generator=dict(input_size=(192, 160))))),
        r'input_size is 192x160 \(width x height\)'),
    'images missing': ('det', remove('images/val/0000[12].jpg'),
                         r'2 of the 16 val images are missing.*00001.jpg, '
                         r'.*00002.jpg. \S+val has 14 .jpg; correct data_prefix.img'),
    'no image folder': ('det', remove('images/val'), 'images/val is missing'
                          '.*val_dataloader.dataset.data_prefix.img'),
    'truncated': ('det', cut_image, '00002.jpg is a JPEG that is cut off'
                  '.*Fetch this file again'),
    'filter': ('det', setting(f'{TRAIN}.filter_cfg.min_size', 500),
               'filter_cfg leaves none of the 6 images.*Lower min_size'),
    'no boxes': ('det', edit_train(lambda c: c.update(annotations=[])),
                 'no usable box to train on'),
    'relative boxes': ('det', edit_train(lambda c: set_all(
        c['annotations'], bbox=[0.1, 0.1, 0.5, 0.5])),
        'no usable box to train on.*look like relative boxes'),
    'evaluator': ('det', setting('val_evaluator.ann_file', 'data/other.json'),
                  r'val_evaluator.ann_file is data/other.json.* must be the same'),
    # ---- segmentation ---------------------------------------------------
    'mask folder': ('seg', remove('masks/train'), 'masks/train is missing'
                    '.*data_prefix.seg_map_path.*mnv2 sample'),
    'mask missing': ('seg', remove('masks/train/00003.png'),
                     '1 of the 6 train masks are missing: .*00003.png.*'
                     '5 .png; correct seg_map_suffix'),
    'suffix': ('seg', setting(f'{TRAIN}.img_suffix', '.jpeg'),
               r'no images \*.jpeg; it has 6 .jpg. Correct.*img_suffix'),
    'labels': ('seg', write_mask(7), '00000.png has the labels 7; allowed '
               r'are 0 to 5 \(6 classes\) and 255.*Map the labels'),
    'black and white': ('seg', write_all_masks, 'hold only the values 0, 255'
                        r'.*mask\[mask == 255\] = 1'),
    'mask size': ('seg', small_mask, '00001.png is 96x72, its image '
                  '192x144.*nearest neighbor'),
    'color mask': ('seg', color_mask, '00001.png is a color image'),
    'cut mask': ('seg', write('masks/val/00000.png', '?'),
                 '00000.png is in no format'),
    'fractions': ('seg', lambda root, cfg: Image.fromarray(
        np.full((144, 192), 0.5, np.float32)).save(
            root / 'masks/train/00000.png', format='TIFF'),
        '00000.png has fractions'),
    'seg list with a gap': ('seg', use_listing('00000\n\n00001'),
                            'images/train/.jpg'),
    'seg list in Latin-1': ('seg', use_listing('b\xe4r', 'latin-1'),
                            'train.txt is not UTF-8'),
    'decode head': ('seg', setting('model', dict(decode_head=dict(
        num_classes=21))), 'model.decode_head.num_classes is 21.*6 classes'),
    'check': ('seg', setting(f'{TRAIN}.pipeline', [dict(
        type='mnv2_mm.CheckSegMask', num_classes=2)]),
        'num_classes of CheckSegMask in train_dataloader.*is 2'),
    'seg list': ('seg', setting(f'{TRAIN}.ann_file', 'split/train.txt'),
                 'split/train.txt is missing.*ann_file'),
    # ---- classification -------------------------------------------------
    'class folder': ('cls', remove('classify/val/star'), 'has 4 class folders'
                     '.*classes 5; without a folder: star.*Correct'),
    'no folders': ('cls', remove('classify/train/*'), 'has no folders; there '
                   'must be one per class.*mnv2 sample'),
    'empty class': ('cls', remove('classify/train/star/*'),
                    'no images .*of: star. Add some'),
    'folder order': ('cls', lambda root, cfg: each_dataset(cfg, metainfo=dict(
        classes=('circle', 'square', 'triangle', 'star', 'ring'))),
        r"not in alphabetical order.*\('circle', 'ring', 'square'"),
    'cls head': ('cls', setting('model', dict(head=dict(num_classes=1000))),
                 'model.head.num_classes is 1000.*5 classes'),
    'preprocessor': ('cls', setting('data_preprocessor', dict(
        num_classes=1000)), 'data_preprocessor.num_classes is 1000'),
    'no label': ('cls', use_listing('classify/a.jpg'), 'train.txt, line 1: '
                 ".*is not an image's path, a space and a label number"),
    'no digit': ('cls', use_listing('a.jpg \xb2'), 'train.txt, line 1: '),
    'cls list with BOM': ('cls', use_listing('a.jpg 1', 'utf-8-sig'),
                          'train.txt begins with .*BOM'),
    'classes in Latin-1': ('cls', lambda root, cfg: (
        (root / 'names.txt').write_text('b\xe4r', encoding='latin-1'),
        each_dataset(cfg, metainfo=dict(classes=str(root / 'names.txt')))),
        'names.txt is not UTF-8'),
    'no image': ('cls', lambda root, cfg: next(
        (root / 'classify/val/star').iterdir()).write_text('hello'),
        'is in no format'),
    'label': ('cls', use_listing('a.jpg 5'), 'line 1: the label 5 is out of '
              'range.*0 to 4 are allowed'),
    'cut crop': ('cls', lambda root, cfg: next(
        (root / 'classify/val/star').iterdir()).write_bytes(b''),
        'is empty. Fetch this file again'),
}  # fmt: skip


@pytest.mark.parametrize('case', ERRORS)
def test_errors(case, sample):
    task, change, expected = ERRORS[case]
    cfg = config(task, sample)
    change(sample, cfg)
    with pytest.raises(InputError, match=f'(?s){expected}'):
        check(cfg)


WARNINGS = {
    'empty box': ('det', edit_train(
        lambda c: c['annotations'][1].update(bbox=[5, 5, 0, 9])),
        r'1 of \d+ boxes are left out.*1 of less than one pixel '
        r'\(annotation ids 2\).*Correct or remove'),
    'box outside': ('det', edit_train(
        lambda c: c['annotations'][2].update(bbox=[900, 5, 10, 9])),
        r'1 outside their image \(annotation ids 3\)'),
    'corner boxes': ('det', edit_train(lambda c: set_all(
        c['annotations'], bbox=[150, 100, 220, 180])),
        r'100% of the boxes.*look like \[x1, y1, x2, y2\]'),
    'spare class': ('det', lambda root, cfg: [
        cfg[f'{split}_dataloader'].dataset.metainfo.update(
            classes=('circle', 'square')) for split in ('train', 'val')],
        r'triangle \(\d+\), .*left out, since train_dataloader'),
    'class without boxes': ('det', edit_train(
        lambda c: set_all(c['annotations'], category_id=1)),
        'has no box of: square, triangle, star, ring'),
    'unknown category': ('det', change_rows(category_id=77),
                         r'unknown category_id 77 \(2\) .*left out'),
    'absolute path': ('det', lambda root, cfg: change_rows(
        'images', file_name=str(root / 'images/train/00001.jpg'))(root, cfg),
        '1 images have a file_name that leads out of .*00001.jpg'),
    'turned image': ('det', lambda root, cfg: change_rows(
        'images', width=144, height=192)(root, cfg),
        '2 of 6 train images .*is 192x144, its annotation says 144x192'),
    'stray': ('det', edit_train(
        lambda c: c['annotations'][0].update(image_id=77)),
        '1 annotations belong to no image'),
    'loader': ('det', setting('test_dataloader.dataset.pipeline', [dict(
        type='mnv2_mm.LoadImage')]), 'do not know; use LoadImageFromFile'),
    'one label': ('seg', lambda root, cfg: [
        cv2.imwrite(str(path), np.zeros((144, 192), np.uint8))
        for path in (root / 'masks/train').iterdir()],
        '6 of the 6 masks .* hold one label only: 0'),
}  # fmt: skip


@pytest.mark.parametrize('case', WARNINGS)
def test_warnings(case, sample):
    task, change, expected = WARNINGS[case]
    cfg = config(task, sample)
    change(sample, cfg)
    warnings = check(cfg)
    assert any(re.search(f'(?s){expected}', text) for text in warnings)


@pytest.mark.parametrize('task', HOSTS)
def test_good_data_passes_without_warning(task, made):
    assert check(config(task, made)) == []


def test_masks_fit_images_as_they_are_loaded(sample):
    """An image that its EXIF orientation turns has an upright mask."""
    cfg = config('seg', sample)
    path = sample / 'images/train/00000.jpg'
    with Image.open(path) as image:
        turned = image.transpose(Image.Transpose.ROTATE_90)
        turned.save(path, exif=exif_of(6))
    assert check(cfg, splits=['train']) == []
    cfg.train_dataloader.dataset.pipeline[0].color_type = 'color_ignore_orientation'
    with pytest.raises(InputError, match=r'00000.png is 192x144, its image 144x192'):
        check(cfg, splits=['train'])


def test_test_set_needs_no_training_data(sample):
    cfg = config('det', sample)
    (sample / ANN).unlink()
    assert check(cfg, splits=['test']) == []
    with pytest.raises(InputError):
        check(cfg)


def test_all_problems_are_reported_once_and_in_order(sample):
    cfg = config('det', sample)
    remove('images/val/00001.jpg')(sample, cfg)
    cut_image(sample, cfg)
    HEAD80(sample, cfg)
    with pytest.raises(InputError) as caught:
        check(cfg)
    lines = str(caught.value).splitlines()
    assert lines[0] == '5 problems with the data:'
    assert [line.split('. ')[0] for line in lines[1:]] == list('12345')
    assert sum('00001.jpg' in line for line in lines) == 1  # val and test


def test_missing_root_is_reported_once(tmp_path):
    with pytest.raises(InputError) as caught:
        check(config('det', tmp_path / 'none'))
    assert str(caught.value).count('is missing') == 1


@pytest.mark.parametrize('wrapper', ['RepeatDataset', 'ConcatDataset'])
def test_wrapped_data_sets_are_found(wrapper, sample):
    cfg = config('det', sample)
    inner = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=inner)
    if wrapper == 'ConcatDataset':
        cfg.train_dataloader.dataset = dict(type=wrapper, datasets=[inner])
    assert check(cfg) == []
    (sample / ANN).unlink()
    with pytest.raises(InputError, match=r'dataset(\.dataset|s\[0\])'):
        check(cfg)


def test_large_sets_are_checked_in_part(sample, monkeypatch):
    opened = []
    monkeypatch.setattr(check_source, 'MAX_OPENED', 2)
    monkeypatch.setattr(
        check_source, 'problem_of_file', lambda path: opened.append(path)
    )
    check(config('det', sample), splits=['train'])
    assert len(opened) == 2


def test_subset_of_the_classes_of_a_segmentation_set(sample):
    """mmseg renumbers labels then; those of the file stay allowed."""
    cfg = config('seg', sample)
    cfg.train_dataloader.dataset.type = 'PascalVOCDataset'
    cfg.train_dataloader.dataset.metainfo = dict(classes=('cat', 'dog'))
    cfg.train_dataloader.dataset.pipeline = []
    write_mask(20)(sample, cfg)
    assert check(cfg, splits=['train']) == []
    write_mask(21)(sample, cfg)
    with pytest.raises(InputError, match='0 to 20'):
        check(cfg, splits=['train'])


@pytest.mark.skipif(not REAL.is_dir(), reason='no shared data')
def test_real_detection_set_passes():
    cfg = config('det', REAL / 'bccd_coco')
    names = dict(classes=('RBC', 'WBC', 'Platelets'))
    each_dataset(cfg, metainfo=names, data_prefix=dict(img='images/'))
    assert check(cfg) == []
