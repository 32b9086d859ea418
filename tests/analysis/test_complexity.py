"""Counts against hand calculation, mmengine's counter and known totals."""

import copy
import json
from collections.abc import Callable

import pytest
import torch
from mmengine.analysis import FlopAnalyzer, get_model_complexity_info
from mmengine.config import Config
from mmengine.model import BaseModel
from torch import nn

from mnv2_mm.analysis.complexity import count, count_config
from mnv2_mm.analysis.network import build_network, checked_size, input_size, tta_sizes
from mnv2_mm.models import MobileNetV2
from mnv2_mm.utils.config import get_config
from mnv2_mm.utils.errors import InputError

Tool = Callable[..., int]


def small_network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.Conv2d(8, 16, 1),
        nn.Flatten(),
        nn.Linear(16 * 8 * 10, 5),
    )


def test_small_network_by_hand_and_by_mmengine():
    model = small_network().eval()
    theirs = get_model_complexity_info(model, (3, 15, 20), show_table=False)
    ours = count(model.to('meta'), (15, 20))
    convs = 8 * 10 * (3 * 8 * 9 + 8 * 9 + 8 * 16)
    assert ours.cost() == convs + 16 * 8 * 10 * 5
    assert ours.cost() == theirs['flops']
    assert ours.num_params() == theirs['params']
    outputs = 8 * 10 * (8 + 8 + 16) + 5
    assert ours.cost('madds+outputs') == ours.cost() + outputs
    assert ours.cost('flops') == 2 * ours.cost()
    assert [op.layer for op in ours.passes[0]] == ['0', '2', '3', '5']


@pytest.mark.parametrize('padding', ['symmetric', 'same'])
def test_backbone_agrees_with_mmengine(padding: str):
    model = MobileNetV2(0.35, (2,), padding=padding).eval()
    by_kind = FlopAnalyzer(model, torch.zeros(1, 3, 65, 96)).by_operator()
    ours = count(model.to('meta'), (65, 96))
    assert ours.cost() == by_kind['conv']


def test_batch_norm_is_no_weight_and_costs_nothing():
    model = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4))
    counted = count(model.eval().to('meta'), (2, 2))
    assert counted.num_params() == 12 + 8
    assert counted.num_params(norm=False) == 12
    assert counted.cost() == 4 * 12


def test_space_to_batch_rounds_the_map_up():
    """9 and 10 become 12 at rate 4, 13 x 9 at rate 1 stays."""
    conv = nn.Conv2d(3, 2, 3, padding=4, dilation=4)
    pointwise = nn.Conv2d(2, 2, 1, dilation=4)  # a rate without effect
    model = nn.Sequential(conv, pointwise).to('meta')
    counted = count(model, (9, 10))
    assert counted.cost() == 9 * 10 * (54 + 4)
    assert counted.cost('s2b') == 12 * 12 * 54 + 9 * 10 * 4
    assert counted.cost('s2b+outputs') == counted.cost('s2b') + 9 * 10 * 4
    usual_conv = nn.Conv2d(3, 2, 3, padding=1).to('meta')
    counted = count(usual_conv, (13, 9))
    assert counted.cost('s2b') == counted.cost()


def test_a_layer_called_twice_costs_twice_and_weighs_once():
    layer = nn.Conv2d(3, 3, 1, bias=False)
    counted = count(nn.Sequential(layer, layer).to('meta'), (4, 5))
    assert counted.cost() == 2 * 20 * 9
    assert counted.num_params() == 9


@pytest.mark.parametrize(
    ('name', 'size', 'params', 'madds'),
    [
        ('mnv2_in1k', (224, 224), 3_504_872, 300.8e6),
        ('ssdlite_mnv2_coco', (320, 320), 4_337_013, 788.8e6),
        ('deeplabv3_mnv2_voc', (513, 513), 2_113_557, 2740.7e6),
    ],
)
def test_configs_of_the_three_hosts(name, size, params, madds):
    counted = count_config(name)
    assert counted.sizes == (size,)
    assert counted.num_params() == params
    assert counted.cost() == pytest.approx(madds, rel=2e-4)


def test_parts_add_up():
    counted = count_config('ssdlite_mnv2_coco')
    heads = counted.part('neck', 'bbox_head')
    body = counted.part('backbone')
    assert heads.cost() == pytest.approx(177.6e6, rel=1e-3)
    assert heads.cost() + body.cost() == counted.cost()
    assert heads.num_params() + body.num_params() == counted.num_params()
    assert not counted.part('back').passes[0]  # a name, not its beginning


def test_two_stage_detector_with_as_many_regions_as_may_pass():
    cfg = get_config('faster_rcnn_mnv2_coco')
    regions = cfg.model.test_cfg.rpn.max_per_img
    head = count_config(cfg, size=(96, 128)).part('roi_head')
    classes = cfg.model.roi_head.bbox_head.num_classes
    each = 256 * 49 * 1024 + 1024 * 1024 + 1024 * (5 * classes + 1)
    assert head.cost() == regions * each


def with_masks(cfg: Config) -> None:
    cfg.model.type = 'MaskRCNN'
    head = cfg.model.roi_head
    head.mask_roi_extractor = copy.deepcopy(head.bbox_roi_extractor)
    head.mask_roi_extractor.roi_layer.output_size = 14
    head.mask_head = dict(type='FCNMaskHead', num_classes=3)


def as_cascade(cfg: Config) -> None:
    cfg.model.type = 'CascadeRCNN'
    cfg.model.train_cfg.rcnn = [cfg.model.train_cfg.rcnn] * 3
    cfg.model.roi_head.update(
        type='CascadeRoIHead', num_stages=3, stage_loss_weights=[1.0] * 3
    )


def test_masks_and_cascades_of_regions():
    """Four convolutions of 256, one to twice the side, one to the classes."""
    plain = get_config('faster_rcnn_mnv2_coco')
    masks, both = copy.deepcopy(plain), copy.deepcopy(plain)
    with_masks(masks)
    with_masks(both)
    as_cascade(both)
    regions = plain.model.test_cfg.rcnn.max_per_img
    plain, masks, both = (
        count_config(cfg, size=(96, 128)) for cfg in (plain, masks, both)
    )
    each = 14 * 14 * 256 * 256 * (4 * 9 + 4) + 28 * 28 * 256 * 3
    extra = regions * each
    assert masks.cost() - plain.cost() == extra
    boxes = plain.part('roi_head').cost()
    assert both.cost() - plain.cost() == 2 * boxes + 3 * extra


def test_a_head_that_is_not_counted_is_named():
    cfg = copy.deepcopy(get_config('faster_rcnn_mnv2_coco'))
    with_masks(cfg)
    cfg.model.roi_head.update(
        type='MaskScoringRoIHead',
        mask_iou_head=dict(
            type='MaskIoUHead',
            num_convs=1,
            roi_feat_size=14,
            in_channels=256,
            conv_out_channels=8,
            fc_out_channels=8,
            num_classes=3,
        ),
    )
    with pytest.raises(InputError, match='mask_iou_head'):
        count_config(cfg, size=(96, 128))


@pytest.mark.parametrize(
    'error', [AssertionError, AttributeError, NotImplementedError, TypeError]
)
def test_a_network_that_needs_more_than_an_image(error: type[Exception]):
    class Other(BaseModel):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 3, 1)

        def forward(self, inputs: torch.Tensor, **kwargs: object) -> None:
            raise error

    with pytest.raises(InputError, match=f'Other cannot be counted .{error.__name__}'):
        count(Other().to('meta'), (6, 6))


def test_test_time_augmentation_is_a_sum_of_passes():
    cfg = get_config('deeplabv3_mnv2_voc')
    sides = [257, 385, 513, 641, 769, 897]
    assert tta_sizes(cfg) == [(s, s) for s in sides for _ in range(2)]
    both = count(build_network(cfg), [(65, 65), (97, 65), (65, 65)])
    once = count(build_network(cfg), (65, 65))
    other = count(build_network(cfg), (97, 65))
    assert both.cost() == 2 * once.cost() + other.cost()


def test_scale_factors_of_mmseg_multiply_the_input():
    resize = [dict(type='Resize', scale_factor=f) for f in (0.5, 1.0)]
    flips = [dict(type='mmseg.RandomFlip', prob=p) for p in (0.0, 1.0)]
    cfg = Config(
        dict(
            test_dataloader=dict(
                dataset=dict(pipeline=[dict(type='Resize', scale=(64, 32))])
            ),
            tta_pipeline=[dict(type='TestTimeAug', transforms=[resize, flips])],
        )
    )
    assert tta_sizes(cfg) == [(16, 32)] * 2 + [(32, 64)] * 2


def test_input_size_is_the_last_stated():
    steps = [
        dict(type='ResizeEdge', scale=256),
        dict(type='mmpretrain.CenterCrop', crop_size=(96, 64)),  # width first
    ]
    cfg = Config(dict(val_dataloader=dict(dataset=dict(pipeline=steps))))
    assert input_size(cfg) == (64, 96)
    for broken in (Config(dict()), Config(dict(val_dataloader=None))):
        with pytest.raises(InputError, match='--shape HEIGHT WIDTH'):
            input_size(broken)
        with pytest.raises(InputError, match='no tta_pipeline'):
            tta_sizes(broken)


@pytest.mark.parametrize('size', [0, -1, (0, 3), (3, -3), (1, 2, 3), (), 1.5])
def test_sizes_that_are_none(size):
    with pytest.raises(InputError) as raised:
        checked_size(size)
    assert repr(size) in str(raised.value)


def test_a_size_that_the_network_cannot_take():
    model = nn.Sequential(nn.Conv2d(3, 2, 5), nn.MaxPool2d(4)).to('meta')
    with pytest.raises(InputError, match='an input of 6x6: '):
        count(model, (6, 6))


# --------------------------------------------------------- tools/get_flops.py
def test_get_flops(run_tool: Tool, tmp_path, capfd):
    path = tmp_path / 'new' / 'flops.json'
    flags = ['--shape', 97, 128, '--per-layer', '--json', path]
    flags += ['--convention', 'flops']
    assert run_tool('get_flops', 'mnv2_in1k', *flags) == 0
    out = capfd.readouterr().out
    assert '97x128' in out and 'backbone.layer7.0.linear_conv.conv' in out
    found = json.loads(path.read_text())
    assert found['operations'] == 2 * found['madds']
    assert found['operations'] == sum(x['operations'] for x in found['layers'])
    assert found['params'] == 3_504_872


@pytest.mark.parametrize(
    ('flags', 'words'),
    [
        (['mnv2_in1k', '--shape', '0'], 'the input size [0]'),
        (['mnv2_in1k', '--shape', '224', '-3'], 'the input size [224, -3]'),
        (['mnv2_in1k', '--shape', '1', '2', '3'], '[1, 2, 3]'),
        (['mnv2_in1k', '--convention', 'x'], "no convention 'x'; use one of"),
        (['yolov2', '--shape', '400'], '400x400 (width x height); both must be'),
        (['mnv2_in1k', '--tta'], 'no tta_pipeline'),
        (['deeplabv3_mnv2_voc', '--tta', '--shape', '65'], 'exclude'),
        (['mnv2_in1'], 'did you mean mnv2_in1k'),
        (
            ['mnv2_in1k', '--cfg-options', 'model.backbone.type=Nothing'],
            "type='Nothing' is not known",
        ),
    ],
)
def test_get_flops_says_what_is_wrong(run_tool: Tool, capfd, flags, words):
    assert run_tool('get_flops', *flags) == 2
    error = capfd.readouterr().err
    assert words in error
    assert 'Traceback' not in error
