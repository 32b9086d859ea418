"""The training recipes: weight decay, learning rates, averages of the weights.

Each task has the official recipe and a second one for the same network.
"""

import pytest
import torch
from config_files import CONFIGS, initialized_model, load, meta_model
from mmengine.config import Config
from mmengine.optim import StepLR, build_optim_wrapper
from mmengine.registry import DATASETS, PARAM_SCHEDULERS, DefaultScope
from torch import nn

pytest.importorskip('mmdet.models')
pytest.importorskip('mmseg.models')
pytest.importorskip('mmpretrain.models')

OFFICIAL = {'det': 'ssdlite_mnv2_coco', 'seg': 'deeplabv3_mnv2_voc', 'cls': 'mnv2_in1k'}
SECOND = {
    'det': 'ssdlite_mnv2_coco_sgd_600e',
    'seg': 'deeplabv3_mnv2_voc_adamw_40k',
    'cls': 'mnv2_in1k_sgd_600e',
}
#: How the options begin that remove our additions.
PLACES = ('optim_wrapper.', 'param_scheduler.', 'custom_hooks.')
AVERAGE = 'mnv2_mm.TFExponentialMovingAverage'


# -- weight decay ------------------------------------------------------------
def decays(name: str) -> dict[str, float]:
    """Weight decay by name of the parameter."""
    cfg, model = load(name), initialized_model(name)
    if 'RMSprop' in cfg.optim_wrapper.optimizer.type:
        pytest.importorskip('timm')
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    groups = {
        id(parameter): group['weight_decay']
        for group in wrapper.optimizer.param_groups
        for parameter in group['params']
    }
    return {n: groups[id(p)] for n, p in model.named_parameters()}


@pytest.mark.parametrize(
    ('name', 'backbone', 'depthwise'),
    [
        # one a block of V2 and a pair of V1; one in each of the four extra
        # levels and two, for classes and boxes, on each of the six levels
        ('ssdlite_mnv2_coco', 17, 16),
        ('table6/ssdlite_mobilenet_v1', 13, 16),
    ],
)
def test_ssdlite_decays_the_depthwise_kernels_of_its_head_only(
    name, backbone, depthwise
):
    """slim's scopes: the backbone's has separable_conv2d without a decay."""
    found = decays(name)
    model = initialized_model(name)
    plain, decayed, dense = [], [], []
    for prefix, module in model.named_modules():
        own = [n for n, _ in module.named_parameters(recurse=False)]
        for parameter in own:
            decay = found[f'{prefix}.{parameter}']
            if not isinstance(module, nn.Conv2d) or parameter == 'bias':
                assert decay == 0, f'{prefix}.{parameter}'
            elif module.groups == 1:
                dense.append(decay)
            elif prefix.startswith('backbone'):
                plain.append(decay)
            else:
                decayed.append(decay)
    assert plain == [0] * backbone
    assert decayed == [4e-5] * depthwise
    assert set(dense) == {4e-5}


def test_classifier_decays_dense_layers_only():
    found = decays('mnv2_in1k')
    assert found['head.fc.weight'] == 4e-5
    assert found['head.fc.bias'] == 0
    assert found['backbone.conv1.conv.weight'] == 4e-5
    for name, decay in found.items():
        if 'depthwise' in name or '.bn.' in name:
            assert decay == 0, name
        elif name.endswith('conv.weight'):
            assert decay == 4e-5, name


# -- random start ------------------------------------------------------------
#: Deviation of a normal distribution cut at two of its deviations.
CUT = 0.8796


@pytest.mark.parametrize(
    ('name', 'part', 'deviation'),
    [
        ('ssdlite_mnv2_coco', 'backbone', 0.09),
        ('ssdlite_mnv2_coco', 'neck', 0.03),
        ('ssdlite_mnv2_coco', 'bbox_head', 0.03),
        ('deeplabv3_mnv2_voc', 'backbone', 0.09),
        ('deeplabv3_mnv2_voc', 'decode_head.conv_seg', 0.01),
        ('mnv2_in1k', 'backbone', 0.09),
        ('mnv2_in1k', 'head', 0.09),
    ],
)
def test_random_start_is_a_truncated_normal(name, part, deviation):
    model = initialized_model(name)
    modules = model.get_submodule(part).modules()
    layers = [m for m in modules if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert layers
    for layer in layers:
        assert layer.weight.abs().max() <= 2 * deviation
        assert layer.bias is None or not layer.bias.any()
    values = torch.cat([layer.weight.flatten() for layer in layers])
    assert values.std().item() == pytest.approx(CUT * deviation, rel=0.02)


# -- rates and averages ------------------------------------------------------
def test_staircase_of_the_detector():
    """0.004 * 0.95 ^ (step // 800720), here with a stair of three steps."""
    staircase = dict(load('ssdlite_mnv2_coco').param_scheduler[1])
    assert staircase.pop('type') == 'StepLR'
    assert staircase.pop('step_size') == 800_720
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.004)
    scheduler = StepLR(optimizer, step_size=3, **staircase)
    rates = []
    for _ in range(7):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx(
        [0.004, 0.004, 0.004, 0.0038, 0.0038, 0.0038, 0.00361]
    )


def test_the_additions_to_the_detectors_recipe_can_be_removed():
    """By the options that the comment of the schedule names."""
    path = CONFIGS / '_base_/schedules/ssdlite_200k.py'
    comment = path.read_text().partition('\nmax_epochs')[0]
    words = comment.replace('#', ' ').split()
    options = [w for w in words if '=' in w and w.startswith(PLACES)]
    assert len(options) == 3
    cfg = load('ssdlite_mnv2_coco', *options)
    assert cfg.optim_wrapper.clip_grad is None
    (hook,) = cfg.custom_hooks
    assert hook.warmup is False
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.004)
    for scheduler in cfg.param_scheduler:
        PARAM_SCHEDULERS.build(dict(scheduler, optimizer=optimizer))
    assert optimizer.param_groups[0]['lr'] == 0.004


def test_averages_of_the_sources():
    """slim averages BN's statistics, the detectors do not, DeepLab nothing."""
    det, seg, cls = (load(OFFICIAL[task]) for task in ('det', 'seg', 'cls'))
    for cfg, buffers in ((det, False), (cls, True)):
        (hook,) = cfg.custom_hooks
        assert (hook.type, hook.ema_type) == ('EMAHook', AVERAGE)
        assert (hook.decay, hook.update_buffers) == (0.9999, buffers)
    assert not seg.get('custom_hooks')


@pytest.mark.parametrize('task', OFFICIAL)
def test_second_recipe_trains_the_same_network(task):
    shapes = [
        {k: v.shape for k, v in meta_model(names[task]).state_dict().items()}
        for names in (OFFICIAL, SECOND)
    ]
    assert shapes[0] == shapes[1]
    cfg = load(SECOND[task])
    assert cfg.param_scheduler[0].type == 'LinearLR'  # warm-up
    assert cfg.param_scheduler[1].type in ('CosineAnnealingLR', 'PolyLR')
    assert cfg.custom_hooks[0].ema_type == AVERAGE
    assert cfg.optim_wrapper.optimizer.type in ('SGD', 'AdamW')


# -- on data -----------------------------------------------------------------
@pytest.mark.parametrize('name', [OFFICIAL['det'], SECOND['det']])
def test_detector_pipelines_on_data(name, tiny_data):
    cfg = load(name).train_dataloader.dataset
    cfg.data_root = str(tiny_data)
    cfg.ann_file = 'annotations/train.json'
    sample = load('_base_/datasets/sample_det')
    source = sample.train_dataloader.dataset
    cfg.data_prefix = source.data_prefix
    cfg.metainfo = source.metainfo
    with DefaultScope.overwrite_default_scope('mmdet'):
        dataset = DATASETS.build(cfg)
        items = [dataset[i] for i in range(len(dataset))]
    assert len(items) == 16
    for item in items:
        assert item['inputs'].shape == (3, 320, 320)
        truth = item['data_samples'].gt_instances
        boxes = getattr(truth.bboxes, 'tensor', truth.bboxes)
        assert len(boxes) == len(truth.labels)
        assert (boxes >= 0).all() and (boxes <= 320).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()


@pytest.mark.parametrize(
    ('task', 'recipes'),
    [
        *((task, OFFICIAL) for task in OFFICIAL),
        ('seg', SECOND),
        # SGD with a warm-up, as the official recipe of segmentation and the second
        pytest.param('det', SECOND, marks=pytest.mark.slow),
        pytest.param('cls', SECOND, marks=pytest.mark.slow),
    ],
    ids=lambda v: {id(OFFICIAL): 'official', id(SECOND): 'second'}.get(id(v), v),
)
def test_schedule_runs(task, recipes, tiny_config, run_tool, tmp_path):
    """Optimizer, rates and average of a recipe in a run of two epochs."""
    recipe = load(recipes[task])
    if 'RMSprop' in recipe.optim_wrapper.optimizer.type:
        pytest.importorskip('timm')
    cfg = Config.fromfile(tiny_config(task))
    for key in ('optim_wrapper', 'param_scheduler', 'custom_hooks'):
        if key in recipe:
            cfg[key] = recipe[key]
    for entry in cfg.param_scheduler:
        if entry.type == 'LinearLR':  # a longer warm-up is refused
            entry.update(by_epoch=False, end=1)
            entry.pop('convert_to_iter_based', None)
    cfg.train_dataloader.dataset.indices = 8  # one batch
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.train_cfg.val_interval = 10
    cfg.default_hooks.checkpoint.save_best = None
    path = tmp_path / 'config.py'
    cfg.dump(path)
    assert run_tool('train', path, '--work-dir', tmp_path / 'run') == 0
    unit = 'iter' if task == 'seg' else 'epoch'
    saved = torch.load(tmp_path / f'run/{unit}_2.pth', weights_only=False)
    assert all(
        value.isfinite().all()
        for value in saved['state_dict'].values()
        if value.is_floating_point()
    )
    averaged = 'custom_hooks' in recipe
    assert ('ema_state_dict' in saved) == averaged
