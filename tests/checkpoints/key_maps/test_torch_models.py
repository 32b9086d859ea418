"""Weights of PyTorch code bases by our names; the outputs stay the same."""

import copy
import re

import pytest
import torch
from other_networks import d_li14_net, randomize, timm_net, torchvision_net
from torch import nn

from mnv2_mm.checkpoints.key_maps.backbones import KEY_MAPS, key_map_of
from mnv2_mm.checkpoints.key_maps.torch_models import translate_torch
from mnv2_mm.checkpoints.readers.torch_file import read_torch
from mnv2_mm.checkpoints.source import IMAGENET, Source
from mnv2_mm.models.mobilenet_v2 import MobileNetV2
from mnv2_mm.utils.errors import InputError

E = 'backbone.layer2.0.expand_conv'


def named(*names):
    return Source('f.pth', 'PyTorch', '', {n: torch.zeros(1) for n in names})


def translated(net, tmp_path):
    path = tmp_path / 'other.pth'
    torch.save(net.state_dict(), path)
    return translate_torch(read_torch(path))


def filled(net, translation):
    """Load strictly: every tensor has a counterpart, of the same shape."""
    ours = {
        key: value
        for key, value in net.state_dict().items()
        if key.endswith('num_batches_tracked')
    }
    net.load_state_dict({**ours, **translation.tensors})
    net.eval()
    return net


class OurClassifier(nn.Module):
    """The backbone and the classifier by the names of the configs."""

    def __init__(self, width, num_classes=1000):
        super().__init__()
        self.backbone = MobileNetV2(
            width, ('layer_19',), norm_cfg=dict(type='BN', eps=1e-5)
        )
        self.head = nn.Module()
        channels = self.backbone.out_channels[0]
        self.head.fc = nn.Linear(channels, num_classes)

    def forward(self, x):
        return self.head.fc(self.backbone(x)[0].mean((2, 3)))


def mmpretrain_classifier(width):
    pytest.importorskip('mmpretrain.models')
    from mmpretrain.models import build_classifier

    return build_classifier(
        dict(
            type='ImageClassifier',
            backbone=dict(type='MobileNetV2', widen_factor=width),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=1000, in_channels=1280),
        )
    )


@pytest.mark.parametrize(
    ('make', 'name', 'logits'),
    [
        (torchvision_net, 'torchvision', lambda net, x: net(x)),
        (timm_net, 'timm', lambda net, x: net(x)),
        (d_li14_net, 'd-li14', lambda net, x: net(x)),
        (mmpretrain_classifier, 'mmpretrain', lambda net, x: net(x, mode='tensor')),
    ],
)
def test_a_classifier_keeps_its_output(make, name, logits, tmp_path):
    torch.manual_seed(0)
    other = randomize(make(0.5))
    found = translated(other, tmp_path)
    assert found.key_map == name and not found.unused
    assert found.bn_eps == {'': 1e-5}
    assert (found.padding, found.preprocessing) == ('symmetric', IMAGENET)
    ours = filled(OurClassifier(0.5), found)
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected, got = logits(other, x), ours(x)
    assert torch.allclose(got, expected, rtol=1e-4, atol=1e-4)


def ssdlite(ours):
    """mmdet's SSDLite, or ours with its taps and number of anchors."""
    pytest.importorskip('mmdet.models')
    from mmdet.registry import MODELS

    norm = dict(type='BN', eps=1e-3)
    act = dict(type='ReLU6')
    levels = (96, 1280, 512, 256, 256, 128)
    own = 'mnv2_mm.SSDLite'
    sizes = [48, 100, 150, 202, 253, 304, 320]
    anchors = dict(
        type='SSDAnchorGenerator',
        scale_major=False,
        strides=[16, 32, 64, 107, 160, 320],
        ratios=[[2, 3]] * 6,
        min_sizes=sizes[:-1],
        max_sizes=sizes[1:],
    )
    if ours:
        anchors = dict(type=f'{own}AnchorGenerator', reduce_lowest=False)
    return MODELS.build(
        dict(
            _scope_='mmdet',
            type='SingleStageDetector',
            backbone=dict(
                type='mnv2_mm.MobileNetV2' if ours else 'MobileNetV2',
                out_indices=(4, 7),
                norm_cfg=norm,
            ),
            neck=dict(type=f'{own}Neck', in_channels=(96, 1280), norm_cfg=norm)
            if ours
            else dict(
                type='SSDNeck',
                in_channels=(96, 1280),
                out_channels=levels,
                level_strides=(2, 2, 2, 2),
                level_paddings=(1, 1, 1, 1),
                l2_norm_scale=None,
                use_depthwise=True,
                norm_cfg=norm,
                act_cfg=act,
            ),
            bbox_head=dict(
                type=f'{own}Head' if ours else 'SSDHead',
                in_channels=levels,
                num_classes=80,
                norm_cfg=norm,
                act_cfg=act,
                anchor_generator=anchors,
                **({} if ours else dict(use_depthwise=True)),
            ),
        )
    )


def test_mmdets_detector_keeps_its_output(tmp_path):
    torch.manual_seed(0)
    other = randomize(ssdlite(ours=False))
    found = translated(other, tmp_path)
    assert found.key_map == 'mmdet' and not found.unused
    assert found.bn_eps == {'': 1e-3} and found.padding == 'symmetric'
    assert found.origin['neck.extra_layers.0.2.bn.weight'] == (
        'neck.extra_layers.0.1.pointwise_conv.bn.weight'
    )
    ours = filled(ssdlite(ours=True), found)
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        theirs = other(x, mode='tensor')
        got = ours(x, mode='tensor')
    order = torch.tensor([0, 2, 3, 4, 5, 1])
    shapes = []
    for model in (other, ours):
        boxes = model.bbox_head.prior_generator.base_anchors[2]
        wide, high = (boxes[:, 2:] - boxes[:, :2]).T
        shapes.append(wide / high)
        # the sixth, and only it, is the larger square
        larger = 1 if model is other else 5
        assert (wide * high).argmax() == larger
    assert torch.allclose(shapes[0][order], shapes[1], atol=1e-3)
    for maps, expected in zip(got, theirs, strict=True):
        for level, value in enumerate(maps):
            want = expected[level].unflatten(1, (6, -1))[:, order]
            assert torch.allclose(value, want.flatten(1, 2), rtol=1e-4, atol=1e-3), (
                level
            )


def test_mmsegs_layers_keep_their_names(tmp_path):
    pytest.importorskip('mmseg.models')
    from mmseg.models import build_segmentor

    head = dict(in_channels=112, channels=8, num_classes=3, in_index=0)
    config = dict(
        _scope_='mmseg',
        type='EncoderDecoder',
        backbone=dict(
            type='MobileNetV2',
            widen_factor=0.35,
            strides=(1, 2, 2, 2, 1, 2, 1),
            out_indices=(6,),
        ),
        decode_head=dict(
            type='ASPPHead', dilations=(1, 6, 12, 18), norm_cfg=dict(type='BN'), **head
        ),
        auxiliary_head=dict(type='FCNHead', num_convs=1, **head),
    )
    other = randomize(build_segmentor(copy.deepcopy(config)))
    found = translated(other, tmp_path)
    assert found.key_map == 'mmseg' and not found.unused
    config.pop('auxiliary_head')
    config['backbone'] = dict(
        type='mnv2_mm.MobileNetV2', widen_factor=0.35, out_indices=(6,)
    )
    config['decode_head'] = dict(
        type='mnv2_mm.LiteASPPHead', atrous_rates=(6, 12, 18), **head
    )
    own = build_segmentor(config).state_dict()
    wanted = {k for k in own if not k.endswith('num_batches_tracked')}
    assert wanted <= set(found.tensors)
    for key in set(found.tensors) - wanted:
        assert key.startswith('auxiliary_head.')
    # the one layer that differs
    assert [key for key in wanted if own[key].shape != found.tensors[key].shape] == [
        'decode_head.bottleneck.conv.weight'
    ]


def test_our_own_names_stay(tmp_path):
    own = OurClassifier(0.35, 4)
    found = translated(own, tmp_path)
    assert found.key_map == 'mnv2_mm' and not found.unused
    assert (found.padding, found.preprocessing) == (None, None)
    assert all(
        torch.equal(value, own.state_dict()[key])
        for key, value in found.tensors.items()
    )
    filled(OurClassifier(0.35, 4), found)


@pytest.mark.parametrize(
    ('keys', 'key_map'),
    [
        (['layer2.0.conv.0.conv.weight'], 'mmpretrain or mmseg'),
        (['layer2.0.expand_conv.conv.weight'], 'mmdet or mnv2_mm'),
        ([f'{E}.conv.weight', 'decode_head.conv_seg.weight'], 'mnv2_mm'),
        ([f'{E}.conv.weight', 'neck.extra_layers.0.2.conv.weight'], 'mnv2_mm'),
        (
            [f'{E}.conv.weight', 'neck.extra_layers.0.1.depthwise_conv.conv.weight'],
            'mmdet',
        ),
        # the same key is another layer in each of these two
        (['features.2.conv.3.weight', 'features.2.conv.2.weight'], 'torchvision'),
        (['features.2.conv.3.weight', 'features.2.conv.6.weight'], 'd-li14'),
    ],
)
def test_key_maps_are_told_apart_by_their_keys(keys, key_map):
    assert translate_torch(named(*keys)).key_map == key_map


def test_a_fused_batch_norm_leaves_a_bias():
    found = translate_torch(
        named('features.2.conv.0.0.weight', 'features.2.conv.0.0.bias')
    )
    assert set(found.tensors) == {f'{E}.conv.weight', f'{E}.conv.bias'}


def test_what_no_layer_corresponds_to_is_listed():
    found = translate_torch(named(f'{E}.conv.weight', 'ema_teacher.weight'))
    assert found.unused == ['ema_teacher.weight']


@pytest.mark.parametrize(
    ('keys', 'said'),
    [
        # a ResNet has bn1 too, and layer1.0.bn1
        (['conv1.weight', 'bn1.weight', 'layer1.0.bn1.weight'], 'conv1.wei'),
        (['encoder.0.weight'], 'encoder.0.weight'),
        # an EfficientNet of timm, and a deeper MobileNetV2
        (
            ['blocks.1.0.conv_pw.weight', 'blocks.1.0.se.conv_reduce.bias'],
            'another network',
        ),
        (['blocks.1.0.conv_pw.weight', 'blocks.5.3.conv_pw.weight'], 'another depth'),
        (['layer2.0.expand_conv.conv.weight', f'{E}.conv.weight'], 'remove the one'),
    ],
)
def test_other_networks_are_refused(keys, said):
    with pytest.raises(InputError, match=said):
        translate_torch(named(*keys))


def test_unknown_keys_list_the_known_key_maps():
    with pytest.raises(InputError) as error:
        translate_torch(named('a.b'))
    for name in re.split(' or ', ' or '.join(m.name for m in KEY_MAPS)):
        assert name in str(error.value)
    assert key_map_of([]) is None
