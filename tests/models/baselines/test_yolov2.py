"""YOLOv2 against Darknet's definitions and the counts of its two nets."""

import math

import pytest
import torch
from mmengine.structures import InstanceData
from torch.utils.flop_counter import FlopCounterMode

pytest.importorskip('mmdet.models')

from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_overlaps

from mnv2_mm.models.baselines.yolov2_network import Darknet19, YOLOv2Neck
from mnv2_mm.models.baselines.yolov2_region import (
    COCO_ANCHORS,
    VOC_ANCHORS,
    RegionLoss,
    anchor_grid,
    anchor_tensor,
    decode,
    encode,
)
from mnv2_mm.registry import MODELS
from mnv2_mm.utils.errors import InputError

TEST_CFG = dict(
    nms_pre=1000,
    score_thr=0.005,
    nms=dict(type='nms', iou_threshold=0.45),
    max_per_img=100,
)
ANCHORS = ((1.0, 2.0), (2.0, 1.0))


def detector(classes=3, channels=32, **head):
    """A detector; with few channels in neck and head it trains quickly."""
    norm = dict(type='BN', momentum=0.5)
    return MODELS.build(
        dict(
            _scope_='mmdet',
            type='SingleStageDetector',
            data_preprocessor=dict(
                type='DetDataPreprocessor',
                mean=[0.0] * 3,
                std=[255.0] * 3,
                pad_size_divisor=32,
            ),
            backbone=dict(type='mnv2_mm.Darknet19', norm_cfg=norm),
            neck=dict(type='mnv2_mm.YOLOv2Neck', channels=channels, norm_cfg=norm),
            bbox_head=dict(
                type='mnv2_mm.YOLOv2Head',
                num_classes=classes,
                in_channels=channels,
                **head,
            ),
            test_cfg=TEST_CFG,
        )
    )


def build_head(classes=2, **kwargs):
    head = dict(type='mnv2_mm.YOLOv2Head', num_classes=classes, in_channels=4)
    return MODELS.build(dict(head, test_cfg=TEST_CFG, **kwargs))


def objects(boxes, labels):
    return InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor(labels, dtype=torch.long),
    )


def sample(size, instances, *, original=None, scale=(1.0, 1.0)):
    return DetDataSample(
        gt_instances=instances,
        metainfo=dict(
            img_shape=size,
            ori_shape=original or size,
            scale_factor=scale,
            img_path='a.jpg',
        ),
    )


@pytest.mark.parametrize(
    ('classes', 'passthrough', 'parameters', 'multiply_adds'),
    [
        (80, 64, 50.963e6, 14.732e9),
        (20, 64, 50.655e6, 14.680e9),
        (80, None, 67.445e6, 17.501e9),
    ],
)
def test_counts_at_416(classes, passthrough, parameters, multiply_adds):
    """The released net on COCO and on VOC, and the earlier one."""
    with torch.device('meta'):
        parts = torch.nn.Sequential(
            Darknet19(),
            YOLOv2Neck(passthrough_channels=passthrough),
            MODELS.build(dict(type='mnv2_mm.YOLOv2Head', num_classes=classes)),
        ).eval()
        with FlopCounterMode(display=False) as counter:
            (result,) = parts(torch.empty(1, 3, 416, 416))
    assert result.shape == (1, 5 * (5 + classes), 13, 13)
    counted = sum(p.numel() for p in parts.parameters())
    assert counted == pytest.approx(parameters, abs=1000)
    macs = counter.get_total_flops() / 2
    assert macs == pytest.approx(multiply_adds, abs=1e6)


def test_backbone_facts():
    with torch.device('meta'):
        backbone = Darknet19(range(6)).eval()
        maps = backbone(torch.empty(2, 3, 96, 64))
    assert len(maps) == 6
    for x, channels, stride in zip(
        maps, backbone.out_channels, backbone.out_strides, strict=True
    ):
        assert x.shape == (2, channels, 96 // stride, 64 // stride)
    convs = [m for m in backbone.modules() if isinstance(m, torch.nn.Conv2d)]
    slopes = {
        m.negative_slope
        for m in backbone.modules()
        if isinstance(m, torch.nn.LeakyReLU)
    }
    assert len(convs) == 18 and slopes == {0.1}
    assert all(conv.bias is None for conv in convs)


def test_passthrough_keeps_each_pixel_at_its_place():
    """One lit pixel of the fine map reaches one cell, before the 3x3."""
    neck = YOLOv2Neck((1, 1), 1, passthrough_channels=None).eval()
    seen = []
    neck.fusion.register_forward_hook(lambda m, args, out: seen.append(args))
    fine = torch.zeros(1, 1, 6, 4)
    fine[0, 0, 3, 2] = 7.0
    neck([fine, torch.zeros(1, 1, 3, 2)])
    joined = seen[0][0]
    assert joined.shape == (1, 5, 3, 2)  # 4 of the fine map, then the coarse
    # row 3 is the second row of cell row 1, column 2 the first of column 1
    assert joined[0, :4].nonzero().tolist() == [[2, 1, 1]]


def test_grid_runs_over_rows_columns_and_anchors():
    corners, shapes = anchor_grid((2, 3), anchor_tensor(ANCHORS))
    assert corners.tolist()[::2] == [
        [0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [2, 1]
    ]  # fmt: skip
    assert torch.equal(corners[::2], corners[1::2])
    assert shapes.tolist() == [list(anchor) for anchor in ANCHORS] * 6


@pytest.mark.parametrize('anchors', [COCO_ANCHORS, VOC_ANCHORS])
def test_decoding_undoes_encoding(anchors):
    torch.manual_seed(0)
    anchors, size = anchor_tensor(anchors), (9, 13)
    centers = torch.rand(50, 2) * torch.tensor([13.0, 9.0])
    halves = torch.rand(50, 2) * 5 + 0.1
    boxes = torch.cat([centers - halves, centers + halves], 1)
    index, targets = encode(boxes, anchors, size)
    corners, shapes = anchor_grid(size, anchors)
    assert torch.equal(corners[index], centers.floor())
    codes = torch.cat([targets[:, :2].logit(), targets[:, 2:]], 1)
    back = decode(codes, corners[index], shapes[index])
    assert torch.allclose(back, boxes, atol=1e-4)


def test_the_anchor_of_the_best_shape_is_responsible():
    anchors = anchor_tensor(ANCHORS)
    boxes = torch.tensor(
        [
            [0.0, 0.0, 1.1, 2.2],  # tall, center in column 0, row 1
            [2.0, 1.2, 4.0, 2.0],  # wide, center on the right edge
        ]
    )
    index, targets = encode(boxes, anchors, (2, 3))
    assert index.tolist() == [(1 * 3 + 0) * 2 + 0, (1 * 3 + 2) * 2 + 1]
    assert targets[0].tolist() == pytest.approx(
        [0.55, 0.1, math.log(1.1), math.log(1.1)], abs=1e-6
    )
    assert targets[1, :2].tolist() == pytest.approx([1.0, 0.6], abs=1e-6)


def _iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    return both / (sum(areas) - both)


def _reference(prediction, rows, columns, boxes, labels, prior):
    """Darknet's region layer in plain numbers: (cell, anchor) by (...)."""

    def sigmoid(x):
        return 1 / (1 + math.exp(-x))

    taken = {}
    for box, label in zip(boxes, labels, strict=True):
        cx, cy = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        w, h = box[2] - box[0], box[3] - box[1]
        shapes = [_iou((0, 0, w, h), (0, 0, *anchor)) for anchor in ANCHORS]
        taken[int(cy), int(cx), shapes.index(max(shapes))] = box, label
    total = dict.fromkeys(('coord', 'object', 'noobject', 'class', 'prior'), 0.0)
    numbers = iter(prediction)
    for row in range(rows):
        for column in range(columns):
            for k, (pw, ph) in enumerate(ANCHORS):
                tx, ty, tw, th, o, *logits = next(numbers)
                x, y, o = sigmoid(tx), sigmoid(ty), sigmoid(o)
                w, h = pw * math.exp(tw), ph * math.exp(th)
                cx, cy = column + x, row + y
                mine = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
                if (row, column, k) not in taken:
                    if max([_iou(mine, box) for box in boxes] + [0]) <= 0.6:
                        total['noobject'] += 0.5 * o**2
                    if prior:
                        total['prior'] += 0.005 * (
                            (x - 0.5) ** 2 + (y - 0.5) ** 2 + tw**2 + th**2
                        )
                    continue
                box, label = taken[row, column, k]
                bw, bh = box[2] - box[0], box[3] - box[1]
                weight = 2 - bw * bh / (rows * columns)
                total['coord'] += 0.5 * weight * (
                    ((box[0] + box[2]) / 2 - column - x) ** 2
                    + ((box[1] + box[3]) / 2 - row - y) ** 2
                    + (math.log(bw / pw) - tw) ** 2
                    + (math.log(bh / ph) - th) ** 2
                )  # fmt: skip
                total['object'] += 2.5 * (_iou(mine, box) - o) ** 2
                normaliser = sum(math.exp(logit) for logit in logits)
                total['class'] += math.log(normaliser) - logits[label]
    return total


@pytest.mark.parametrize('prior', [True, False])
def test_loss_against_a_plain_calculation(prior):
    """Two images, one without objects; two objects want one anchor."""
    torch.manual_seed(3)
    boxes = [[(0.2, 0.1, 1.0, 1.7), (1.1, 0.4, 2.9, 1.4), (0.1, 0.2, 1.0, 1.6)], []]
    labels = [[0, 2, 1], []]
    predictions = torch.randn(2, 12, 8, requires_grad=True)
    with torch.no_grad():  # a free anchor that overlaps an object: ignored
        index, target = encode(
            torch.tensor(boxes[0][1:2]), anchor_tensor(ANCHORS), (2, 3)
        )
        codes = torch.cat([target[:, :2].logit(), target[:, 2:]], 1)
        predictions[0, index, :4] = codes
        predictions[0, index - 1, :4] = codes + torch.tensor(
            [[0.0, 0.0, math.log(2.0), -math.log(2.0)]]
        )
    loss = RegionLoss(prior_images=100 if prior else 0)
    losses = loss(
        predictions,
        anchor_tensor(ANCHORS),
        size=(2, 3),
        boxes=[torch.tensor(b).reshape(-1, 4) for b in boxes],
        labels=[torch.tensor(x, dtype=torch.long) for x in labels],
    )
    expected = [
        _reference(p.tolist(), 2, 3, b, x, prior)
        for p, b, x in zip(predictions, boxes, labels, strict=True)
    ]
    # the ignored anchor is there, else the case shows nothing
    unit = _reference(predictions[0].tolist(), 2, 3, [], [], False)
    assert unit['noobject'] - expected[0]['noobject'] > 0.01
    for name, value in losses.items():
        kind = name.removeprefix('loss_')
        mean = (expected[0][kind] + expected[1][kind]) / 2
        assert value.item() == pytest.approx(mean, rel=1e-4, abs=1e-6), name
    assert ('loss_prior' in losses) is prior


def test_gradients_are_those_that_darknet_states():
    """Scale times (target - value), through the sigmoid where there is one."""
    predictions = torch.randn(1, 4, 6, requires_grad=True)
    loss = RegionLoss(prior_images=0)
    box = torch.tensor([[0.3, 0.0, 1.0, 0.9]])
    anchors = anchor_tensor(ANCHORS)
    losses = loss(
        predictions, anchors, size=(1, 2), boxes=[box], labels=[torch.tensor([0])]
    )
    sum(losses.values()).backward()
    index, target = encode(box, anchors, (1, 2))
    gradient, value = predictions.grad[0, index], predictions[0, index]
    weight = 2 - 0.7 * 0.9 / 2
    x = value[:, :2].sigmoid()
    assert torch.allclose(gradient[:, :2], -weight * (target[:, :2] - x) * x * (1 - x))
    assert torch.allclose(gradient[:, 2:4], -weight * (target[:, 2:] - value[:, 2:4]))


def test_the_pull_to_the_anchors_ends():
    head = build_head(anchors=ANCHORS, loss=dict(prior_images=3)).train()
    maps, empty = torch.randn(2, 14, 2, 2), objects([], [])
    pulls = [
        head.loss_by_feat(maps, [empty] * 2, [{}] * 2)['loss_prior'].item()
        for _ in range(3)
    ]
    assert pulls[0] == pulls[1] > 0 == pulls[2]
    assert 'loss_region.seen' in head.state_dict()


def test_half_precision_maps_give_a_finite_loss_and_boxes():
    head = build_head()
    maps = torch.full((1, 5, 7, 2, 2), 60000.0, dtype=torch.float16)
    maps[:, :, 3] = -60000.0  # as wide as can be and without height
    maps = maps.flatten(1, 2).requires_grad_()
    losses = head.loss_by_feat(maps, [objects([[0, 0, 40, 40]], [1])], [{}])
    assert all(torch.isfinite(value) for value in losses.values())
    meta = [dict(img_shape=(64, 64))]
    (result,) = head.predict_by_feat(maps, meta)
    assert len(result) and torch.isfinite(result.bboxes).all()


def test_scores_are_objectness_times_class_and_nms_is_by_class():
    """Two boxes at one place of two classes, in an image scaled by 2."""
    head = build_head(anchors=ANCHORS)
    maps = torch.zeros(1, 2, 7, 2, 3)
    maps[:, :, 4] = -20.0  # no object
    maps[0, 0, 4, 1, 1] = 1.0
    maps[0, 0, 5:, 1, 1] = torch.tensor([0.0, 2.0])
    maps[0, 1, 4, 1, 1] = 0.5
    maps[0, 1, 2:4, 1, 1] = torch.tensor([math.log(0.5), math.log(2)])
    meta = [dict(img_shape=(64, 96), scale_factor=(2.0, 4.0))]
    (result,) = head.predict_by_feat(maps.flatten(1, 2), meta, rescale=True)
    first, second = torch.tensor([1.0, 0.5]).sigmoid().tolist()
    p = 1 / (1 + math.exp(-2))
    expected = {1: first * p, 0: second * 0.5}  # the best of each class
    assert dict(
        zip(result.labels.tolist(), result.scores.tolist(), strict=True)
    ) == pytest.approx(expected, rel=1e-5)
    # row 1, column 1, 1 x 2 cells, center at (48, 48), cut at the lower edge
    box = [32 / 2, 16 / 4, 64 / 2, 64 / 4]
    assert result.bboxes[0].tolist() == pytest.approx(box)
    limited = dict(TEST_CFG, score_thr=0.5)
    assert len(head.predict_by_feat(maps.flatten(1, 2), meta, limited)[0]) == 1


def test_gradient_reaches_every_parameter():
    """A batch of one, non-square, without objects in the second call."""
    torch.manual_seed(0)
    model = detector().train()
    inputs = torch.rand(1, 3, 64, 96)
    data = [sample((64, 96), objects([[5, 5, 60, 60]], [2]))]
    sum(model.loss(inputs, data).values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name
    model.zero_grad()
    losses = model.loss(inputs, [sample((64, 96), objects([], []))])
    assert losses['loss_object'] == losses['loss_class'] == 0
    assert losses['loss_noobject'] > 0
    sum(losses.values()).backward()


@pytest.mark.slow
def test_it_learns_one_image_and_gives_it_back():
    """Boxes come back in the original image, twice as large."""
    torch.manual_seed(0)
    model = detector(loss=dict(prior_images=0))
    model.init_weights()
    boxes = [[8.0, 10.0, 50.0, 60.0], [60.0, 4.0, 92.0, 30.0]]
    image = torch.zeros(3, 96, 96, dtype=torch.uint8)
    for shade, (x1, y1, x2, y2) in zip((120, 250), boxes, strict=True):
        image[:, int(y1) : int(y2), int(x1) : int(x2)] = shade
    instances = sample(
        (96, 96), objects(boxes, [0, 2]), original=(192, 192), scale=(0.5, 0.5)
    )
    data = model.data_preprocessor(dict(inputs=[image], data_samples=[instances]), True)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    model.train()
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        loss = sum(model(**data, mode='loss').values())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.4 * losses[0]
    with torch.no_grad():
        (result,) = model.eval()(**data, mode='predict')
    best = result.pred_instances[:2]
    assert sorted(best.labels.tolist()) == [0, 2]
    assert best.scores.min() > 0.4
    found = best.bboxes[best.labels.argsort()] / 2
    overlaps = bbox_overlaps(found, torch.tensor(boxes), is_aligned=True)
    assert overlaps.min() > 0.5


@pytest.mark.parametrize(
    ('make', 'named'),
    [
        (lambda: Darknet19((6,)), '0..5'),
        (lambda: Darknet19(()), 'non-empty'),
        (lambda: Darknet19((0, 2))(torch.zeros(1, 3, 6, 8)), '8x6'),
        (lambda: YOLOv2Neck((512,)), '(512, 1024)'),
        (
            lambda: YOLOv2Neck((4, 8), 8)(
                [torch.zeros(1, 6, 4, 4), torch.zeros(1, 8, 2, 2)]
            ),
            'in_channels=(6, 8)',
        ),
        (
            lambda: YOLOv2Neck((4, 8), 8)(
                [torch.zeros(1, 4, 5, 4), torch.zeros(1, 8, 2, 2)]
            ),
            '(5, 4)',
        ),
        (lambda: build_head(anchors=((1, 2, 3),)), 'width and height'),
        (lambda: build_head(anchors=((0.0, 2.0),)), 'width and height'),
        (lambda: build_head()([torch.zeros(1, 5, 1, 1)]), 'in_channels=4'),
        (
            lambda: build_head().loss_by_feat(
                torch.zeros(1, 35, 2, 2),
                [objects([[0, 0, 9, 9]], [2])],
                [dict(img_path='a.jpg')],
            ),
            'class index 2',
        ),
        (
            lambda: build_head().loss_by_feat(
                torch.zeros(1, 35, 2, 2),
                [objects([[3, 3, 3, 9]], [0])],
                [dict(img_path='a.jpg')],
            ),
            'a.jpg',
        ),
    ],
)
def test_bad_input_is_named(make, named):
    with pytest.raises(InputError) as caught:
        make()
    assert named in str(caught.value)
