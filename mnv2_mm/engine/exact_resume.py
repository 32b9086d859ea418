"""Make a resumed training equal the uninterrupted one, bit for bit.

What mmengine's checkpoints lack for that:

- the random numbers: each sample (:mod:`mnv2_mm.engine.seeded_loading`) and each step
  seed the generators by the seed of the run and their place in it;
- the seed of the sampler, where the config names none;
- gradients, where the checkpoint lies between two steps of an accumulation;
- the config in a form that can be compared: resumed with another learning rate,
  mmengine silently goes on with the old one.

Exact on one thread, or on a GPU with ``randomness=dict(deterministic=True)``.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch import Tensor

from mnv2_mm.engine.seeded_loading import seed_generators, seed_loader
from mnv2_mm.registry import HOOKS
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.modules import unwrap

#: Of a checkpoint's ``meta``: plain values, since a checkpoint is not trusted.
RECORD = 'mnv2_mm_training'
#: Parts of a config that the result of a training depends on ...
_RESULT = re.compile(
    'model|data_preprocessor|train_dataloader|train_cfg|optim_wrapper|param_scheduler'
    '|auto_scale_lr|custom_hooks|randomness|sync_bn|efficient_conv_bn_eval'
)
#: ... without these ...
_FREE = re.compile(
    r'.*\.(num_workers|persistent_workers|pin_memory|prefetch_factor|init_cfg|test_cfg'
    r'|val_\w+|dynamic_intervals|fast_forward_on_resume)(\.|$)'
)
#: ... and those where a warning is enough.
_MAY_CHANGE = re.compile(r'train_cfg\.max_\w+$|.*\.data_root$')
_SHOWN = 8


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Seed every sample and step, and refuse to resume another training.

    Args:
        strict: Whether to refuse; False only warns. Learning rate and schedule are
            those of the checkpoint in any case.
    """

    priority = 'VERY_HIGH'

    def __init__(self, *, strict: bool = True) -> None:
        self.strict = strict
        self._resumed: dict[str, Any] = {}

    def before_train(self, runner: Runner) -> None:
        """Seed the loader, and take the state that a checkpoint held."""
        loop, resumed = runner.train_loop, self._resumed
        if not isinstance(loop, EpochBasedTrainLoop | IterBasedTrainLoop):
            return  # it may read its data in any way
        sampler = loop.dataloader.batch_sampler.sampler
        if hasattr(sampler, 'seed') and isinstance(resumed.get('sampler_seed'), int):
            sampler.seed = resumed['sampler_seed']
        gradients = resumed.get('gradients')
        if isinstance(gradients, Mapping):
            for name, parameter in unwrap(runner.model).named_parameters():
                gradient = gradients.get(name)
                if isinstance(gradient, Tensor) and gradient.shape == parameter.shape:
                    parameter.grad = gradient.to(parameter)
        self._resumed = {}
        seed_loader(loop, runner.seed)

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Seed what the network draws in this step."""
        rank = get_rank()
        seed_generators(0, runner.seed, runner.iter, *[rank] * bool(rank))
        if torch.cuda.is_available():
            torch.cuda.manual_seed_all(torch.initial_seed())

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the record; the best checkpoint, which is not resumed, has none."""
        if 'optimizer' not in checkpoint:
            return
        sampler = runner.train_loop.dataloader.batch_sampler.sampler
        gradients = {
            name: parameter.grad.cpu()
            for name, parameter in unwrap(runner.model).named_parameters()
            if parameter.grad is not None
        }
        checkpoint['meta'][RECORD] = dict(
            config=config_record(runner),
            sampler_seed=getattr(sampler, 'seed', None),
            gradients=gradients,
        )

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare the config with that of the checkpoint."""
        if not runner._resume:
            return
        source, record = runner._load_from, checkpoint['meta'].get(RECORD)
        if not isinstance(record, Mapping) or not isinstance(
            record.get('config'), Mapping
        ):
            runner.logger.warning(
                f'{source} has no record of its training: the config cannot be '
                'compared, and the result can differ from that of an uninterrupted run'
            )
            return
        self._resumed = dict(record)
        changes = compare(record['config'], config_record(runner))
        refused = {k: v for k, v in changes.items() if not _MAY_CHANGE.match(k)}
        if refused and self.strict:
            raise InputError(
                f'{source} was trained with another config: {_list(refused)}. Set '
                'these back, start a new training in another work dir, or go on with '
                '--cfg-options default_hooks.exact_resume.strict=False (learning rate '
                'and schedule are then those of the checkpoint)'
            )
        if changes:
            runner.logger.warning(f'resumed with another config: {_list(changes)}')


def config_record(runner: Runner) -> dict[str, str]:
    """What the result of a training depends on: values of the config by dotted key."""
    record = {k: v for k, v in _flat(runner.cfg.to_dict(), '') if _matters(k)}
    return record | {'number of processes': str(runner.world_size)}


def compare(old: Mapping, new: Mapping) -> dict[str, str]:
    """``old -> new`` by each key whose value differs."""
    old = {str(key): str(value) for key, value in old.items()}
    none = 'not set'
    return {
        key: f'{old.get(key, none)[:60]} -> {new.get(key, none)[:60]}'
        for key in [*new, *(key for key in old if key not in new)]
        if old.get(key) != new.get(key)
    }


def _matters(key: str) -> bool:
    return bool(_RESULT.fullmatch(key.partition('.')[0]) and not _FREE.match(key))


def _list(changes: Mapping[str, str]) -> str:
    text = '; '.join(f'{k}: {v}' for k, v in [*changes.items()][:_SHOWN])
    return text + f' and {len(changes) - _SHOWN} more' * (len(changes) > _SHOWN)


def _flat(node: Any, path: str) -> list[tuple[str, str]]:
    """Leaves of nested dictionaries and lists, with their dotted keys."""
    if not isinstance(node, Mapping | list | tuple) or not node:
        # an address in memory is another one in each process
        plain = isinstance(node, str | int | float | None | Mapping | list | tuple)
        kind = getattr(node, '__qualname__', type(node).__qualname__)
        return [(path, repr(node) if plain else kind)]
    items = node.items() if isinstance(node, Mapping) else enumerate(node)
    return [x for k, v in items for x in _flat(v, f'{path}.{k}' if path else str(k))]
