"""The detection configs: each is whole, trains a step and predicts."""

import re

import pytest
import torch
from config_files import CONFIGS, REQUIRED_KEYS, build, build_on_meta, load
from mmengine.config import Config
from mmengine.structures import InstanceData
from torch.utils.flop_counter import FlopCounterMode

pytest.importorskip('mmdet.models')

from mmdet.structures import DetDataSample

SSDLITE = (
    'ssdlite_mnv2_coco',
    'ssdlite_mnv2_coco_sgd_600e',
    'sample/ssdlite_sample',
    'examples/ssdlite_bccd',
    'examples/ssdlite_own_data',
)
OTHERS = ('examples/ssdlite_bccd_mmdet', 'examples/faster_rcnn_mnv2_coco')


def initialized(cfg):
    model = build(cfg)
    model.init_weights()
    return model


def batch(sizes, boxes_per_image):
    """Images (3, h, w) with the given number of boxes each."""
    inputs, samples = [], []
    for index, ((height, width), boxes) in enumerate(
        zip(sizes, boxes_per_image, strict=True)
    ):
        inputs.append(torch.randint(0, 256, (3, height, width), dtype=torch.uint8))
        corner = torch.rand(boxes, 2) * torch.tensor([width, height]) / 2
        extent = torch.rand(boxes, 2) * torch.tensor([width, height]) / 3 + 9
        sample = DetDataSample(
            gt_instances=InstanceData(
                bboxes=torch.cat([corner, corner + extent], 1),
                labels=torch.arange(boxes) % 2,
            ),
            metainfo=dict(
                img_shape=(height, width),
                ori_shape=(height, width),
                pad_shape=(height, width),
                scale_factor=(1.0, 1.0),
                img_path=f'{index}.jpg',
                img_id=index,
            ),
        )
        sample.ignored_instances = InstanceData(
            bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)
        )
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def side(cfg):
    head = cfg.model.bbox_head
    size = head.anchor_generator.get('input_size', 320)
    return size if isinstance(size, int) else size[0]


def total(losses):
    values = []
    for key, value in losses.items():
        if 'loss' in key:
            values += value if isinstance(value, list) else [value]
    return sum(v.mean() for v in values)


@pytest.mark.parametrize('name', SSDLITE + OTHERS)
def test_config_is_whole(name):
    cfg = load(name)
    assert not [key for key in REQUIRED_KEYS if key not in cfg]
    if 'bbox_head' in cfg.model and 'mmdet' not in name.split('_')[-1]:
        pipeline = cfg.train_dataloader.dataset.pipeline
        (resize,) = [t for t in pipeline if t.type.endswith('Resize')]
        assert tuple(resize.scale) == (side(cfg), side(cfg))


@pytest.mark.parametrize(
    'name',
    [
        'ssdlite_mnv2_coco',
        'sample/ssdlite_sample',
        'examples/ssdlite_bccd_mmdet',
        # the first network, with other classes
        pytest.param('ssdlite_mnv2_coco_sgd_600e', marks=pytest.mark.slow),
        pytest.param('examples/ssdlite_bccd', marks=pytest.mark.slow),
        pytest.param('examples/ssdlite_own_data', marks=pytest.mark.slow),
    ],
)
def test_detector_trains_a_step_and_predicts(name):
    """A batch of two, one image of it without objects."""
    cfg = load(name)
    model = initialized(cfg)
    size = (side(cfg), side(cfg))
    data = model.data_preprocessor(batch([size] * 2, [3, 0]), True)
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    loss = total(model.train()(**data, mode='loss'))
    loss.backward()
    assert torch.isfinite(loss)
    optimizer.step()
    changed = [
        not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)
    ]
    assert sum(changed) > 0.6 * len(changed)  # not levels without objects
    with torch.no_grad():
        results = model.eval()(**data, mode='predict')
    for result in results:
        boxes = result.pred_instances.bboxes
        assert torch.isfinite(boxes).all()
        assert len(boxes) <= cfg.model.test_cfg.max_per_img
        classes = cfg.model.bbox_head.num_classes
        labels = result.pred_instances.labels
        assert len(labels) and labels.max() < classes


@pytest.mark.slow  # tests/analysis/test_complexity.py builds and runs it
def test_faster_rcnn_trains_a_step():
    model = initialized(load('examples/faster_rcnn_mnv2_coco'))
    data = model.data_preprocessor(batch([(96, 128)] * 2, [2, 0]), True)
    loss = total(model.train()(**data, mode='loss'))
    loss.backward()
    assert torch.isfinite(loss)
    assert model.backbone.conv1.conv.weight.grad.abs().sum() > 0


@pytest.mark.parametrize('boxes', [2, 0])
def test_a_batch_of_one_trains(boxes):
    """The last level is one pixel: BN must live with a single value."""
    model = initialized(load('ssdlite_mnv2_coco')).train()
    data = model.data_preprocessor(batch([(320, 320)], [boxes]), True)
    loss = total(model(**data, mode='loss'))
    loss.backward()
    assert torch.isfinite(loss)


def test_non_square_input_trains_and_predicts():
    cfg = load('ssdlite_mnv2_coco')
    cfg.model.bbox_head.anchor_generator.input_size = (256, 160)
    model = initialized(cfg)
    data = model.data_preprocessor(batch([(160, 256)] * 2, [2, 1]), True)
    total(model.train()(**data, mode='loss')).backward()
    model.eval()(**data, mode='predict')


def test_the_loss_stays_finite_from_a_random_start_with_batch_two():
    """The recipe itself: its optimizer, warm-up and clipping."""
    from mmengine.optim import build_optim_wrapper
    from mmengine.registry import PARAM_SCHEDULERS

    cfg = load('ssdlite_mnv2_coco', 'model.backbone.widen_factor=0.35')
    cfg.model.neck.in_channels = (192, 448)
    cfg.model.bbox_head.in_channels = (192, 448, 512, 256, 256, 128)
    cfg.model.bbox_head.anchor_generator.input_size = 128
    torch.manual_seed(0)
    model = initialized(cfg).train()
    pytest.importorskip('timm')
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    scheduler = PARAM_SCHEDULERS.build(
        dict(cfg.param_scheduler[0], optimizer=wrapper, end=10)
    )
    losses = []
    for _ in range(20):
        data = batch([(128, 128)] * 2, [3, 1])
        data = model.data_preprocessor(data, True)
        loss = total(model(**data, mode='loss'))
        wrapper.update_params(loss)
        scheduler.step()
        losses.append(loss.item())
    assert all(torch.isfinite(torch.tensor(losses)))
    assert sum(losses[-5:]) < sum(losses[:5])


@pytest.mark.parametrize(
    ('classes', 'parameters', 'multiply_adds'),
    [(80, 4.337e6, 0.789e9), (90, 4.501e6, 0.804e9)],
)
def test_paper_counts(classes, parameters, multiply_adds):
    """Table 6, and the official release's 91 slots."""
    model = build_on_meta(
        load('ssdlite_mnv2_coco', f'model.bbox_head.num_classes={classes}')
    )
    counted = sum(p.numel() for p in model.parameters())
    assert counted == pytest.approx(parameters, abs=600)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, 320, 320, device='meta'), mode='tensor')
    macs = counter.get_total_flops() / 2
    assert macs == pytest.approx(multiply_adds, rel=1e-3)


def test_documented_options_set_another_input_size():
    """By the options that the comment of the data set names."""
    text = (CONFIGS / '_base_/datasets/coco_det.py').read_text()
    options = re.findall(r'^#   (\S+=\S+)$', text, re.M)
    assert len(options) == 4
    cfg = load('ssdlite_mnv2_coco', *[o.replace('"', '') for o in options])
    assert cfg.model.bbox_head.anchor_generator.input_size == 300
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        scales = [t.scale for t in loader.dataset.pipeline if 'scale' in t]
        assert scales == [(300, 300)]


def test_documented_option_rounds_the_colors_to_bytes():
    name = 'ssdlite_mnv2_coco_sgd_600e'
    text = (CONFIGS / f'{name}.py').read_text()
    (option,) = re.findall(r'^#   (\S+to_uint8\S+)$', text, re.M)
    pipeline = load(name, option).train_dataloader.dataset.pipeline
    changed = [step.type for step in pipeline if step.get('to_uint8')]
    assert changed == ['mnv2_mm.PhotoMetricDistortion']


def test_own_data_follows_its_block(tmp_path):
    text = (CONFIGS / 'examples/ssdlite_own_data.py').read_text()
    text = text.replace("('cat', 'dog')", "('a', 'b', 'c')")
    text = text.replace('data/my_set', 'data/other')
    text = text.replace('(300, 300)', '(384, 384)')
    path = tmp_path / 'own.py'
    path.write_text(text)
    cfg = Config.fromfile(path)
    assert cfg.model.bbox_head.num_classes == 3
    assert cfg.model.bbox_head.anchor_generator.input_size == (384, 384)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert loader.dataset.metainfo.classes == ('a', 'b', 'c')
        assert loader.dataset.data_root == 'data/other'
        resize = [t for t in loader.dataset.pipeline if t.type == 'Resize']
        assert [t.scale for t in resize] == [(384, 384)]
    assert cfg.val_evaluator.ann_file == 'data/other/annotations/val.json'
