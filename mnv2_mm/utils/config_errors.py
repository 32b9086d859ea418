"""Explain a mistake in a config in one sentence instead of a registry's stack."""

import contextlib
import difflib
import importlib
import re
import traceback
from collections.abc import Iterator

from mmengine.config import Config
from mmengine.registry import Registry

from mnv2_mm.utils.compat import installed
from mnv2_mm.utils.config import config_name
from mnv2_mm.utils.console import suppress_import_output
from mnv2_mm.utils.errors import InputError, message_of, name_path

HOSTS = ('mmdet', 'mmseg', 'mmpretrain')


def host_of(cfg: Config) -> str:
    """Name of the package whose runner conventions the config follows."""
    scope = cfg.get('default_scope')
    if scope not in HOSTS:
        raise InputError(
            f'config {config_name(cfg)} has default_scope={scope!r}; give one of '
            f'{", ".join(HOSTS)}'
        )
    try:
        with suppress_import_output(), readable_config_errors(cfg):
            importlib.import_module(f'{scope}.datasets')
    except ModuleNotFoundError as error:
        raise InputError(
            f'config {config_name(cfg)} needs {scope}, but {error.name} is not '
            'installed; `python -m mnv2_mm.check` says how to install it'
        ) from error
    return scope


@contextlib.contextmanager
def readable_config_errors(cfg: Config) -> Iterator[None]:
    """Turn a mistake in the config into one sentence.

    mmengine builds the model at once, and loops, optimizer and data loaders when the
    run starts; both belong inside.
    """
    try:
        with name_path(cfg.get('work_dir') or 'work_dirs'):
            yield
    except RuntimeError as error:
        if 'operator torchvision::' not in str(error):
            raise
        raise InputError(
            'torchvision does not fit the installed torch, and the OpenMMLab packages '
            'import it; run `python -m mnv2_mm.check --repair`'
        ) from error
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AssertionError) as error:
        frames = {f.name for f in traceback.extract_tb(error.__traceback__)}
        text = _explain(error) if 'build_from_cfg' in frames else None
        if 'compute_metrics' in frames and ' ' in message_of(error):
            text = f'an evaluator refuses its arguments: {message_of(error)}'
        if 'build_optim_wrapper' in frames and 'None is not' in str(error):
            # mmengine looks at an optimizer without asking if there is one
            kind = cfg.optim_wrapper.optimizer.type
            text = _unknown(kind, cfg.default_scope, 'optimizer')
        if text is None:
            raise
        raise InputError(f'config {config_name(cfg)}: {text}') from error


def _explain(error: Exception) -> str | None:
    """The user's mistake behind an exception of mmengine's registry."""
    if isinstance(error, KeyError):
        text = str(error.args[0]) if error.args else ''
        match = re.search(r'(\S+) is not in the (?:(\w+)::)?(.+?) registry', text)
        if match or ' ' not in text:
            return match and _unknown(match[1], match[2] or 'mmengine', match[3])
    if isinstance(error, KeyError | ValueError | AssertionError):
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        builds = [f.f_locals for f in frames if f.f_code.co_name == 'build_from_cfg']
        kind = builds[-1].get('obj_type')
        return f"type='{kind}' refuses its arguments: {message_of(error)}"
    for pattern, verb in {
        r"(\w+)\.__init__\(\) got an .*argument ('\w+')": 'takes no argument',
        r'(\w+)\.__init__\(\) missing .*: (.+)$': 'needs the argument',
    }.items():
        if match := re.search(pattern, message_of(error)):
            return f"type='{match[1]}' {verb} {match[2]}"
    return None


def _unknown(name: str, scope: str, registry: str) -> str:
    """Say that a type is unknown, and what it may have been meant to be."""
    text = f"type='{name}' is not known among the {registry}s of {scope}. "
    package, _, bare = name.rpartition('.')
    for needed in filter(None, (package, scope)):
        if needed in HOSTS and not installed(needed):
            return f'{text}{needed} is not installed; run `python -m mnv2_mm.check`'
    known = _known(registry, scope)
    own = [key for key in known if key.startswith(f'{package}.')]
    near = [
        *difflib.get_close_matches(name, own if package else [], cutoff=0.8),
        *(key for key in known if key.rpartition('.')[2] == bare),
        *difflib.get_close_matches(bare, known, cutoff=0.6),
    ]
    if near:
        first = list(dict.fromkeys(near))[:3]
        return text + 'Did you mean ' + ' or '.join(map(repr, first)) + '?'
    return f'{text}Check the spelling; import a type of your own by custom_imports.'


def _known(registry: str, scope: str) -> list[str]:
    """Names in a registry of this project, of mmengine and the hosts."""
    names: list[str] = []
    for package in filter(installed, ('mnv2_mm', 'mmengine', *HOSTS)):
        prefix = '' if package in (scope, 'mmengine') else f'{package}.'
        for table in vars(importlib.import_module(f'{package}.registry')).values():
            if (
                isinstance(table, Registry)
                and table.name == registry
                and table.scope == package
            ):
                table.import_from_location()
                names += [prefix + key for key in table.module_dict]
    return names
