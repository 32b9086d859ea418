"""Batch norm that only adds a bias, made trainable again."""

from unittest import mock

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import MODELS, init_default_scope
from torch import distributed, nn
from torch.multiprocessing import start_processes
from torch.utils.data import BatchSampler, DataLoader

pytest.importorskip('mmpretrain.models')

from mmpretrain.structures import DataSample

from mnv2_mm.checkpoints.guard import CheckpointGuardHook
from mnv2_mm.engine.unfuse_conv_bn import (
    UnfuseConvBNHook,
    fused_norms,
    unfuse_batch_norm,
)
from mnv2_mm.utils.config import get_config


@pytest.fixture
def model():
    """A classifier as a converted TFLite file makes it."""
    cfg = get_config('mnv2_in1k')
    init_default_scope('mmpretrain')
    cfg.model.backbone.widen_factor = 0.35
    torch.manual_seed(0)
    network = MODELS.build(cfg.model)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias, 0.5, 0.5)
            nn.init.constant_(module.running_var, 1 - module.eps)
    return network.eval()


def batch(seed):
    torch.manual_seed(seed)
    return {'inputs': [torch.randint(256, (3, 64, 64)) for _ in range(8)]}


def test_the_output_stays_and_training_agrees_with_it(model):
    inputs = model.data_preprocessor(batch(1))['inputs']
    assert len(fused_norms(model)) == 52
    before = model(inputs, mode='tensor').detach()
    model.train()
    assert unfuse_batch_norm(model, [batch(seed) for seed in range(4)]) == 52
    assert model.training
    assert not fused_norms(model)
    model.eval()
    after = model(inputs, mode='tensor').detach()
    scale = before.std()
    assert (after - before).abs().max() < 1e-3 * scale

    # the statistics of a batch are near those that were taken
    model.backbone.train()
    trained = model(inputs, mode='tensor').detach()
    assert (trained - before).std() < 0.3 * scale


def test_fused_batch_norm_is_wrong_in_training(model):
    """What the unfolding is for."""
    inputs = model.data_preprocessor(batch(1))['inputs']
    before = model(inputs, mode='tensor').detach()
    model.backbone.train()
    trained = model(inputs, mode='tensor').detach()
    assert (trained - before).std() > 0.7 * before.std()


def test_trained_batch_norm_is_left_alone(model):
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.running_mean, 0.1)
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    assert unfuse_batch_norm(model, [batch(0)]) == 0
    for key, value in model.state_dict().items():
        assert torch.equal(value, weights[key])


class Runner:
    """What the hooks ask a runner for."""

    def __init__(self, model, *hooks, iter=0, own_sampler=False):
        images = [batch(0)['inputs'][i] for i in range(4)]
        samples = [DataSample().set_gt_label(0) for _ in range(len(images))]
        self.model, self.hooks, self.iter = model, hooks, iter
        self.logger = mock.Mock()
        self.train_loop = mock.Mock(
            dataloader=DataLoader(
                [
                    dict(inputs=image, data_samples=sample)
                    for image, sample in zip(images, samples, strict=True)
                ],
                collate_fn=pseudo_collate,
                **(
                    dict(batch_sampler=BatchSampler(range(4), 2, False))
                    if own_sampler
                    else dict(batch_size=2)
                ),
            )
        )


@pytest.mark.parametrize('own_sampler', [False, True])
def test_the_hook_unfuses_once(model, own_sampler):
    """At the start, and not where a training goes on."""
    hook = UnfuseConvBNHook(num_batches=2)
    hook.before_train(Runner(model, iter=7))
    assert len(fused_norms(model)) == 52
    runner = Runner(model, own_sampler=own_sampler)
    hook.before_train(runner)
    assert not fused_norms(model)
    assert '52 fused batch norms' in runner.logger.info.call_args.args[0]


def test_forgetting_the_hook_is_warned_of(model):
    guard = CheckpointGuardHook()
    runner = Runner(model)
    guard.before_train(runner)
    (warning,) = runner.logger.warning.call_args.args
    assert '52 batch norms' in warning
    assert 'UnfuseConvBNHook' in warning
    for quiet in (Runner(model, UnfuseConvBNHook()), Runner(fixed(model))):
        guard.before_train(quiet)
        quiet.logger.warning.assert_not_called()


def fixed(model):
    """With statistics that training leaves alone."""
    model.backbone.norm_eval = True
    return model


class Toy(nn.Module):
    """A network with a data preprocessor, as of the hosts."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        nn.init.constant_(self.norm.running_var, 1 - self.norm.eps)

    def data_preprocessor(self, data, training):
        return data

    def forward(self, inputs, samples, mode):
        return self.norm(inputs)


def _measure(rank, folder):
    torch.set_num_threads(1)  # a forked process cannot wake the threads of its parent
    init = f'file://{folder}/init'
    distributed.init_process_group('gloo', init, rank=rank, world_size=2)
    model = Toy()
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(rank))
    unfuse_batch_norm(model, [{'inputs': images}])
    torch.save(model.state_dict(), f'{folder}/{rank}.pth')
    distributed.destroy_process_group()


def test_all_processes_begin_with_the_same_values(tmp_path):
    """Else their weights differ for the whole training: gradients alone are shared."""
    start_processes(_measure, (str(tmp_path),), nprocs=2, start_method='fork')
    first, second = (torch.load(tmp_path / f'{rank}.pth') for rank in (0, 1))
    assert first['norm.running_mean'].abs().min() > 0.1
    torch.testing.assert_close(first, second, atol=0, rtol=0)
