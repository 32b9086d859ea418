"""SSDLite's fast prediction returns the same as mmdet's own."""

import pytest
import torch

pytest.importorskip('mmdet.models')

from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmengine.config import ConfigDict

from mnv2_mm.models.ssdlite import postprocess
from mnv2_mm.models.ssdlite.head import SSDLiteHead
from mnv2_mm.models.ssdlite.postprocess import pre_nms_topk

CHANNELS = (4, 4, 4, 4, 4, 4)
SIZES = (10, 5, 3, 2, 1, 1)


def head(**kwargs):
    test_cfg = ConfigDict(
        nms_pre=1000,
        score_thr=0.02,
        nms=dict(type='nms', iou_threshold=0.6),
        min_bbox_size=0,
        max_per_img=50,
    )
    test_cfg.update(kwargs.pop('test_cfg', {}))
    options = dict(num_classes=20, loss='sigmoid') | kwargs
    return SSDLiteHead(
        in_channels=CHANNELS,
        anchor_generator=dict(type='mnv2_mm.SSDLiteAnchorGenerator', input_size=160),
        test_cfg=test_cfg,
        **options,
    )


def maps(own, *, spread=2.0, batch=2):
    """Class logits and box codes such as a head gives."""
    torch.manual_seed(0)
    anchors = own.prior_generator.num_base_priors
    shapes = list(zip(anchors, SIZES, strict=True))
    cls = [
        spread * torch.randn(batch, a * own.cls_out_channels, s, s) for a, s in shapes
    ]
    reg = [torch.randn(batch, a * 4, s, s) for a, s in shapes]
    return cls, reg


METAS = [
    dict(img_shape=(160, 160), scale_factor=(0.5, 0.8)),
    dict(img_shape=(160, 160), scale_factor=(2.0, 1.0)),
]


@pytest.mark.parametrize('rescale', [True, False])
@pytest.mark.parametrize(
    'kwargs',
    [
        {},
        {'loss': 'softmax', 'test_cfg': {'score_thr': 0.05}},
        {'background_slot': False},
        {'num_classes': 1, 'background_slot': False},
        {'test_cfg': {'score_thr': 0.95}},  # fewer pairs than detections
        {'test_cfg': {'score_thr': 0.9999999}},  # none
        {'test_cfg': {'score_thr': 0.0, 'max_per_img': 300}},
        {'test_cfg': {'min_bbox_size': 30}},
        {'test_cfg': {'nms': {'type': 'nms', 'iou_threshold': 0.05}}},
        {'test_cfg': {'nms_pre': 60, 'max_per_img': 100}},  # limit binds
        {'test_cfg': {'nms': {'type': 'soft_nms', 'iou_threshold': 0.5}}},
    ],
    ids=lambda kwargs: str(kwargs)[1:40],
)
def test_the_same_as_mmdets(kwargs, rescale):
    own = head(**kwargs)
    cls, reg = maps(own)
    ours = own.predict_by_feat(cls, reg, batch_img_metas=METAS, rescale=rescale)
    theirs = BaseDenseHead.predict_by_feat(
        own, cls, reg, batch_img_metas=METAS, rescale=rescale
    )
    for found, wanted in zip(ours, theirs, strict=True):
        assert len(found) == len(wanted)
        torch.testing.assert_close(found.scores, wanted.scores)
        # of equal scores either may come first
        near = (found.bboxes[:, None] - wanted.bboxes).abs().amax(2) < 1e-3
        near &= found.labels[:, None] == wanted.labels
        near &= (found.scores[:, None] - wanted.scores).abs() < 1e-6
        assert near.any(0).all() and near.any(1).all()


def test_most_pairs_are_never_looked_at(monkeypatch):
    """What the speed comes from: NMS sees twice the detections wanted."""
    seen = []
    real = postprocess.batched_nms

    def counted(boxes, *args, **kwargs):
        seen.append(len(boxes))
        return real(boxes, *args, **kwargs)

    monkeypatch.setattr(postprocess, 'batched_nms', counted)
    own = head(test_cfg={'score_thr': 1e-8})
    cls, reg = maps(own, batch=1)
    (found,) = own.predict_by_feat(cls, reg, batch_img_metas=METAS[:1])
    assert len(found) == 50
    assert seen == [100]


@pytest.mark.parametrize('shape', [(50, 1), (50, 7), (3, 40)])
@pytest.mark.parametrize('count', [1, 10, 40])
def test_pre_nms_topk(shape, count):
    torch.manual_seed(0)
    values = torch.randn(shape)
    best, index = pre_nms_topk(values, count)
    wanted, place = values.flatten().topk(count)
    assert torch.equal(best, wanted)
    assert torch.equal(index, place)


def test_ties_do_not_change_the_count():
    values = torch.zeros(50, 4)
    best, index = pre_nms_topk(values, 10)
    assert len(best) == len(set(index.tolist())) == 10


def test_priors_follow_the_size_of_the_maps():
    own = head()
    first = own.priors([torch.zeros(1, 1, s, s) for s in SIZES])
    assert own.priors([torch.zeros(2, 1, s, s) for s in SIZES]) is first
    other = own.priors([torch.zeros(1, 1, s + 1, s) for s in SIZES])
    assert len(other) > len(first)
