"""Read config files, and apply overrides to them."""

import argparse
import difflib
import inspect
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.registry import DATASETS
from mmengine.runner import Runner

from mnv2_mm.utils.config_names import bases_by_name, config_path
from mnv2_mm.utils.config_names import config_root as config_root
from mnv2_mm.utils.config_names import list_models as list_models
from mnv2_mm.utils.errors import InputError

#: Top-level keys that are read by mmengine or by the tools.
_KNOWN_KEYS = {
    *inspect.signature(Runner.__init__).parameters,
    'activation_checkpointing',
    'backend_config',
    'calib_config',
    'codebase_config',
    'compile',
    'custom_imports',
    'efficient_conv_bn_eval',
    'find_unused_parameters',
    'ir_config',
    'model_wrapper_cfg',
    'runner_type',
    'sync_bn',
    'tta_model',
    'tta_pipeline',
} - {'self', 'cfg'}


def get_config(name_or_path: str | os.PathLike | Config) -> Config:
    """Read a config by path or name; a :class:`Config` is taken as it is.

    A lazy one comes with names in place of its classes.
    """
    if isinstance(name_or_path, Config):
        return _with_names(name_or_path)
    path = config_path(name_or_path)
    try:
        with bases_by_name():
            return _with_names(Config.fromfile(path))
    except FileNotFoundError as error:
        raise InputError(
            f'config {path} inherits from a file that is not there: {error}'
        ) from error
    except Exception as error:  # a config is a program: it can fail in any way
        raise InputError(
            f'config {path} cannot be read: {type(error).__name__}: {_text(error)}'
        ) from error


def _with_names(cfg: Config) -> Config:
    """A lazy config (``with read_base():``) with names in place of its classes."""
    if not getattr(cfg, '_imported_names', None):  # mmengine has no public word for it
        return cfg
    return Config(cfg.to_dict(), cfg_text=cfg.text, filename=cfg.filename)


def is_of_mmengine(kind: object, name: str) -> bool:
    """Whether a ``type`` is mmengine's class of a name, or None, its default."""
    root, _, last = str(name if kind is None else kind).rpartition('.')
    return last == name and root.partition('.')[0] in ('', 'mmengine')


def _text(error: BaseException) -> str:
    """Message of an exception; str(KeyError) would quote it."""
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])
    return str(error)


def apply_options(
    cfg: Config, options: Sequence[str] | None, *, flag: str = '--cfg-options'
) -> list[str]:
    """Merge ``--cfg-options`` (``key=value`` each) into a config, in place.

    An entry of a list is named by its type (``pipeline.Resize.scale``) or by its index.
    mmengine adds a misspelt key without a word; here a warning for it is returned.
    Messages name ``flag``.
    """
    if not options:
        return []
    for option in options:
        if '=' not in option.lstrip('='):
            raise InputError(
                f'{flag} {option} is not of the form key=value (model.type=SSD)'
            )
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    try:
        parsed = parser.parse_args(['--cfg-options', *options]).cfg_options
        nested = any(map(_is_nested, parsed.values()))
    except RecursionError:  # of mmengine's parser
        nested = True
    except AssertionError as error:
        raise InputError(f'{flag} {" ".join(options)}: {error}') from error
    if nested:
        raise InputError(
            f'{flag} {" ".join(options)}: a list can hold no dictionaries here; '
            "write a config with _base_ = 'mnv2_mm::NAME' and the list in it"
        )
    followed = [_follow(cfg, key, flag) for key in parsed]
    keys = [key for key, _ in followed]
    try:
        cfg.merge_from_dict(dict(zip(keys, parsed.values(), strict=True)))
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f'{flag} {" ".join(options)} does not go with the config: {_text(error)}'
        ) from error
    return [warning for _, warning in followed if warning]


def _is_nested(value: object) -> bool:
    """Whether a list has texts of dictionaries, which mmengine leaves as they are."""
    if isinstance(value, list | tuple):
        return any(map(_is_nested, value)) or any(
            str(entry).startswith(('dict(', '{')) for entry in value
        )
    return False


def _follow(cfg: Config, key: str, flag: str) -> tuple[str, str]:
    """A key with indices in place of types in lists, and a warning or ''."""
    text, warning = f'{flag} {key}:', ''
    node, path = cfg, []
    for part in key.split('.'):
        where = '.'.join(path)
        if isinstance(node, list | tuple):
            types = [str(e.get('type')) if isinstance(e, Mapping) else '' for e in node]
            names = [name.rpartition('.')[2] for name in types]
            if names.count(part) == 1:
                part = str(names.index(part))
            if not part.isdigit() or int(part) >= len(node):
                raise InputError(
                    f'{text} {where} is a list of {len(node)}; in place of "{part}" '
                    f'give an index from 0 to {len(node) - 1} or the type of one entry'
                )
            node = node[int(part)]
        elif isinstance(node, Mapping | Config):
            # without a near match it is probably a new argument
            hint = _suggest(part, node.keys()) if path and part not in node else ''
            if hint:
                warning = f'{text} {where} has no "{part}", it is added.{hint}'
            node = node.get(part)
        else:
            node = None
        path.append(part)
    first = path[0]
    if first not in _KNOWN_KEYS and first in cfg:
        warning = (
            f'{text} "{first}" is a variable of the config file, and was used when the '
            'file was read: override the places where it is used, or edit the file.'
        )
    elif first not in _KNOWN_KEYS:
        hint = _suggest(first, [*_KNOWN_KEYS, *cfg.keys()])
        warning = f'{text} the config has no "{first}", and nothing reads it.{hint}'
    return '.'.join(path), warning


def _suggest(word: str, names: Iterable) -> str:
    near = difflib.get_close_matches(word, map(str, names), n=1, cutoff=0.75)
    return f' Did you mean "{near[0]}"?' if near else ''


def config_name(cfg: Config) -> str:
    """File stem of a config, or "config" for one without a file."""
    return Path(cfg.filename).stem if cfg.filename else 'config'


def evaluation_dataset(cfg: Config) -> Mapping:
    """The innermost data set of the test data loader."""
    loader = cfg.get('test_dataloader') or cfg.get('val_dataloader')
    if not loader:
        raise InputError(
            f'config {config_name(cfg)} has no test_dataloader, whose pipeline '
            'prepares images for the network'
        )
    dataset = loader['dataset']
    while 'dataset' in dataset:
        dataset = dataset['dataset']
    return dataset


def config_meta(cfg: Config) -> dict:
    """Class names and colors of the config's data set; reads no data."""
    dataset = evaluation_dataset(cfg)
    # a name without a scope is the host's
    with DATASETS.switch_scope_and_registry(cfg.default_scope) as registry:
        kind = registry.get(dataset['type'])
    meta = dict(getattr(kind, 'METAINFO', None) or {})
    meta.update(dataset.get('metainfo') or {})
    return {key.lower(): value for key, value in meta.items()}
