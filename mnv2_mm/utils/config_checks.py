"""Check the values of a config before the model is built.

torch and mmengine refuse most wrong values themselves, but late, and without the key.
So the data loader, the optimizer and the schedulers are built here once, around one
sample and one parameter. What nobody refuses is compared with ``_LEAST``.
"""

import copy
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any, NoReturn

from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, VISBACKENDS, DefaultScope
from mmengine.visualization.vis_backend import BaseVisBackend
from torch import nn
from torch.utils.data import DataLoader

from mnv2_mm.utils.config import config_name
from mnv2_mm.utils.config_errors import readable_config_errors
from mnv2_mm.utils.errors import InputError

#: Whole numbers, and the least of each.
_LEAST = {
    'train_cfg.max_epochs': 1,
    'train_cfg.max_iters': 1,
    'train_cfg.val_interval': 1,
    'randomness.seed': 0,
}
#: Arguments that DataLoader checks without looking at the data.
_OF_LOADER = ('batch_size', 'num_workers', 'persistent_workers', 'prefetch_factor')


def check_values(cfg: Config, *, splits: Sequence[str]) -> None:
    """Raise an InputError for a value at which a run with these splits would fail."""
    for key, least in _LEAST.items():
        value: Any = cfg
        for part in key.split('.'):
            value = value.get(part) if isinstance(value, Mapping | Config) else None
        whole = isinstance(value, int | float) and float(value).is_integer()
        if whole and key.endswith('seed') and value >= 1 << 32:  # of numpy
            _refuse(cfg, f'{key} is {value!r}; give at most {(1 << 32) - 1}')
        if value is not None and not (whole and value >= least):
            _refuse(cfg, f'{key} is {value!r}; give a whole number of {least} or more')
    scope = DefaultScope.overwrite_default_scope(cfg.default_scope)
    with readable_config_errors(cfg), scope:
        for key in (f'{split}_dataloader' for split in splits):
            given = cfg.get(key) or {}
            arguments = {k: given[k] for k in _OF_LOADER if k in given}
            _try(cfg, key, arguments, partial(DataLoader, [0], **arguments))
        for key in (f'{split}_evaluator' for split in splits if split != 'train'):
            _check_topk(cfg, key)
        if 'train' in splits:
            _check_optimizer(cfg)
        _check_vis_backends(cfg)
    path = str(cfg.get('load_from') or '://') if 'train' in splits else '://'
    if '://' not in path and not os.path.isfile(os.path.expanduser(path)):
        _refuse(cfg, f'there is no file {path}, which load_from names; correct it')


def _refuse(cfg: Config, text: str) -> NoReturn:
    raise InputError(f'config {config_name(cfg)}: {text}')


def _try(cfg: Config, key: str, given: Mapping, build: Callable[[], Any]) -> Any:
    """Build something; what torch or mmengine says of a wrong value, with its key."""
    try:
        return build()
    except (ValueError, AssertionError, TypeError, ZeroDivisionError) as error:
        if isinstance(error, InputError) or re.search('argument|None is', str(error)):
            raise  # unknown names are explained elsewhere
        shown = ', '.join(f'{k}={v!r}' for k, v in given.items())
        _refuse(cfg, f'{key} has a wrong value ({shown}): {error}')


def _check_topk(cfg: Config, key: str) -> None:
    """Refuse a top-5 of three classes, at which mmpretrain fails after an epoch."""
    model = cfg.get('model')
    head = model.get('head') if isinstance(model, Mapping) else None
    classes = head.get('num_classes') if isinstance(head, Mapping) else None
    given = cfg.get(key) or []
    entries = given if isinstance(given, list | tuple) else [given]
    for entry in (entry for entry in entries if isinstance(entry, Mapping)):
        topk = entry.get('topk')
        counts = topk if isinstance(topk, list | tuple) else [topk]
        most = max((k for k in counts if isinstance(k, int)), default=0)
        if isinstance(classes, int) and most > classes:
            text = f'{key}.topk has {most}, but model.head.num_classes is {classes}'
            _refuse(cfg, f'{text}; set topk to (1,)')


def _check_optimizer(cfg: Config) -> None:
    """Build the optimizer of one parameter, and the schedulers around it."""
    given = dict(cfg.get('optim_wrapper') or {})
    given.pop('paramwise_cfg', None)  # it is about names of layers
    if 'optimizer' not in given or 'constructor' in given:
        return  # several, or a constructor that needs the network
    build = partial(build_optim_wrapper, nn.Linear(1, 1), given)
    wrapper = _try(cfg, 'optim_wrapper', given, build)
    entries = cfg.get('param_scheduler') or []
    for i, entry in enumerate([entries] if isinstance(entries, Mapping) else entries):
        made = dict(copy.deepcopy(entry), optimizer=wrapper)
        made.pop('convert_to_iter_based', None)  # needs the length of the data
        build = partial(PARAM_SCHEDULERS.build, made)
        _try(cfg, f'param_scheduler.{i}', entry, build)


def _check_vis_backends(cfg: Config) -> None:
    """Find the packages; mmengine names its backends after them, and imports late."""
    for entry in (cfg.get('visualizer') or {}).get('vis_backends') or ():
        kind = VISBACKENDS.get(entry['type']) if isinstance(entry, Mapping) else None
        if getattr(kind, '__module__', '') != BaseVisBackend.__module__:
            continue
        package = kind.__name__.removesuffix('VisBackend').lower()
        if package != 'local' and find_spec(package) is None:
            text = f'vis_backends has {entry["type"]}: pip install {package}, or remove'
            _refuse(cfg, f'{text} it from the list')
