"""The two families of OpenMMLab packages, and how torch reads their checkpoints.

Upstream's last releases and the maintained ``onedl-*`` continuation share their import
names.
"""

import importlib
import importlib.util
import re
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pickle import UnpicklingError
from types import ModuleType

from mnv2_mm.utils.errors import InputError

#: Import name of each OpenMMLab package, and its name on the package index by family.
PACKAGES = {
    'mmengine': {'onedl': 'onedl-mmengine', 'upstream': 'mmengine'},
    'mmcv': {'onedl': 'onedl-mmcv', 'upstream': 'mmcv'},
    'mmdet': {'onedl': 'onedl-mmdetection', 'upstream': 'mmdet'},
    'mmseg': {'onedl': 'onedl-mmsegmentation', 'upstream': 'mmsegmentation'},
    'mmpretrain': {'onedl': 'onedl-mmpretrain', 'upstream': 'mmpretrain'},
}


def installed(module: str) -> bool:
    """Whether ``module`` could be imported (it is not imported here)."""
    return importlib.util.find_spec(module) is not None


def required(module: str, what: str, *, package: str = '') -> ModuleType:
    """Import an optional module, or raise how to install it for ``what``."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = package or module.partition('.')[0]
        raise InputError(
            f'{what} needs {package}, which is not installed: pip install {package}'
        ) from error


def version_of(distribution: str) -> str | None:
    """Version of an installed distribution; None without it."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def families(module: str) -> dict[str, str]:
    """Version by family of what is installed under ``module``'s name."""
    found = {
        family: version_of(distribution)
        for family, distribution in PACKAGES[module].items()
    }
    if module == 'mmcv':  # the same without ops
        found['upstream'] = found['upstream'] or version_of('mmcv-lite')
    return {family: found[family] for family in found if found[family]}


def stack() -> str:
    """The installed family: 'onedl', 'upstream', 'mixed' or 'none'."""
    found = {family for module in PACKAGES for family in families(module)}
    if not found:
        return 'none'
    return found.pop() if len(found) == 1 else 'mixed'


def allow_checkpoints() -> None:
    """Let torch.load(weights_only=True) read the checkpoints of mmengine.

    A checkpoint holds tensors, numbers of numpy types (mmseg's best mIoU is a float32),
    and the message hub: histories of scalars in numpy arrays. onedl-mmengine allows a
    part of them, and only while it loads; upstream mmengine allows nothing, and torch
    >= 2.6 then refuses its files. torch still refuses a file that wants to run code.

    :mod:`mnv2_mm.registry` calls this, so that the hosts' own tools can read the
    checkpoints of any config that names a type of this package. In an environment of
    tools/setup_env.sh, mmengine's loader does so too
    (:mod:`mnv2_mm.utils.config_names`).
    """
    import torch

    if not hasattr(torch.serialization, 'add_safe_globals'):
        return  # torch < 2.4 reads everything
    import numpy as np
    from mmengine.logging.history_buffer import HistoryBuffer

    try:
        from numpy._core import multiarray
    except ImportError:  # numpy < 2
        from numpy.core import multiarray

    def method_of_history(owner: type, name: str) -> Callable:
        """``getattr`` for what a HistoryBuffer pickles: its statistics."""
        if owner is not HistoryBuffer or name.startswith('_'):
            raise UnpicklingError(
                f'Unsupported global: GLOBAL getattr of {owner!r}, {name!r}'
            )
        return getattr(owner, name)

    numbers = np.typecodes['AllFloat'] + np.typecodes['AllInteger']
    allowed: list = [HistoryBuffer, np.ndarray, np.dtype]
    allowed += {type(np.dtype(code)) for code in numbers}
    # by the names that numpy 1 and numpy 2 write
    allowed += [
        (function, f'{package}.multiarray.{function.__name__}')
        for function in (multiarray._reconstruct, multiarray.scalar)
        for package in ('numpy.core', 'numpy._core')
    ]
    allowed += [
        (method_of_history, f'{module}.getattr')
        for module in ('builtins', '__builtin__')
    ]
    torch.serialization.add_safe_globals(allowed)


def why_unreadable(error: UnpicklingError) -> str:
    """One sentence for torch's page-long refusal to read a checkpoint."""
    found = re.search(r'nsupported (?:\w+: )?GLOBAL (\S+)', str(error))
    if found is None:
        return str(error).strip().partition('\n')[0]
    return (
        f'it holds more than tensors and would run {found[1]} when read, which is '
        'refused; where you trust it, make a safe copy: '
        'mnv2 convert FILE OUT.pth --trust'
    )
