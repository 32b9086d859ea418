"""The segmentation and classification configs: each is whole and trains."""

import ast
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from config_files import CONFIGS, REQUIRED_KEYS, build, build_on_meta, load, meta_model
from mmengine.config import Config, ConfigDict
from mmengine.dataset import Compose, pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, MODELS, DefaultScope
from mmengine.structures import PixelData
from mmpretrain.structures import DataSample
from mmseg.structures import SegDataSample
from yapf.yapflib.yapf_api import FormatCode

SEG = (
    'deeplabv3_mnv2_voc',
    'sample/deeplabv3_sample',
    'examples/deeplabv3_pets',
    'examples/pspnet_mnv2',
    'deeplabv3_mnv2_voc_adamw_40k',
    'examples/deeplabv3_own_data',
)
CLS = (
    'mnv2_in1k',
    'sample/mnv2_sample',
    'examples/mnv2_pets',
    'examples/classifier_mnv2',
    'mnv2_in1k_sgd_600e',
    'examples/mnv2_own_data',
)
DEEPLAB = (*SEG[:3], *SEG[4:])


def classes_of(cfg: Config) -> int:
    head = cfg.model.get('decode_head') or cfg.model.head
    return head.num_classes


def batch(cfg: Config, sizes: list[tuple[int, int]]) -> dict:
    """Random images with random labels, one in four without a label."""
    generator = torch.Generator().manual_seed(0)
    inputs, samples = [], []
    for height, width in sizes:
        shape = (3, height, width)
        image = torch.randint(256, shape, generator=generator)
        inputs.append(image.to(torch.uint8))
        if 'decode_head' in cfg.model:
            mask = torch.randint(
                classes_of(cfg), (1, height, width), generator=generator
            )
            mask[:, ::2, ::2] = 255
            sample = SegDataSample(gt_sem_seg=PixelData(data=mask))
            sample.set_metainfo(
                dict(img_shape=(height, width), ori_shape=(height, width))
            )
        else:
            sample = DataSample().set_gt_label(1)
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def steps(cfg: Config, count: int, images: int) -> list[float]:
    """The losses of a few steps of the config's optimizer on one batch."""
    model = build(cfg)
    model.init_weights()
    model.train()
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    losses = []
    for _ in range(count):
        if 'decode_head' in cfg.model:
            height, width = cfg.model.data_preprocessor.size
            data = batch(cfg, [(height - 3, width)] * images)
        else:
            data = batch(cfg, [(64, 64)] * images)
            data['inputs'] = torch.stack(data['inputs'])
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            losses.append(model.train_step(data, wrapper)['loss'].item())
    return losses


def small(name: str) -> Config:
    cfg = load(name)
    if name in SEG:
        cfg.model.data_preprocessor.size = (65, 65)
    return cfg


#: The network of the first config, with another recipe.
TWINS = ('deeplabv3_mnv2_voc_adamw_40k', 'mnv2_in1k_sgd_600e')


def twins_slow(names: tuple[str, ...]) -> list:
    return [
        pytest.param(name, marks=pytest.mark.slow) if name in TWINS else name
        for name in names
    ]


@pytest.mark.parametrize('name', twins_slow(SEG + CLS))
def test_trains_one_step(name):
    """Weights change and the loss of the same batch is another one."""
    first, second = steps(small(name), 2, images=2)
    assert np.isfinite([first, second]).all()
    assert first != second


@pytest.mark.parametrize('name', twins_slow(DEEPLAB))
def test_batch_of_one_trains(name):
    losses = steps(small(name), 2, images=1)
    assert np.isfinite(losses).all() and losses[0] != losses[-1]


@pytest.mark.parametrize('name', SEG + CLS)
def test_is_complete_and_needs_no_url(name):
    cfg = load(name)
    assert not [key for key in REQUIRED_KEYS if not cfg.get(key)]
    assert cfg.default_scope == ('mmseg' if name in SEG else 'mmpretrain')
    cfg.pop('data_help')
    content = cfg.to_dict()
    # literals only: what mmengine dumps into a work dir can be read again
    assert ast.literal_eval(repr(content)) == content
    assert '://' not in repr(content)


@pytest.mark.parametrize('name', [SEG[0], CLS[0], 'ssdlite_mnv2_coco'])
def test_survives_dump_and_reload(name, tmp_path, monkeypatch):
    # in the layout of yapf, which tests/conftest.py leaves out
    monkeypatch.setattr('yapf.yapflib.yapf_api.FormatCode', FormatCode)
    cfg = load(name)
    cfg.dump(tmp_path / 'dumped.py')
    assert Config.fromfile(tmp_path / 'dumped.py').to_dict() == cfg.to_dict()


@pytest.mark.parametrize('name', [*SEG[1:3], *CLS[1:3]])
def test_head_has_the_classes_of_the_data(name):
    cfg = load(name)
    dataset = cfg.train_dataloader.dataset
    assert classes_of(cfg) == len(dataset.metainfo.classes)


@pytest.mark.parametrize('size', [(65, 65), (50, 77), (33, 128), (18, 21)])
def test_any_size_at_test_time(size):
    cfg = load('sample/deeplabv3_sample')
    model = build(cfg).eval()
    result = model.test_step(batch(cfg, [size]))[0]
    assert result.pred_sem_seg.data.shape == (1, *size)
    assert result.seg_logits.data.shape == (6, *size)


# Table 7 and Table 4 by the options that the comments of the bases name.
# Without BN's, the counts of the paper's 1000 classes are 3.47M and 6.06M.
@pytest.mark.parametrize(
    ('name', 'options', 'parameters'),
    [
        ('deeplabv3_mnv2_voc', [], 2_113_557),
        (
            'deeplabv3_mnv2_voc',
            ['model.decode_head.atrous_rates="(6,12,18)"'],
            4_523_541,
        ),
        (
            'deeplabv3_mnv2_voc',
            [
                'model.backbone.output_stride=8',
                'model.decode_head.atrous_rates="(12,24,36)"',
            ],
            4_523_541,
        ),
        ('mnv2_in1k', [], 3_504_872),
        (
            'mnv2_in1k',
            ['model.backbone.widen_factor=1.4', 'model.head.in_channels=1792'],
            6_108_776,
        ),
    ],
)
def test_documented_options(name, options, parameters):
    cfg = load(name, *[option.replace('"', '') for option in options])
    model = build_on_meta(cfg)
    assert sum(p.numel() for p in model.parameters()) == parameters
    stride = cfg.model.backbone.get('output_stride', 32)
    assert model.backbone.out_strides == (stride,)
    text = (CONFIGS / '_base_/models/deeplabv3_mnv2.py').read_text()
    text += (CONFIGS / '_base_/models/mnv2_cls.py').read_text()
    for option in options:
        assert re.search(rf'{re.escape(option)}(\s|$)', text), option


@pytest.mark.parametrize(
    ('name', 'widths', 'channels'),
    [
        (
            'deeplabv3_mnv2_voc',
            (0.35, 0.5, 0.75, 1.0, 1.3, 1.4),
            (112, 160, 240, 320, 416, 448),
        ),
        ('mnv2_in1k', (0.35, 0.75, 1.3), (1280, 1280, 1664)),
    ],
)
def test_documented_channels_of_the_widths(name, widths, channels):
    for width, wanted in zip(widths, channels, strict=True):
        cfg = load(name, f'model.backbone.widen_factor={width}')
        with torch.device('meta'):
            backbone = MODELS.build(cfg.model.backbone)
        assert backbone.out_channels == (wanted,)


def test_weight_decay_and_rates_follow_the_source():
    """Dense convolutions are decayed, nothing else; the bias learns twice."""
    cfg = load('deeplabv3_mnv2_voc')
    model = meta_model('deeplabv3_mnv2_voc')
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    groups = {
        id(g['params'][0]): (g['lr'], g['weight_decay'])
        for g in wrapper.optimizer.param_groups
    }
    modules = dict(model.named_modules())
    for name, parameter in model.named_parameters():
        owner = modules[name.rpartition('.')[0]]
        dense = isinstance(owner, torch.nn.Conv2d) and owner.groups == 1
        decayed = dense and name.endswith('weight')
        wanted = (
            0.014 if name == 'decode_head.conv_seg.bias' else 0.007,
            4e-5 if decayed else 0.0,
        )
        assert groups[id(parameter)] == wanted, name


def test_rmsprop_recipe():
    cfg = load('mnv2_in1k')
    wrapper = build_optim_wrapper(meta_model('mnv2_in1k'), cfg.optim_wrapper)
    assert type(wrapper.optimizer).__name__ == 'RMSpropTF'
    group = wrapper.optimizer.param_groups[0]
    wanted = dict(lr=0.045, alpha=0.9, momentum=0.9, eps=1.0)
    assert {key: group[key] for key in wanted} == wanted
    assert {g['weight_decay'] for g in wrapper.optimizer.param_groups} == {0.0, 4e-5}
    assert cfg.param_scheduler[0].gamma == 0.98
    average = cfg.custom_hooks[0]
    assert (average.decay, average.warmup) == (0.9999, True)
    assert average.update_buffers
    assert cfg.auto_scale_lr.base_batch_size == 96


@pytest.fixture(scope='module')
def voc(tmp_path_factory) -> Path:
    """Two VOC images, one wide and one high, with all that VOC has."""
    root = tmp_path_factory.mktemp('VOC2012')
    lists = root / 'ImageSets/Segmentation'
    lists.mkdir(parents=True)
    for folder in ['JPEGImages', 'SegmentationClass', 'SegmentationClassAug']:
        (root / folder).mkdir()
    for name, (height, width) in (('a', (60, 80)), ('b', (90, 50))):
        rng = np.random.default_rng(0)
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        cv2.imwrite(str(root / f'JPEGImages/{name}.jpg'), image)
        mask = rng.integers(0, 21, (height, width), dtype=np.uint8)
        mask[:3] = 255
        for folder in ('SegmentationClass', 'SegmentationClassAug'):
            cv2.imwrite(str(root / folder / f'{name}.png'), mask)
    for split, names in (('train', 'a'), ('aug', 'b'), ('val', 'a\nb')):
        (lists / f'{split}.txt').write_text(f'{names}\n')
    return root


def voc_dataset(cfg: Config, split: str, root: Path):
    dataset = cfg[f'{split}_dataloader'].dataset
    for part in dataset.get('datasets', [dataset]):
        part.data_root = str(root)
    with DefaultScope.overwrite_default_scope('mmseg'):
        return DATASETS.build(dataset)


def test_voc_training_data(voc):
    """train + aug; scale in steps of a quarter; padding without a label.

    Padding is below and on the right, by the mean, and flipped along.
    """
    cfg = load('deeplabv3_mnv2_voc')
    dataset = voc_dataset(cfg, 'train', voc)
    assert len(dataset) == 2
    np.random.seed(0)
    shapes, flips = set(), set()
    for _ in range(60):
        item = dataset[0]
        assert item['inputs'].shape == (3, 513, 513)
        filled = (item['inputs'] != 127.5).any(dim=0)
        rows, columns = filled.any(dim=1), filled.any(dim=0)
        shapes.add((int(rows.sum()), int(columns.sum())))
        assert rows[0]
        flips.add(bool(columns[-1]))
        labels = item['data_samples'].gt_sem_seg.data[0]
        assert (labels[~rows] == 255).all()
        assert (labels[:, ~columns] == 255).all()
    quarters = np.arange(2, 9) / 4
    assert shapes == {(int(60 * s), int(80 * s)) for s in quarters}
    assert flips == {True, False}
    model = build(cfg)
    data = pseudo_collate([dataset[0], dataset[1]])
    out = model.data_preprocessor(data, training=True)
    assert out['inputs'].shape == (2, 3, 513, 513)
    assert out['inputs'].min() >= -1 and out['inputs'].max() <= 1
    labels = out['data_samples'][0].gt_sem_seg.data
    assert labels.shape == (1, 513, 513)
    assert (labels[:, -1] == 255).all()
    assert (out['inputs'][:, :, -1] == 0).all()


def test_second_voc_training_data(voc):
    """Crops of any size up to 513, padded by the model."""
    cfg = load('deeplabv3_mnv2_voc_adamw_40k')
    dataset = voc_dataset(cfg, 'train', voc)
    data = pseudo_collate([dataset[0], dataset[1]])
    out = build(cfg).data_preprocessor(data, training=True)
    assert out['inputs'].shape == (2, 3, 513, 513)
    labels = out['data_samples'][1].gt_sem_seg.data
    assert set(labels.unique().tolist()) <= {*range(21), 255}


def test_voc_test_data(voc):
    cfg = load('deeplabv3_mnv2_voc')
    items = [voc_dataset(cfg, 'val', voc)[i] for i in range(2)]
    assert [tuple(i['inputs'].shape[1:]) for i in items] == [(385, 513), (513, 285)]
    masks = [i['data_samples'].gt_sem_seg.data.shape for i in items]
    assert masks == [(1, 60, 80), (1, 90, 50)]


def test_pad_of_the_deeplab_code_is_an_option():
    cfg = load(
        'sample/deeplabv3_sample', 'model.data_preprocessor.test_cfg.size=(97,97)'
    )
    model = build(cfg).eval()
    seen = []
    model.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape))
    result = model.test_step(batch(cfg, [(40, 60)]))[0]
    assert seen[0] == (1, 3, 97, 97)
    assert result.pred_sem_seg.data.shape == (1, 40, 60)


def test_multi_scale_and_flip(voc):
    """Twelve views of Table 7's MF, softmax averaged, at the mask's size."""
    cfg = load(
        'deeplabv3_mnv2_voc',
        'model.backbone.widen_factor=0.35',
        'model.decode_head.in_channels=112',
    )
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    item = voc_dataset(cfg, 'test', voc)[0]
    sides = [max(view.shape[1:]) for view in item['inputs']]
    assert sides == [s for s in (257, 385, 513, 641, 769, 897) for _ in '12']
    flips = [sample.flip for sample in item['data_samples']]
    assert flips == [False, True] * 6
    # a quarter of the sides gives the same views in less time
    for step in cfg.tta_pipeline:
        for resize in step.transforms[0] if 'transforms' in step else ():
            resize.scale = tuple(side // 4 + 1 for side in resize.scale)
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    item = voc_dataset(cfg, 'test', voc)[0]
    assert max(item['inputs'][-1].shape[1:]) == 225
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(ConfigDict(**cfg.tta_model, module=cfg.model))
    model.module.init_weights()
    model.eval()
    with torch.no_grad():
        merged = model.test_step(pseudo_collate([item]))[0]
        views = [
            model.module.test_step(dict(inputs=[image], data_samples=[sample.clone()]))[
                0
            ].seg_logits.data.softmax(0)
            for image, sample in zip(item['inputs'], item['data_samples'], strict=True)
        ]
    wanted = (sum(views) / 12).argmax(0)
    assert wanted.shape == (60, 80)
    assert torch.equal(merged.pred_sem_seg.data.squeeze(), wanted)


@pytest.mark.parametrize('name', CLS)
def test_classification_pipelines(name, tmp_path):
    """An image that is not square becomes one of the network's size."""
    cfg = load(name)
    path = tmp_path / 'image.jpg'
    image = np.random.default_rng(0).integers(0, 256, (300, 200, 3))
    cv2.imwrite(str(path), image.astype(np.uint8))
    shapes = set()
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        for loader in (cfg.train_dataloader, cfg.test_dataloader):
            pipeline = Compose(loader.dataset.pipeline)
            item = pipeline(dict(img_path=str(path), gt_label=1))
            shapes.add(tuple(item['inputs'].shape))
            assert item['data_samples'].gt_label.item() == 1
    side = 64 if 'sample' in name else 224
    side = 128 if 'pets' in name else side
    sides = {176, 224} if 'sgd_600e' in name else {side}
    assert shapes == {(3, side, side) for side in sides}


def test_evaluation_squeezes_the_middle_of_both_sides(tmp_path):
    """Of 87.5 % each: a frame of one sixteenth is cut off."""
    cfg = load('mnv2_in1k')
    image = np.zeros((256, 512, 3), dtype=np.uint8)
    image[16:-16, 32:-32] = 255
    path = tmp_path / 'image.png'
    cv2.imwrite(str(path), image)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        pipeline = Compose(cfg.test_dataloader.dataset.pipeline)
        item = pipeline(dict(img_path=str(path), gt_label=0))
    assert item['inputs'].shape == (3, 224, 224)
    assert (item['inputs'] == 255).all()


def test_wrong_channels_of_the_classifier_are_answered_with_the_right_ones():
    from mnv2_mm.utils.errors import InputError

    cfg = load('mnv2_in1k', 'model.backbone.widen_factor=1.4')
    data = batch(cfg, [(64, 64)])
    data['inputs'] = torch.stack(data['inputs'])
    with pytest.raises(InputError, match=r'head\.in_channels=1792'):
        build(cfg).eval().test_step(data)


def test_classifier_drops_values_in_training_only():
    head = build(load('mnv2_in1k')).head
    feature = torch.ones(64, 1280)
    head.train()
    dropped = head.pre_logits((feature,))
    share = (dropped == 0).float().mean().item()
    assert share == pytest.approx(0.2, abs=0.02)
    head.eval()
    assert torch.equal(head.pre_logits((feature,)), feature)
