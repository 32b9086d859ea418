"""`mnv2 data`: from a folder to a config that trains, for the three tasks."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from own_sets import CLASSES, TRUTH, write_image, write_set
from PIL import Image

pytest.importorskip('globox', reason="the extra 'data' is not installed")
pytest.importorskip('mmdet')

from mmengine.config import Config

from mnv2_mm.analysis.anchor_fit import Fit, fit_anchors
from mnv2_mm.commands import data
from mnv2_mm.datasets.checks.preflight import check
from mnv2_mm.datasets.own.records import Record

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _no_downloads(monkeypatch):
    from mnv2_mm.checkpoints import start

    monkeypatch.setattr(start, '_published', lambda task: (None, 'random weights'))


def masks(root, values=(0, 1, 2), suffix='.png'):
    """Images of two splits with PNG masks of some labels."""
    for split, count in (('train', 4), ('val', 2)):
        for n in range(count):
            write_image(root / f'images/{split}/{n}.jpg', seed=n)
            mask = np.resize(np.repeat(values, 5), (60, 80)).astype(np.uint8)
            path = root / f'masks/{split}/{n}{suffix}'
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), mask)
    return root


def folders(root):
    for name in CLASSES:
        for n in range(6):
            write_image(root / name / f'{n}.jpg', seed=n)
    return root


def coco_masks(root):
    """COCO polygons; the small object lies on the large one."""
    write_set(root, 'coco')
    path = root / 'labels.json'
    content = json.loads(path.read_text())
    for row in content['annotations']:
        x, y, w, h = row['bbox']
        row['segmentation'] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    path.write_text(json.dumps(content))
    return root


SETS = {
    'boxes': (lambda root: write_set(root, 'voc'), (), ('cat', 'dog')),
    'masks': (masks, (), ('background', 'class_1', 'class_2')),
    'masks of 255': (lambda root: masks(root, (0, 255)), (), ('background', 'object')),
    'COCO masks': (coco_masks, ('--task', 'seg'), ('background', 'cat', 'dog')),
    'folders': (folders, (), ('cat', 'dog')),
}


@pytest.mark.parametrize('name', SETS)
def test_the_written_config_passes_the_checks_wherever_it_is(name, tmp_path, run_tool):
    make, flags, classes = SETS[name]
    source = make(tmp_path / 'source')
    out = tmp_path / 'made' / 'My set-1'
    assert run_tool('prepare_data', source, '--out', out, *flags) == 0
    moved = shutil.move(out, tmp_path / "it's elsewhere")
    path = Path(moved) / 'my_set_1.py'
    cfg = Config.fromfile(path)
    assert cfg.train_dataloader.dataset.metainfo.classes == classes
    assert check(cfg) == []
    assert (Path(moved) / 'summary.png').stat().st_size > 10_000
    assert (Path(moved) / 'report.txt').read_text().startswith('Report of')
    again = Config.fromstring(cfg.pretty_text, '.py')
    assert again.model == cfg.model


def test_input_size_and_epochs_can_be_chosen(tmp_path, run_tool, capsys):
    source, out = write_set(tmp_path / 'source', 'voc'), tmp_path / 'mine'
    command = ('prepare_data', source, '--out', out)
    for flag, value in (('--input-size', 8), ('--epochs', 0)):
        assert run_tool(*command, flag, value) == 2
        assert f'{flag} is {value}' in capsys.readouterr().err
    assert run_tool(*command, '--input-size', 160, '--epochs', 3) == 0
    cfg = Config.fromfile(out / 'mine.py')
    assert cfg.model.bbox_head.anchor_generator.input_size == (160, 160)
    (scale,) = (x.scale for x in cfg.train_pipeline if x.type == 'Resize')
    assert scale == (160, 160)
    assert cfg.train_cfg.max_epochs == cfg.param_scheduler[1].end == 3
    output = capsys.readouterr().out
    assert 'training: 3 epochs' in output and 'input 160' in output


def test_a_folder_stands_for_the_one_config_in_it(tmp_path):
    from mnv2_mm.utils.config import config_path
    from mnv2_mm.utils.errors import InputError

    (tmp_path / 'mine.py').touch()
    assert config_path(tmp_path) == tmp_path / 'mine.py'
    (tmp_path / 'other.py').touch()
    with pytest.raises(InputError, match=r'mine\.py, other\.py'):
        config_path(tmp_path)


def test_a_warm_up_longer_than_the_training_is_refused(
    tiny_config, run_tool, tmp_path, capsys
):
    warm_up = dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=1000)
    path = tiny_config('cls', f'param_scheduler = [{warm_up}]', name='long_warm_up')
    assert run_tool('train', path, '--work-dir', tmp_path) == 2
    error = capsys.readouterr().err
    assert 'takes 1000 steps' in error and 'param_scheduler.LinearLR.end' in error


def test_masks_are_written_as_class_numbers(tmp_path, run_tool):
    source = coco_masks(tmp_path / 'source')
    out = tmp_path / 'out'
    assert run_tool('prepare_data', source, '--out', out, '--task', 'seg') == 0
    (path,) = out.glob('ann_dir/*/photo 3.png')
    mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert np.unique(mask).tolist() == [0, 1, 2]
    assert mask[20, 20] == 1 and mask[20, 60] == 2 and mask[1, 1] == 0


def gray(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((60, 80), value, np.uint8))


def test_images_of_one_name_get_their_own_masks(tmp_path, run_tool):
    source, out = tmp_path / 'source', tmp_path / 'out'
    values = {}
    for n in range(4):
        for folder, value in (('a', 0), ('b', 1)):
            image = source / f'images/{folder}/{n}.jpg'
            write_image(image, seed=10 * value + n)
            values[image.read_bytes()] = value
            gray(source / f'masks/{folder}/{n}.PNG', value)
    write_image(source / 'images/two.jpg')
    for folder in 'ab':  # which of them is right is not known
        gray(source / f'masks/{folder}/two.png', 0)
    assert run_tool('prepare_data', source, '--out', out) == 0
    written = list(out.glob('img_dir/*/*.jpg'))
    assert sorted(path.read_bytes() for path in written) == sorted(values)
    for path in written:
        mask = out / 'ann_dir' / path.parent.name / f'{path.stem}.png'
        found = cv2.imread(str(mask), cv2.IMREAD_UNCHANGED)
        assert (found == values[path.read_bytes()]).all()


def test_no_image_of_the_source_is_replaced(tmp_path, run_tool):
    source, out = tmp_path / 'source', tmp_path / 'out'
    names = ['x/cat/1', 'y/cat/1', 'y/cat/train_x_cat_1', 'x/dog/1', 'y/dog/1']
    for seed, name in enumerate(names):
        write_image(source / f'train/{name}.jpg', seed=seed)
        write_image(source / f'val/{name}.jpg', seed=seed + 10)
    shutil.copy(source / 'train/x/dog/1.jpg', source / 'train/x/dog/1.png')
    before = {path: path.read_bytes() for path in source.rglob('*.*')}
    assert run_tool('prepare_data', source, '--out', out) == 0
    assert all(path.read_bytes() == content for path, content in before.items())
    images = [path.read_bytes() for path in out.glob('*/*/*.*')]
    assert sorted(images) == sorted(before.values())


def test_a_prepared_set_inside_of_the_source_is_not_read(tmp_path, run_tool):
    source = folders(tmp_path / 'source')
    for flags in ((), ('--force',)):
        out = source / 'prepared'
        assert run_tool('prepare_data', source, '--out', out, *flags) == 0
        assert len(list(out.glob('*/*/*.jpg'))) == 6 * len(CLASSES)


def test_broken_images_and_masks_are_named(tmp_path, run_tool, capsys):
    source = masks(tmp_path / 'source')
    for place in ('images/train/1.jpg', 'masks/train/2.png'):
        (source / place).write_bytes((source / place).read_bytes()[:-100])
    assert run_tool('prepare_data', source, '--out', tmp_path / 'out') == 0
    shown = capsys.readouterr().out
    assert re.search('cut off.*: images/train/1.jpg', shown)
    assert 'damaged: masks/train/2.png' in shown


def test_gaps_of_class_numbers_are_named(tmp_path, run_tool, capsys):
    source = masks(tmp_path / 'source', values=(0, 128))
    assert run_tool('prepare_data', source, '--out', tmp_path / 'out') == 0
    assert 'class number that no mask has' in capsys.readouterr().out


def test_a_category_named_background_is_the_background(tmp_path, run_tool):
    source = coco_masks(tmp_path / 'source')
    path = source / 'labels.json'
    content = json.loads(path.read_text())
    content['categories'][0]['name'] = 'background'
    path.write_text(json.dumps(content))
    out = tmp_path / 'out'
    assert run_tool('prepare_data', source, '--out', out, '--task', 'seg') == 0
    assert Config.fromfile(out / 'out.py').classes.count('background') == 1


def test_an_image_beside_the_class_folders_is_left_out(tmp_path, run_tool, capsys):
    source = folders(tmp_path / 'source')
    write_image(source / 'loose.jpg')
    assert run_tool('prepare_data', source, '--out', tmp_path / 'out') == 0
    assert 'in no class folder; it is left out: loose.jpg' in capsys.readouterr().out


def test_the_images_of_one_file_may_be_beside_its_folder(tmp_path, run_tool):
    source, out = tmp_path / 'source', tmp_path / 'out'
    write_set(source, 'coco')
    (source / 'annotations').mkdir()
    path = shutil.move(source / 'labels.json', source / 'annotations/labels.json')
    shutil.copy(path, source / 'annotations/other.json')
    assert run_tool('prepare_data', path, '--out', out) == 0
    assert len(list(out.glob('images/*.*'))) == len(TRUTH)


@pytest.mark.parametrize('ending', ['.webp', '.tiff'])
def test_each_ending_of_class_folders_is_trained_on(tmp_path, run_tool, ending):
    source = folders(tmp_path / 'source')
    for path in list(source.rglob('*.jpg'))[::2]:
        cv2.imwrite(str(path.with_suffix(ending)), cv2.imread(str(path)))
        path.unlink()
    out = tmp_path / 'out'
    assert run_tool('prepare_data', source, '--out', out) == 0
    from mmengine.registry import DATASETS

    cfg = Config.fromfile(out / 'out.py')
    with DATASETS.switch_scope_and_registry('mmpretrain') as registry:
        found = [
            registry.build(cfg[f'{split}_dataloader']['dataset'])
            for split in ('train', 'val')
        ]
    assert sum(map(len, found)) == 6 * len(CLASSES)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['boxes', 'masks', 'folders'])
def test_the_folder_trains(name, tmp_path, run_tool):
    make, flags, _ = SETS[name]
    out, work = tmp_path / 'mine', tmp_path / 'work'
    assert run_tool('prepare_data', make(tmp_path / 's'), '--out', out, *flags) == 0
    path = out / 'mine.py'
    text = path.read_text()
    for key, value in (('max_epochs', 1), ('val_interval', 1), ('warmup', 1)):
        text = '\n'.join(
            f'{key} = {value}' if line.startswith(f'{key} = ') else line
            for line in text.splitlines()
        )
    path.write_text(text)
    assert run_tool('train', out, '--work-dir', work) == 0
    assert list(work.glob('best_*.pth'))


def test_a_trained_detector_is_put_into_the_folder(tmp_path, run_tool):
    """Weights of a plain SSD; the config is then one of plain SSD."""
    import torch

    weights = {
        'backbone.conv1.conv.weight': torch.zeros(32, 3, 3, 3),
        'bbox_head.cls_convs.0.weight': torch.zeros(6, 576, 1, 1),
    }
    given = tmp_path / 'given.pth'
    scaling = {'mean': [123.675, 116.28, 103.53], 'std': [58.395, 57.12, 57.375]}
    meta = {'padding': 'symmetric', 'preprocessing': scaling}
    torch.save({'state_dict': weights, 'meta': meta}, given)
    source, out = write_set(tmp_path / 'source', 'yolo'), tmp_path / 'out'
    command = ('prepare_data', source, '--out', out, '--weights', given)
    assert run_tool(*command) == 0
    cfg = Config.fromfile(out / 'out.py')
    assert cfg.load_from == str(out / 'start.pth')
    assert cfg.model.neck.use_depthwise is False
    parts = (cfg.model[part] for part in ('backbone', 'neck', 'bbox_head'))
    assert all(part.padding == 'symmetric' for part in parts)
    assert cfg.model.data_preprocessor.mean == scaling['mean']
    assert cfg.model.data_preprocessor.std == scaling['std']
    weights['backbone.conv1.conv.weight'] = torch.zeros(16, 3, 3, 3)
    torch.save({'state_dict': weights, 'meta': {}}, given)
    assert run_tool(*command, '--force') == 2
    assert Config.fromfile(out / 'out.py').load_from  # the earlier one is whole
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith('.')] == []


def test_forms_of_the_same_images_are_one_set_and_others_are_refused(
    tmp_path, run_tool, capsys
):
    source = write_set(tmp_path / 'source', 'voc')
    write_set(source, 'csv')
    assert run_tool('prepare_data', source, '--out', tmp_path / 'out') == 0
    assert 'CSV of the same images; not read' in capsys.readouterr().out
    (source / 'labels/photo 3.xml').unlink()
    (source / 'labels/photo 4.xml').unlink()
    lines = (source / 'labels.csv').read_text().splitlines()
    kept = [line for line in lines if 'photo 5' not in line]
    (source / 'labels.csv').write_text('\n'.join(kept))
    command = ('prepare_data', source, '--out', tmp_path / 'two')
    assert run_tool(*command) == 2
    error = capsys.readouterr().err
    assert 'VOC XML' in error and 'CSV' in error and '--format' in error
    assert not (tmp_path / 'two').exists()
    assert run_tool(*command, '--format', 'csv') == 0


def test_a_folder_that_is_not_ours_is_never_replaced(tmp_path, run_tool, capsys):
    source, out = write_set(tmp_path / 'source', 'voc'), tmp_path / 'out'
    out.mkdir()
    (out / 'thesis.txt').write_text('years of work')
    for flags in ((), ('--force',)):
        assert run_tool('prepare_data', source, '--out', out, *flags) == 2
        assert 'choose another folder' in capsys.readouterr().err
    assert os.listdir(out) == ['thesis.txt']


def test_boxes_of_which_none_is_left(tmp_path, run_tool, capsys):
    source = write_set(tmp_path / 'source', 'voc')
    shutil.rmtree(source / 'images')
    write_image(source / 'images/another.jpg')
    assert run_tool('prepare_data', source, '--out', tmp_path / 'out') == 2
    error = capsys.readouterr().err
    assert f'{len(TRUTH)} x annotation left out' in error
    assert not (tmp_path / 'out').exists()


def test_anchors_are_chosen_by_the_boxes():
    def fits(side):
        boxes = np.array([[100, 100, 100 + side, 100 + side]], float)
        records = [Record('a.jpg', (300, 300), ['a'], boxes + 7 * n) for n in range(20)]
        return fit_anchors(records, 300)

    official, best = fits(90)
    assert official.mean == 1 and best == official
    official, best = fits(20)
    assert official.mean + 0.3 < best.mean
    assert list(best.scales) == sorted(best.scales) and not best.reduce_lowest


@pytest.mark.parametrize(('seed', 'sides'), [(2, (29, 65, 202)), (1, (30, 50, 100))])
def test_default_boxes_of_k_means_reach_as_many_objects(seed, sides):
    """More of them without this rule: for fewer on average, or of one class."""
    rng, records = np.random.default_rng(seed), []
    for _ in range(30):
        size = np.array(sides)[:, None] * np.exp(rng.normal(0, 0.12, (3, 2)))
        corners = rng.uniform(0, 300 - size)
        boxes = np.concatenate([corners, corners + size], axis=1)
        records.append(Record('a.jpg', (300, 300), ['a', 'b', 'c'], boxes))
    official, best = fit_anchors(records, 300)
    assert best.mean >= official.mean and best.lowest >= official.lowest


@pytest.mark.parametrize(('trained', 'kept'), [(True, True), (False, False)])
def test_a_trained_detector_keeps_its_default_boxes(trained, kept, monkeypatch):
    fits = [
        Fit(scales, False, {'cat': 1.0}, matches)
        for scales, matches in (((0.2, 1.0), 2.0), ((0.1, 1.0), 3.0))
    ]
    monkeypatch.setattr(
        'mnv2_mm.analysis.anchor_fit.fit_anchors', lambda *_, **__: fits
    )
    values, notes = {}, {}
    data._choose_anchors([], 300, values, notes, trained=trained, seed=0)
    assert (values['scales'] == (0.2, 1.0)) == kept
    assert str((0.1 if kept else 0.2, 1.0)) in notes['scales']  # the other choice


@pytest.mark.slow
def test_a_hundred_thousand_files_need_less_than_two_gigabytes(tmp_path):
    source = tmp_path / 'source'
    write_image(source / 'images/0.jpg')
    (source / 'labels').mkdir()
    (source / 'labels/0.txt').write_text('0 .5 .5 .5 .5\n1 .3 .3 .2 .2\n')
    for n in range(1, 50_000):
        folder = source / f'images/{n // 1000}'
        folder.mkdir(exist_ok=True)
        os.link(source / 'images/0.jpg', folder / f'{n}.jpg')
        os.link(source / 'labels/0.txt', source / f'labels/{n}.txt')
    code = (
        'import re, runpy, sys\n'
        f'sys.argv = ["x", {str(source)!r}, "--out", {str(tmp_path / "out")!r}]\n'
        'import mnv2_mm.checkpoints.start as start\n'
        'start._published = lambda task: (None, "random")\n'
        f'try:\n    runpy.run_path({str(ROOT / "tools/prepare_data.py")!r}, '
        'run_name="__main__")\nfinally:\n'
        # not ru_maxrss, which begins with that of the process that starts this one
        '    status = open("/proc/self/status").read()\n'
        '    print(re.search(r"VmHWM:\\s+(\\d+)", status)[1])\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1]) < 2_000_000  # kB
    assert len(list((tmp_path / 'out/images').rglob('*.jpg'))) == 50_000


def test_masks_of_turned_photos_have_the_size_of_their_images(tmp_path, run_tool):
    source, out = tmp_path / 'source', tmp_path / 'out'
    images, rows = [], []
    for n in range(1, 5):
        path = source / f'{n}.jpg'
        write_image(path, seed=n, size=(80, 60))
        with Image.open(path) as image:
            exif = image.getexif()
            exif[0x0112] = 6  # turned by 90 degrees
            image.save(path, exif=exif)
        images.append(dict(id=n, file_name=path.name, width=80, height=60))
        polygon = [[10, 10, 60, 10, 60, 40, 10, 40]]
        rows.append(dict(id=n, image_id=n, category_id=1, segmentation=polygon))
    content = dict(images=images, annotations=rows)
    content['categories'] = [dict(id=1, name='cat')]
    (source / 'all.json').write_text(json.dumps(content))
    assert run_tool('prepare_data', source, '--out', out, '--task', 'seg') == 0
    written = list(out.glob('img_dir/*/*.jpg'))
    assert len(written) == 4
    for path in written:
        mask = cv2.imread(str(out / 'ann_dir' / path.parent.name / f'{path.stem}.png'))
        assert cv2.imread(str(path)).shape == mask.shape


def test_masks_beyond_8_bits_and_yaml_of_other_programs(tmp_path, run_tool, capsys):
    source, out = tmp_path / 'source', tmp_path / 'out'
    for n in range(5):
        write_image(source / f'images/{n}.jpg', seed=n)
        gray(source / f'masks/{n}.png', n % 2)
    cv2.imwrite(str(source / 'masks/4.png'), np.full((60, 80), 300, np.uint16))
    (source / 'deploy.yaml').write_text('a: 1\n---\nb: 2\n')
    assert run_tool('prepare_data', source, '--out', out) == 0
    assert 'over 255' in capsys.readouterr().out
    assert len(list(out.glob('img_dir/*/*.jpg'))) == 4
