"""Find and read config files, and apply overrides to them.

A config is named by its path or, for those of this project, by its file stem
(``ssdlite_mnv2_coco``), with its folder where two share one
(``table6/ssdlite_mobilenet_v2``). mmengine takes any override of a key: a
misspelt one is added and changes nothing. Here that is said.
"""

import argparse
import difflib
import inspect
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.registry import DATASETS
from mmengine.runner import Runner

from mnv2_mm.utils.errors import InputError

#: Top-level keys that are read by mmengine or by the tools.
_KNOWN_KEYS = {
    *inspect.signature(Runner.__init__).parameters,
    'activation_checkpointing',
    'compile',
    'custom_imports',
    'efficient_conv_bn_eval',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'runner_type',
    'sync_bn',
    'tta_model',
    'tta_pipeline',
} - {'self', 'cfg'}


def config_root() -> Path:
    """Folder of the configs: of the checkout, else of the installation."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent / 'configs'
    if (checkout / '_base_').is_dir():
        return checkout
    return package / '.mim' / 'configs'


def list_models(pattern: str = '') -> list[str]:
    """Names of the models, sorted; those that contain ``pattern``.

    The configs of configs/deploy are no models; they are found by name too.
    """
    return sorted(
        name
        for name, path in _index().items()
        if pattern in name and path.parent.name != 'deploy'
    )


def _index() -> dict[str, Path]:
    """Path of each config by name; the folder is part of it if need be.

    Of several with the same stem the one in the root keeps the short name.
    """
    root = config_root()
    paths = [
        path
        for path in sorted(root.rglob('*.py'))
        if '_base_' not in path.relative_to(root).parts
    ]
    stems = Counter(path.stem for path in paths)
    return {
        path.stem
        if stems[path.stem] == 1 or path.parent == root
        else f'{path.parent.name}/{path.stem}': path
        for path in paths
    }


def config_path(name_or_path: str | os.PathLike) -> Path:
    """Path of a config given by path or by name.

    Raises:
        InputError: there is none; near matches are named.
    """
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return path
    index = _index()
    if str(name_or_path) in index:
        return index[str(name_or_path)]
    inside = config_root() / f'{name_or_path}.py'
    if inside.is_file():
        return inside
    near = difflib.get_close_matches(path.stem, index, n=3, cutoff=0.5)
    looks_like_path = path.suffix or len(path.parts) > 1
    what = 'config file' if looks_like_path else 'config'
    text = f'there is no {what} {name_or_path}'
    if near:
        shown = [str(_short(index[n])) if looks_like_path else n for n in near]
        text += '; did you mean ' + ' or '.join(shown) + '?'
    else:
        folder = config_root()
        names = sorted(n for n, p in index.items() if p.parent == folder)
        text += (
            f'; the names are: {", ".join(names)} and those of the files in '
            f'the folders of {_short(folder)}'
        )
    raise InputError(text)


def _short(path: Path) -> Path:
    """The path as seen from here, where that is below."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


def get_config(name_or_path: str | os.PathLike | Config) -> Config:
    """Read a config by path or name; a :class:`Config` is returned as it is.

    Raises:
        InputError: there is none, or it cannot be parsed.
    """
    if isinstance(name_or_path, Config):
        return name_or_path
    path = config_path(name_or_path)
    try:
        return Config.fromfile(path)
    except FileNotFoundError as error:
        raise InputError(
            f'config {path} inherits from a file that is not there: {error}'
        ) from error
    except Exception as error:
        # a config is a program: it can fail in any way
        raise InputError(
            f'config {path} cannot be read: {type(error).__name__}: {_text(error)}'
        ) from error


def _text(error: BaseException) -> str:
    """Message of an exception; str(KeyError) would quote it."""
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])
    return str(error)


def apply_options(cfg: Config, options: Sequence[str] | None) -> list[str]:
    """Merge ``--cfg-options`` into a config.

    An entry of a list is named by its type (``pipeline.Resize.scale``) or by
    its index.

    Args:
        cfg: Changed in place.
        options: ``key=value`` each, as mmengine's DictAction reads them.

    Returns:
        Warnings about keys that change nothing.

    Raises:
        InputError: an option is not ``key=value``, or it does not go with the
            config's structure.
    """
    if not options:
        return []
    for option in options:
        if '=' not in option:
            raise InputError(
                f'--cfg-options {option} is not of the form key=value, for example '
                'optim_wrapper.optimizer.lr=0.1'
            )
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    parsed = parser.parse_args(['--cfg-options', *options]).cfg_options
    merged = {_with_indices(cfg, key): value for key, value in parsed.items()}
    warnings = [w for key in merged if (w := _doubt(cfg, key))]
    try:
        cfg.merge_from_dict(merged)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f'--cfg-options {" ".join(options)} does not go with the config: '
            f'{_text(error)}'
        ) from error
    return warnings


def _with_indices(cfg: Config, key: str) -> str:
    """Replace types of list entries by indices: pipeline.Resize by pipeline.3."""
    node, path = cfg, []
    for part in key.split('.'):
        if isinstance(node, list | tuple):
            types = [str(e.get('type')) if isinstance(e, Mapping) else '' for e in node]
            names = [name.rpartition('.')[2] for name in types]
            if names.count(part) == 1:
                part = str(names.index(part))
            known = part.isdigit() and int(part) < len(node)
            node = node[int(part)] if known else None
        else:
            node = node.get(part) if isinstance(node, Mapping | Config) else None
        path.append(part)
    return '.'.join(path)


def _doubt(cfg: Config, key: str) -> str | None:
    """Why an override may change nothing; None if it is fine."""
    first, *rest = key.split('.')
    if first not in _KNOWN_KEYS:
        if first in cfg:
            return (
                f'--cfg-options {key}: "{first}" is a variable of the config '
                'file. It was used when the file was read, so changing it '
                'now changes nothing: override the places where it is used, '
                'or edit the file.'
            )
        return (
            f'--cfg-options {key}: the config has no "{first}", and nothing '
            'reads it.' + _suggest(first, [*_KNOWN_KEYS, *cfg.keys()])
        )
    node = cfg.get(first)
    path = first
    for part in rest:
        if isinstance(node, Sequence) and not isinstance(node, str):
            if not part.isdigit() or int(part) >= len(node):
                raise InputError(
                    f'--cfg-options {key}: {path} is a list of {len(node)}; '
                    f'give an index from 0 to {len(node) - 1} or the type of '
                    f'one entry in place of "{part}"'
                )
            node = node[int(part)]
        elif isinstance(node, Mapping):
            if part not in node:
                hint = _suggest(part, node.keys())
                # without a near match it is probably a new argument
                return (
                    f'--cfg-options {key}: {path} has no "{part}", it is added.{hint}'
                    if hint
                    else None
                )
            node = node[part]
        else:
            return None
        path += f'.{part}'
    return None


def _suggest(word: str, names: object) -> str:
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
            f'config {config_name(cfg)} has no test_dataloader, whose '
            'pipeline prepares images for the network'
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
