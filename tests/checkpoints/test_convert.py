"""Names, layouts and the fit of TensorFlow's weights, without the files.

The variables are written here as TF-slim, the Object Detection API and
DeepLab name them; the values are random, and the network must compute what
they say.
"""

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip('mmdet.models')
pytest.importorskip('mmseg.models')
pytest.importorskip('mmpretrain.models')

from mmdet.datasets import CocoDataset
from mmengine.registry import MODELS, init_default_scope
from slim_variables import backbone, classifier, detector, segmentor

from mnv2_mm.api import init_model
from mnv2_mm.checkpoints.assign import assign, check_anchors
from mnv2_mm.checkpoints.convert import convert, save
from mnv2_mm.checkpoints.key_maps.slim import is_slim, translate_slim
from mnv2_mm.checkpoints.source import Anchors, Source, Translation
from mnv2_mm.utils.config import get_config
from mnv2_mm.utils.errors import InputError


def source(variables):
    tensors = {
        name: torch.tensor(value, dtype=torch.float32)
        for name, value in variables.items()
    }
    return Source('model.ckpt', 'TensorFlow checkpoint', '0' * 64, tensors)


def build(config, options=None):
    cfg = get_config(config).copy()
    cfg.merge_from_dict(options or {})
    init_default_scope(cfg.default_scope)
    return MODELS.build(cfg.model)


HALF = {'model.backbone.widen_factor': 0.5, 'model.decode_head.in_channels': 160}
NETWORKS = {
    'classifier': (classifier(), 'official/mnv2_in1k', {}),
    'narrow classifier': (
        classifier(0.35),
        'official/mnv2_in1k',
        {'model.backbone.widen_factor': 0.35},
    ),
    'detector': (detector(), 'ssdlite_mnv2_coco', {'model.bbox_head.num_classes': 90}),
    'segmentor': (segmentor(), 'official/deeplabv3_mnv2_voc', {}),
    'segmentor with ASPP': (segmentor(aspp=True), 'table7/mobilenet_v2_os16_aspp', {}),
    'narrow segmentor': (
        segmentor('deeplab 0.5'),
        'official/deeplabv3_mnv2_dm05_voc',
        {},
    ),
    'plain SSD': (
        detector(lite=False),
        'official/ssd_mnv2_coco',
        {'model.bbox_head.num_classes': 90},
    ),
    'Open Images': (detector(24, lite=False), 'official/ssd_mnv2_openimages', {}),
} | {
    f'width {w}': (classifier(w), f'figure5/mobilenet_v2_w{w * 100:03.0f}_r224', {})
    for w in (0.5, 0.75, 1.3, 1.4)
}


@pytest.mark.parametrize('name', NETWORKS)
def test_every_variable_finds_its_place(name):
    variables, config, options = NETWORKS[name]
    given = source(variables)
    assert is_slim(given.tensors)
    model = build(config, options)
    weights, report = assign(translate_slim(given), model, given)
    assert not report.unused
    assert not report.missing
    assert len(report.matched) == len(variables)
    model.load_state_dict(weights)


def reference_conv(variables, scope, x, *, stride=1):
    """A convolution as TensorFlow computes it (SAME), with BN and ReLU6."""
    depthwise = f'{scope}/depthwise_weights' in variables
    leaf = 'depthwise_weights' if depthwise else 'weights'
    weight = torch.tensor(variables[f'{scope}/{leaf}'], dtype=torch.float32)
    size, kernel = x.shape[-1], weight.shape[0]
    pad = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    before, after = pad // 2, pad - pad // 2
    x = nn.functional.pad(x, (before, after, before, after))
    axes = (2, 3, 0, 1) if depthwise else (3, 2, 0, 1)
    x = nn.functional.conv2d(
        x, weight.permute(*axes), stride=stride, groups=x.shape[1] if depthwise else 1
    )
    if f'{scope}/biases' in variables:
        bias = torch.tensor(variables[f'{scope}/biases'])
        return x + bias.float()[:, None, None]
    bn = [
        torch.tensor(variables[f'{scope}/BatchNorm/{leaf}']).float()
        for leaf in ('moving_mean', 'moving_variance', 'gamma', 'beta')
    ]
    return nn.functional.batch_norm(x, *bn, eps=1e-3)


def test_the_network_computes_what_the_variables_say():
    """First two layers of the backbone, and the predictors of a level."""
    variables = detector()
    given = source(variables)
    model = build('ssdlite_mnv2_coco', {'model.bbox_head.num_classes': 90})
    model.load_state_dict(assign(translate_slim(given), model, given)[0])
    model.eval()
    x = torch.randn(1, 3, 32, 32)
    start = 'FeatureExtractor/MobilenetV2/'
    wanted = x
    for scope, stride in (
        ('Conv', 2),
        ('expanded_conv/depthwise', 1),
        ('expanded_conv/project', 1),
    ):
        wanted = reference_conv(variables, start + scope, wanted, stride=stride)
        wanted = wanted if 'project' in scope else wanted.clamp(0, 6)
    with torch.no_grad():
        found = model.backbone.layer1(model.backbone.conv1(x))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)

    x = torch.rand(1, 512, 5, 5)
    outputs = {}
    for name in ('BoxEncoding', 'Class'):
        scope = f'BoxPredictor_2/{name}Predictor'
        middle = reference_conv(variables, f'{scope}_depthwise', x)
        outputs[name] = reference_conv(variables, scope, middle.clamp(0, 6))
    with torch.no_grad():
        codes = model.bbox_head.reg_convs[2](x)
        logits = model.bbox_head.cls_convs[2](x)
    y, x, h, w = outputs['BoxEncoding'].unflatten(1, (6, 4)).unbind(2)
    torch.testing.assert_close(codes.unflatten(1, (6, 4)), torch.stack([x, y, w, h], 2))
    theirs = outputs['Class'].unflatten(1, (6, 91))
    ours = logits.unflatten(1, (6, 91))
    torch.testing.assert_close(ours[:, :, :90], theirs[:, :, 1:])
    torch.testing.assert_close(ours[:, :, 90], theirs[:, :, 0])


def test_the_background_of_imagenet_is_left_out():
    variables = classifier()
    given = source(variables)
    model = build('official/mnv2_in1k')
    weights, report = assign(translate_slim(given), model, given)
    biases = variables['MobilenetV2/Logits/Conv2d_1c_1x1/biases']
    np.testing.assert_allclose(weights['head.fc.bias'], biases[1:], 1e-6)
    assert 'without the background' in report.matched['head.fc.bias']


def test_ids_that_coco_never_used_are_left_out():
    """80 classes of 90 ids; the background moves from first to last."""
    variables = detector()
    given = source(variables)
    model = build('official/ssdlite_mnv2_coco')
    weights, report = assign(translate_slim(given), model, given)
    key = 'bbox_head.cls_convs.1.1.bias'
    theirs = variables['BoxPredictor_1/ClassPredictor/biases'].reshape(6, 91)
    ours = weights[key].reshape(6, 81).numpy()
    names = CocoDataset.METAINFO['classes']
    for name, coco_id in (
        ('person', 1),
        ('stop sign', 13),
        ('backpack', 27),
        ('toilet', 70),
        ('toothbrush', 90),
    ):
        column = ours[:, names.index(name)]
        np.testing.assert_allclose(column, theirs[:, coco_id], 1e-6)
    np.testing.assert_allclose(ours[:, 80], theirs[:, 0], 1e-6)
    assert 'unused ids' in report.matched[key]


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_values_that_no_load_would_take_are_refused(value):
    variables = classifier()
    variables['MobilenetV2/Conv/BatchNorm/beta'][3] = value
    with pytest.raises(InputError, match=r'model\.ckpt.*backbone\.conv1\.bn\.bias'):
        convert(source(variables), 'official/mnv2_in1k')


# -------------------------------------------------------------- batch norm
def small_model(eps):
    """A backbone whose first map is tapped, as part of a model."""
    model = nn.Module()
    model.backbone = MODELS.build(
        dict(
            type='mnv2_mm.MobileNetV2',
            out_indices=('layer_2',),
            norm_cfg=dict(type='BN', eps=eps),
        )
    )
    return model.eval()


def test_another_epsilon_is_counted_in():
    """The same function, whatever the epsilon of the config."""
    trained = small_model(1e-5)
    for module in trained.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            # as small as the epsilons are
            nn.init.uniform_(module.running_var, 1e-5, 1e-3)
            nn.init.normal_(module.running_mean, 0, 0.01)
    tensors = {
        key: value
        for key, value in trained.state_dict().items()
        if not key.endswith('num_batches_tracked')
    }
    given = Translation(
        'torchvision',
        tensors,
        {key: key for key in tensors},
        bn_eps={'': 1.0, 'backbone.': 1e-5},  # the longest counts
    )
    model = small_model(1e-3)
    weights, _ = assign(given, model, source({}))
    model.load_state_dict(weights)
    x = torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        (found,), (wanted,) = model.backbone(x), trained.backbone(x)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_fused_batch_norm_only_adds_the_bias():
    model = small_model(1e-3)
    convs = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d)
    }
    tensors, biases = {}, {}
    for name, module in convs.items():
        tensors[f'{name}.weight'] = module.weight.detach()
        biases[name] = torch.randn(module.out_channels)
        tensors[f'{name}.bias'] = biases[name]
    given = Translation('TF-slim', tensors, {k: k for k in tensors})
    weights, report = assign(given, model, source({}))
    assert not report.unused
    model.load_state_dict(weights)
    x = torch.randn(1, 3, 16, 16)
    block = model.backbone.layer1[0]
    with torch.no_grad():
        (found,) = model.backbone(x)
        wanted = x
        for part, name in (
            (model.backbone.conv1, 'conv1'),
            (block.depthwise_conv, 'layer1.0.depthwise_conv'),
            (block.linear_conv, 'layer1.0.linear_conv'),
        ):
            bias = biases[f'backbone.{name}.conv'][:, None, None]
            wanted = part.conv(wanted) + bias
            wanted = wanted if name.endswith('r_conv') else wanted.clamp(0, 6)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


# ------------------------------------------------------- what does not fit
def test_missing_tensors_need_consent():
    variables = classifier()
    del variables['MobilenetV2/expanded_conv_3/expand/BatchNorm/beta']
    given = source(variables | {'MobilenetV2/new_layer/weights': np.ones(1)})
    model = build('official/mnv2_in1k')
    key = 'backbone.layer3.0.expand_conv.bn.bias'
    with pytest.raises(InputError, match=rf'{key}.*--allow-missing'):
        assign(translate_slim(given), model, given)
    weights, report = assign(translate_slim(given), model, given, allow_missing=True)
    assert report.missing == [key]
    assert report.unused == ['MobilenetV2/new_layer/weights']
    assert torch.equal(weights[key], model.state_dict()[key])
    table = report.table()
    assert 'MISSING' in table
    assert '(unused)' in table


@pytest.mark.parametrize('allow_missing', [False, True])
def test_another_width_is_named(allow_missing):
    given = source(classifier(0.35))
    model = build('official/mnv2_in1k')
    with pytest.raises(InputError, match=r'widen_factor.*looks like .*0\.35'):
        assign(translate_slim(given), model, given, allow_missing=allow_missing)


@pytest.mark.parametrize(
    'options, said', [({}, r'widen_factor=0\.5 and divisor=1'), (HALF, r'divisor=1')]
)
def test_deeplabs_rounding_is_named(options, said):
    given = source(segmentor('deeplab 0.5'))
    model = build('official/deeplabv3_mnv2_voc', options)
    with pytest.raises(InputError, match=said):
        assign(translate_slim(given), model, given)


def test_a_width_that_was_set_is_not_advised_again():
    given = source(
        backbone(0.5) | {'MobilenetV2/Conv_1/weights': np.ones((1, 1, 160, 640))}
    )
    model = build('official/mnv2_in1k', {'model.backbone.widen_factor': 0.5})
    with pytest.raises(InputError, match='shrink_last') as error:
        assign(translate_slim(given), model, given)
    assert 'widen_factor' not in str(error.value)


def test_a_head_of_other_classes_needs_consent():
    given = source(classifier(classes=11))
    model = build('official/mnv2_in1k')
    said = r'head\.fc\.weight: \(11, 1280\).*\(1000, 1280\).*num_classes'
    with pytest.raises(InputError, match=said):
        assign(translate_slim(given), model, given)
    _, report = assign(translate_slim(given), model, given, allow_missing=True)
    assert set(report.reshaped) == {'head.fc.weight', 'head.fc.bias'}
    assert 'OTHER SHAPE' in report.table()


def test_a_shape_that_its_name_excludes_is_named():
    variables = classifier()
    name = 'MobilenetV2/Conv/weights'
    variables[name] = np.ones((3, 3))
    with pytest.raises(InputError, match=rf'{name} has the shape \(3, 3\)'):
        translate_slim(source(variables))


def test_other_anchors_are_refused():
    model = build('official/ssdlite_mnv2_objects')
    priors = torch.cat(
        model.bbox_head.prior_generator.grid_priors(
            model.bbox_head.prior_generator.featmap_sizes, device='cpu'
        )
    )
    x1, y1, x2, y2 = (priors / 192).unbind(1)
    boxes = torch.stack([(y1 + y2) / 2, (x1 + x2) / 2, y2 - y1, x2 - x1], 1)
    assert check_anchors(model, Anchors(boxes, 0.0), 'f') < 1e-6
    with pytest.raises(InputError, match=r'has 737 anchors.*makes 738'):
        check_anchors(model, Anchors(boxes[1:], 0.0), 'f')
    with pytest.raises(InputError, match='other anchors'):
        check_anchors(model, Anchors(boxes[:, [1, 0, 3, 2]], 0.0), 'f')
    rounded = torch.round(boxes / 0.01) * 0.01
    assert check_anchors(model, Anchors(rounded, 0.01), 'f') <= 0.0051


def test_another_padding_is_warned_of(monkeypatch):
    said = []
    monkeypatch.setattr(
        'mnv2_mm.checkpoints.assign.print_log', lambda text, *_: said.append(text)
    )
    given = source(classifier())
    for config in ('mnv2_in1k', 'official/mnv2_in1k'):
        assign(translate_slim(given), build(config), given)
    assert len(said) == 1
    assert "model.backbone.padding='same'" in said[0]


# ------------------------------------------------------------- whole files
@pytest.mark.parametrize('kind', ['torchvision', 'timm'])
def test_another_code_base_end_to_end(tmp_path, kind):
    """File in, checkpoint out, the same logits for the same image."""
    if kind == 'torchvision':
        torchvision = pytest.importorskip('torchvision')
        other = torchvision.models.mobilenet_v2()
    else:
        timm = pytest.importorskip('timm')
        other = timm.create_model('mobilenetv2_100')
    torch.manual_seed(0)
    for module in other.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.5, 0.5)
            module.momentum = 1.0
    other(torch.randn(8, 3, 64, 64))  # statistics that keep values moderate
    torch.save(other.state_dict(), tmp_path / 'other.pth')
    checkpoint, report = convert(tmp_path / 'other.pth', 'mnv2_in1k')
    assert not report.unused
    assert kind in checkpoint['meta']['provenance']['key_map']
    save(checkpoint, tmp_path / 'ours.pth')
    model = init_model('mnv2_in1k', tmp_path / 'ours.pth')
    image = torch.randint(256, (3, 64, 64))  # BGR
    mean = torch.tensor([123.675, 116.28, 103.53])[:, None, None]
    std = torch.tensor([58.395, 57.12, 57.375])[:, None, None]
    with torch.no_grad():
        wanted = other.eval()(((image.flip(0) - mean) / std)[None])
        inputs = model.data_preprocessor({'inputs': [image]})['inputs']
        found = model(inputs)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)
