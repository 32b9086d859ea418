"""SSDLite against the paper's counts and TF's definitions."""

import math

import pytest
import torch
from mmengine.structures import InstanceData

pytest.importorskip('mmdet.models')

from mmdet.registry import MODELS
from mmdet.utils import register_all_modules

from mnv2_mm.models.blocks import ConvNormAct
from mnv2_mm.models.ssdlite.anchors import SSDLiteAnchorGenerator
from mnv2_mm.models.ssdlite.loss import ClassSlotLoss
from mnv2_mm.models.ssdlite.mining import RANGES, mine_hard_examples
from mnv2_mm.utils.errors import InputError

TAPS = ('layer_15/expansion_output', 'layer_19')
LEVELS = (576, 1280, 512, 256, 256, 128)


def build_head(**kwargs):
    register_all_modules()
    return MODELS.build(dict(type='mnv2_mm.SSDLiteHead', in_channels=LEVELS, **kwargs))


def build(num_classes=80, *, depthwise=True):
    backbone = MODELS.build(dict(type='mnv2_mm.MobileNetV2', out_indices=TAPS))
    neck = MODELS.build(
        dict(
            type='mnv2_mm.SSDLiteNeck',
            in_channels=backbone.out_channels,
            use_depthwise=depthwise,
        )
    )
    head = build_head(num_classes=num_classes, use_depthwise=depthwise)
    return backbone, neck, head


def count(modules, *, with_bn):
    return sum(
        p.numel()
        for module in modules
        for m in module.modules()
        if with_bn or not isinstance(m, torch.nn.BatchNorm2d)
        for p in m.parameters(recurse=False)
    )


def test_official_graph_is_reproduced_to_the_weight():
    """The released graph: 4,446,656 weights and 3,135 biases, 91 slots."""
    assert count(build(90), with_bn=False) == 4_449_791


def test_table_6_parameters():
    assert count(build(80), with_bn=True) == pytest.approx(4.337e6, abs=500)


@pytest.mark.parametrize(('depthwise', 'millions'), [(True, 2.113), (False, 14.777)])
def test_table_5_parameters(depthwise, millions):
    modules = build(80, depthwise=depthwise)[1:]
    assert count(modules, with_bn=True) / 1e6 == pytest.approx(millions, abs=6e-4)


@pytest.mark.parametrize(
    ('size', 'sides', 'priors'),
    [
        (320, [20, 10, 5, 3, 2, 1], 2034),
        (300, [19, 10, 5, 3, 2, 1], 1917),
        (224, [14, 7, 4, 2, 1, 1], 1014),
        (512, [32, 16, 8, 4, 2, 1], 5118),
        (192, [12, 6, 3, 2, 1, 1], 738),
    ],
)
def test_prior_count_and_map_sizes(size, sides, priors):
    generator = SSDLiteAnchorGenerator(size)
    assert generator.featmap_sizes == [(s, s) for s in sides]
    made = generator.grid_priors(generator.featmap_sizes, device='cpu')
    assert sum(len(p) for p in made) == priors
    backbone, neck, _ = build()
    with torch.no_grad():
        maps = neck.eval()(backbone.eval()(torch.zeros(1, 3, size, size)))
    assert [x.shape[-1] for x in maps] == sides


def test_non_square_input():
    """Maps follow each side; box sizes follow the shorter one, as in TF."""
    generator = SSDLiteAnchorGenerator((640, 384))
    assert generator.featmap_sizes[:2] == [(24, 40), (12, 20)]
    first = generator.grid_priors(generator.featmap_sizes, device='cpu')[0][0]
    x1, y1, x2, y2 = first.tolist()
    assert (x1 + x2) / 2 == pytest.approx(8) == (y1 + y2) / 2
    assert x2 - x1 == pytest.approx(38.4) == y2 - y1


def test_anchor_shapes_worked_by_hand():
    """At 320: 32 and 64 px on level 0, then 112 ... 304 and the between."""
    generator = SSDLiteAnchorGenerator(320)
    anchors = generator.base_anchors
    size = [torch.stack((a[:, 2] - a[:, 0], a[:, 3] - a[:, 1]), 1) for a in anchors]
    r2, r3 = math.sqrt(2), math.sqrt(3)
    expected = torch.tensor([[32, 32], [64 * r2, 64 / r2], [64 / r2, 64 * r2]])
    assert torch.allclose(size[0], expected)
    for level, side, between in (
        (1, 112, 133.866),
        (2, 160, 182.428),
        (3, 208, 230.755),
        (4, 256, 278.969),
        (5, 304, 311.897),
    ):
        expected = torch.tensor(
            [
                [side, side],
                [side * r2, side / r2],
                [side / r2, side * r2],
                [side * r3, side / r3],
                [side / r3, side * r3],
                [between, between],
            ]
        )
        assert torch.allclose(size[level], expected, atol=2e-3)
    # level 3 has 3x3 cells of 320/3 pixels: centers at 53.3, 160, 266.7
    grid = generator.grid_priors(generator.featmap_sizes, device='cpu')[3]
    centers = ((grid[:, 0] + grid[:, 2]) / 2)[::6][:3]
    assert torch.allclose(centers, torch.tensor([160 / 3, 160, 800 / 3]))


def test_class_loss_sums_all_slots_with_the_background_as_a_real_one():
    logits = torch.tensor([[0.3, -1.0, 2.0], [1.0, 0.0, -0.5]])
    labels = torch.tensor([0, 2])  # the second is background
    p = logits.sigmoid()
    expected = -torch.stack(
        [
            p[0, 0].log() + (1 - p[0, 1]).log() + (1 - p[0, 2]).log(),
            (1 - p[1, 0]).log() + (1 - p[1, 1]).log() + p[1, 2].log(),
        ]
    )
    loss = ClassSlotLoss(2)
    assert torch.allclose(loss(logits, labels), expected)
    assert torch.equal(loss.get_activation(logits), p[:, :2])
    softmax = ClassSlotLoss(2, 'softmax')
    expected = -logits.log_softmax(1)[[0, 1], labels]
    assert torch.allclose(softmax(logits, labels), expected)
    assert softmax.get_activation(logits).shape == (2, 2)


def test_loss_worked_by_hand():
    """One object on its anchor, all logits 0, all codes 0."""
    head = build_head(num_classes=2)
    sizes = head.prior_generator.featmap_sizes
    anchors = head.prior_generator.num_base_priors
    cls = [torch.zeros(1, a * 3, *s) for a, s in zip(anchors, sizes, strict=True)]
    reg = [torch.zeros(1, a * 4, *s) for a, s in zip(anchors, sizes, strict=True)]
    prior = head.priors(cls)[1500]
    shift = torch.tensor([3.0, 0.0, 3.0, 0.0])
    gt = InstanceData(bboxes=(prior + shift)[None], labels=torch.tensor([1]))
    overlaps = head.assigner.iou_calculator(head.priors(cls), gt.bboxes)
    positive = (overlaps[:, 0] >= 0.5).sum().item()
    losses = head.loss_by_feat(cls, reg, [gt], [{}])
    # every logit 0: ln 2 a slot, three slots, and 4 anchors a positive
    per_anchor = 3 * math.log(2)
    assert losses['loss_cls'].item() == pytest.approx(4 * per_anchor)
    codes = head.bbox_coder.encode(
        head.priors(cls)[overlaps[:, 0] >= 0.5], gt.bboxes.expand(positive, 4)
    )
    absolute = codes.abs()
    huber = torch.where(absolute < 1, absolute**2 / 2, absolute - 0.5).sum()
    assert losses['loss_bbox'].item() == pytest.approx(
        huber.item() / positive, rel=1e-5
    )


def test_the_normaliser_is_the_whole_batch_not_each_image():
    head = build_head(num_classes=1)
    sizes = head.prior_generator.featmap_sizes
    anchors = head.prior_generator.num_base_priors

    def maps(batch):
        return (
            [
                torch.zeros(batch, a * 2, *s)
                for a, s in zip(anchors, sizes, strict=True)
            ],
            [
                torch.zeros(batch, a * 4, *s)
                for a, s in zip(anchors, sizes, strict=True)
            ],
        )

    prior = head.priors(maps(1)[0])[700]
    full = InstanceData(bboxes=prior[None], labels=torch.tensor([0]))
    empty = InstanceData(
        bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)
    )
    one = head.loss_by_feat(*maps(1), [full], [{}])['loss_cls']
    both = head.loss_by_feat(*maps(2), [full, empty], [{}, {}])['loss_cls']
    matches = round(
        (head.assigner.iou_calculator(head.priors(maps(1)[0]), full.bboxes) >= 0.5)
        .sum()
        .item()
    )
    extra = 3 * 2 * math.log(2) / matches  # three negatives of the empty one
    assert both.item() == pytest.approx(one.item() + extra, rel=1e-5)
    only = head.loss_by_feat(*maps(1), [empty], [{}])
    assert only['loss_cls'].item() == pytest.approx(6 * math.log(2))
    assert only['loss_bbox'].item() == 0


def test_a_suppressed_positive_leaves_the_box_loss_too():
    """Two matched anchors predict one box; only the harder one counts."""
    head = build_head(num_classes=2)
    sizes = head.prior_generator.featmap_sizes
    anchors = head.prior_generator.num_base_priors
    levels = list(zip(anchors, sizes, strict=True))
    cls = [torch.zeros(1, a * 3, *s) for a, s in levels]
    priors = head.priors(cls)
    first = priors[1500]
    gt = InstanceData(bboxes=first[None], labels=torch.tensor([0]))
    overlaps = head.assigner.iou_calculator(priors, gt.bboxes)[:, 0]
    positive = (overlaps >= 0.5).nonzero()[:, 0]
    assert len(positive) > 1
    # every matched anchor predicts the same box, off by one eighth
    box = first + (first[2] - first[0]) / 8
    codes = torch.zeros(1, len(priors), 4)
    codes[0, positive] = head.bbox_coder.encode(
        priors[positive], box.expand(len(positive), 4)
    )
    harder = positive[0]
    logits = torch.zeros(1, len(priors), 3)
    logits[0, harder, 0] = -5.0
    losses = head.loss_by_feat(
        _to_maps(logits, levels), _to_maps(codes, levels), [gt], [{}]
    )
    target = head.bbox_coder.encode(priors[harder][None], first[None])
    expected = torch.nn.functional.smooth_l1_loss(
        codes[0, harder][None], target, reduction='sum'
    )
    assert losses['loss_bbox'].item() == pytest.approx(
        expected.item() / len(positive), rel=1e-4
    )


def _to_maps(flat, levels):
    """Undo SSDLiteHead.flatten: (1, anchors, n) -> (1, A * n, H, W)."""
    maps, start = [], 0
    for a, (h, w) in levels:
        part = flat[:, start : start + a * h * w]
        start += a * h * w
        part = part.reshape(1, h, w, -1)
        maps.append(part.permute(0, 3, 1, 2).contiguous())
    return maps


def test_activations_are_where_the_released_graph_has_them():
    """ReLU6 after every convolution but the last 1x1 of a predictor."""
    _, neck, head = build(2)
    convs = [
        m for part in (neck, head) for m in part.modules() if isinstance(m, ConvNormAct)
    ]
    assert len(convs) == 4 * 3 + 2 * 6
    assert all(isinstance(m.activate, torch.nn.ReLU6) for m in convs)
    assert all(m.with_norm and m.norm.eps == 1e-3 for m in convs)
    last = [p[-1] for p in (*head.cls_convs, *head.reg_convs)]
    assert all(type(m) is torch.nn.Conv2d for m in last)


@pytest.mark.parametrize(
    ('make', 'named'),
    [
        (lambda: SSDLiteAnchorGenerator(0), '(width, height)'),
        (lambda: SSDLiteAnchorGenerator((320,)), '(width, height)'),
        (lambda: build_head(num_classes=2, loss='focal'), "'softmax'"),
        (
            lambda: SSDLiteAnchorGenerator(320).check((300, 300)),
            'anchor_generator.input_size',
        ),
        (
            lambda: MODELS.build(
                dict(type='mnv2_mm.SSDLiteNeck', in_channels=(96, 1280))
            )([torch.zeros(1, 576, 2, 2), torch.zeros(1, 1280, 1, 1)]),
            '(576, 1280)',
        ),
        (
            lambda: build_head(num_classes=2)([torch.zeros(1, 8, 1, 1)] * 6),
            'in_channels=(8, 8, 8, 8, 8, 8)',
        ),
        (
            lambda: build_head(num_classes=2).get_targets_single(
                torch.rand(5, 4),
                InstanceData(
                    bboxes=torch.tensor([[0.0, 0, 1, 1]]), labels=torch.tensor([2])
                ),
                dict(img_path='a.jpg'),
            ),
            'num_classes=2',
        ),
        (
            lambda: build_head(num_classes=2).get_targets_single(
                torch.rand(5, 4),
                InstanceData(
                    bboxes=torch.tensor([[3.0, 3, 3, 5]]), labels=torch.tensor([0])
                ),
                dict(img_path='a.jpg'),
            ),
            'a.jpg',
        ),
    ],
)
def test_bad_input_is_named(make, named):
    with pytest.raises(InputError) as caught:
        make()
    assert named in str(caught.value)


def detector(**changes: dict) -> dict:
    """A config of the whole detector; each argument changes one part."""
    cfg = dict(
        _scope_='mmdet',
        type='SingleStageDetector',
        backbone=dict(type='mnv2_mm.MobileNetV2', out_indices=TAPS),
        neck=dict(type='mnv2_mm.SSDLiteNeck', in_channels=LEVELS[:2]),
        bbox_head=dict(
            type='mnv2_mm.SSDLiteHead',
            num_classes=2,
            in_channels=LEVELS,
            anchor_generator=dict(type='mnv2_mm.SSDLiteAnchorGenerator'),
        ),
        train_cfg=dict(mining={}),
    )
    for part, arguments in changes.items():
        cfg[part].update(arguments)
    return cfg


@pytest.mark.parametrize(
    ('changes', 'named'),
    [
        (dict(backbone=dict(widen_facter=1)), ('MobileNetV2', 'widen_factor')),
        (dict(neck=dict(depthwise=True)), ('SSDLiteNeck', 'use_depthwise')),
        (dict(bbox_head=dict(los='softmax')), ('SSDLiteHead', 'loss')),
        (
            dict(
                bbox_head=dict(
                    anchor_generator=dict(
                        type='mnv2_mm.SSDLiteAnchorGenerator', input_sise=320
                    )
                )
            ),
            ('SSDLiteAnchorGenerator', 'input_size'),
        ),
        (dict(train_cfg=dict(asigner={})), ('SSDLiteHead', 'assigner')),
        (
            dict(train_cfg=dict(mining=dict(negs=3))),
            ('SSDLiteHead', 'mining', 'negatives_per_positive', 'nms_iou'),
        ),
    ],
)
def test_misspelt_argument_is_refused_at_build(changes, named):
    """The message has the wrong name, the class and the right name."""
    arguments = changes
    while isinstance(arguments, dict) and arguments:
        *_, wrong = arguments
        arguments = arguments[wrong]
    with pytest.raises(InputError) as caught:
        MODELS.build(detector(**changes))
    message = str(caught.value)
    assert f"'{wrong}'" in message
    assert all(name in message for name in named)
    assert f"did you mean '{named[-1]}'" in message or 'mining' in named


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('negatives_per_positive', -1),
        ('negatives_per_positive', math.inf),
        ('min_negatives', -1),
        ('min_negatives', 2.5),
        ('nms_iou', 1.01),
        ('nms_iou', '0.9'),
        ('max_examples', 0),
    ],
)
def test_mining_value_out_of_range_is_refused_at_build(name, value):
    with pytest.raises(InputError) as caught:
        MODELS.build(detector(train_cfg=dict(mining={name: value})))
    assert f'mining.{name}={value!r}' in str(caught.value)


def test_every_mining_argument_has_a_range():
    assert list(RANGES) == list(mine_hard_examples.__kwdefaults__)
    defaults = mine_hard_examples.__kwdefaults__
    head = MODELS.build(detector(train_cfg=dict(mining=defaults))).bbox_head
    assert head.mining == defaults


def test_subclass_with_a_signature_of_its_own_is_named_and_builds():
    from mnv2_mm.models.ssdlite.head import SSDLiteHead

    class TwoClasses(SSDLiteHead):
        def __init__(self, **kwargs):
            super().__init__(num_classes=2, in_channels=LEVELS, **kwargs)

    assert TwoClasses(use_depthwise=False).num_classes == 2
    with pytest.raises(InputError, match='TwoClasses takes no argument'):
        TwoClasses(use_depthwize=False)
