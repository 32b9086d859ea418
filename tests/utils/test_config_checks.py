"""Wrong values of a config are one sentence before the model is built."""

import copy

import pytest
from mmengine.config import Config

from mnv2_mm.utils.config import apply_options
from mnv2_mm.utils.config_checks import check_values
from mnv2_mm.utils.errors import InputError

GOOD = dict(
    default_scope='mmpretrain',
    train_dataloader=dict(batch_size=2, num_workers=0, persistent_workers=False),
    test_dataloader=dict(batch_size=2, num_workers=1, persistent_workers=True),
    model=dict(head=dict(num_classes=5)),
    test_evaluator=dict(type='Accuracy', topk=(1, 5)),
    optim_wrapper=dict(
        type='OptimWrapper',
        optimizer=dict(type='SGD', lr=0.1, momentum=0.9),
        paramwise_cfg=dict(norm_decay_mult=0.0),
        clip_grad=dict(max_norm=5),
    ),
    param_scheduler=[
        dict(type='LinearLR', start_factor=0.1, end=3, convert_to_iter_based=True),
        dict(type='CosineAnnealingLR', begin=3, T_max=5),
    ],
    train_cfg=dict(by_epoch=True, max_epochs=12.0, val_interval=1),
    randomness=dict(seed=None),
    visualizer=dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')]),
    load_from='mnv2_mm://mnv2_in1k',
)


def config(*options: str) -> Config:
    cfg = Config(copy.deepcopy(GOOD))
    apply_options(cfg, options)
    return cfg


def test_good_values_pass_and_stay() -> None:
    cfg = config()
    check_values(cfg, splits=('train', 'val', 'test'))
    assert cfg.to_dict() == GOOD


@pytest.mark.parametrize(
    ('option', 'key', 'value'),
    [
        ('train_dataloader.batch_size=0', 'train_dataloader', 'batch_size=0'),
        ('train_dataloader.batch_size=big', 'train_dataloader', "batch_size='big'"),
        ('train_dataloader.num_workers=-2', 'train_dataloader', 'num_workers=-2'),
        ('test_dataloader.num_workers=0', 'test_dataloader', 'persistent_workers'),
        ('model.head.num_classes=3', 'test_evaluator.topk', '5'),
        ('test_evaluator.topk=6', 'num_classes', '6'),
        ('optim_wrapper.optimizer.lr=high', 'optim_wrapper', 'high'),
        ('optim_wrapper.optimizer.lr=-1', 'optim_wrapper', '-1'),
        ('optim_wrapper.optimizer.warmup=1', 'SGD', 'warmup'),
        ('optim_wrapper.warmup=1', 'OptimWrapper', 'warmup'),
        ('optim_wrapper.optimizer.type=SDG', 'SDG', 'optimizers'),
        ('param_scheduler.0.end=-1', 'param_scheduler.0', 'end=-1'),
        ('param_scheduler.1.warmup=1', 'CosineAnnealing', 'warmup'),
        ('train_cfg.max_epochs=0', 'train_cfg.max_epochs', '0'),
        ('train_cfg.max_epochs=ten', 'train_cfg.max_epochs', 'ten'),
        ('train_cfg.max_epochs=1.5', 'train_cfg.max_epochs', '1.5'),
        ('train_cfg.val_interval=0', 'train_cfg.val_interval', '0'),
        ('randomness.seed=text', 'randomness.seed', 'text'),
        ('load_from=none.pth', 'load_from', 'none.pth'),
        ('visualizer.vis_backends.0.type=AimVisBackend', 'AimVis', 'pip install aim'),
    ],
)
def test_a_wrong_value_is_named_with_its_key(option: str, key: str, value: str) -> None:
    with pytest.raises(InputError) as caught:
        check_values(config(option), splits=('train', 'test'))
    text = str(caught.value)
    assert key in text and value in text
    assert '\n' not in text


@pytest.mark.parametrize('topk', [None, 'a', (1, 'a'), 3])
def test_what_is_no_top_k_is_left_to_the_host(topk: object) -> None:
    cfg = config('test_evaluator=Accuracy')
    check_values(cfg, splits=('test',))
    cfg.test_evaluator = ['Accuracy', dict(type='Accuracy', topk=topk)]
    check_values(cfg, splits=('test',))


def test_an_evaluation_does_not_ask_for_an_optimizer() -> None:
    wrong = ['optim_wrapper.optimizer.lr=-1', 'train_dataloader.batch_size=0']
    cfg = config(*wrong, 'load_from=folder_of_an_exported_model')
    check_values(cfg, splits=('test',))


def test_an_optimizer_with_a_constructor_is_left_to_it() -> None:
    cfg = config('optim_wrapper.constructor=NeedsTheNetwork')
    check_values(cfg, splits=('train',))
