"""Explain a mistake in a config in one sentence instead of a registry's stack."""

import contextlib
import difflib
import importlib
import inspect
import re
import traceback
from collections.abc import Iterator

from mmengine.config import Config
from mmengine.registry import Registry

from mnv2_mm.utils.compat import installed
from mnv2_mm.utils.config import config_name
from mnv2_mm.utils.console import suppress_import_output
from mnv2_mm.utils.errors import InputError, message_of

HOSTS = ('mmdet', 'mmseg', 'mmpretrain')


def host_of(cfg: Config) -> str:
    """Name of the package whose runner conventions the config follows.

    Raises:
        InputError: the config's default_scope is none of the three.
    """
    scope = cfg.get('default_scope')
    if scope not in HOSTS:
        raise InputError(
            f'config {config_name(cfg)} has default_scope={scope!r}; give '
            f'one of {", ".join(HOSTS)}'
        )
    try:
        with suppress_import_output():
            importlib.import_module(f'{scope}.datasets')
    except ModuleNotFoundError as error:
        raise InputError(
            f'config {config_name(cfg)} needs {scope}, but {error.name} is '
            'not installed; run `python -m mnv2_mm.check` to see what is '
            'missing and how to install it'
        ) from error
    except RuntimeError as error:
        _raise_torchvision(error)
        raise
    return scope


def _raise_torchvision(error: RuntimeError) -> None:
    """Raise the remedy where an import failed in torchvision."""
    if 'operator torchvision::' in str(error):
        raise InputError(
            'torchvision does not fit the installed torch, and the OpenMMLab '
            'packages import it; run `python -m mnv2_mm.check --repair`'
        ) from error


@contextlib.contextmanager
def readable_config_errors(cfg: Config) -> Iterator[None]:
    """Turn a mistake in the config into one sentence.

    mmengine builds the model at once, and loops, optimizer and data loaders
    when the run starts; both belong inside.

    Raises:
        InputError: a type that no registry knows, or an argument that a
            type does not take.
    """
    try:
        yield
    except RuntimeError as error:
        _raise_torchvision(error)
        raise
    except (KeyError, TypeError) as error:
        frames = {f.name for f in traceback.extract_tb(error.__traceback__)}
        text = _explain(error) if 'build_from_cfg' in frames else None
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
        found = _unknown_type(error)
        if found is None:
            return None
        return _unknown(*found)
    text = message_of(error)
    match = re.search(r"(\w+)\.__init__\(\) got an .*argument '(\w+)'", text)
    if match:
        return f"type='{match[1]}' takes no argument '{match[2]}'"
    match = re.search(r'(\w+)\.__init__\(\) missing .*: (.+)$', text)
    if match:
        return f"type='{match[1]}' needs the argument {match[2]}"
    return None


def _unknown(name: str, scope: str, registry: str) -> str:
    """Say that a type is unknown, and what it may have been meant to be."""
    text = f"type='{name}' is not known among the {registry}s of {scope}. "
    package, _, bare = name.rpartition('.')
    for needed in filter(None, (package, scope)):
        if needed in HOSTS and not installed(needed):
            return text + (
                f'{needed} is not installed; `python -m mnv2_mm.check` says '
                'how to install it.'
            )
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
    return text + (
        'Check the spelling; a type of your own must be imported by '
        'custom_imports in the config.'
    )


def _known(registry: str, scope: str) -> list[str]:
    """Names in a registry of this project, of mmengine and the hosts."""
    names: list[str] = []
    for package in ('mnv2_mm', 'mmengine', *HOSTS):
        if package not in ('mnv2_mm', 'mmengine') and not installed(package):
            continue
        module = importlib.import_module(f'{package}.registry')
        for _, table in inspect.getmembers(
            module, lambda member: isinstance(member, Registry)
        ):
            if table.name == registry and table.scope == package:
                table.import_from_location()
                bare = package in (scope, 'mmengine')
                prefix = '' if bare else f'{package}.'
                names += [prefix + key for key in table.module_dict]
    return names


def _unknown_type(error: KeyError) -> tuple[str, str, str] | None:
    """(type, scope, registry) out of a registry's KeyError, else None."""
    text = str(error.args[0]) if error.args else ''
    match = re.search(r'(\S+) is not in the (?:(\w+)::)?(.+?) registry', text)
    return (match[1], match[2] or 'mmengine', match[3]) if match else None
