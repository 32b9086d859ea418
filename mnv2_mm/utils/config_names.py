"""Let mmengine and the hosts find a config of this package by ``mnv2_mm::NAME``.

mmengine knows such names for the packages in a table of its own, which has no entry
point for others. It would also give the types of the config the scope ``mnv2_mm``,
where those of the host are unknown, and it takes no name without a folder. Here a name
is another way to write the path of the file: with or without ``.py``, in any form that
``mnv2_mm.utils.config.config_path`` takes.

The tools and functions of this package read every config inside :func:`bases_by_name`.
For other programs :func:`add_names` writes a .pth file into the environment, which
calls :func:`install` at every start of Python; ``import mnv2_mm`` changes nothing. Only
the standard library is imported at the top, as each of these programs imports it.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

PREFIX = 'mnv2_mm::'
#: Name of the file in site-packages, and its line: silent after `pip uninstall mnv2_mm`.
PTH = '_mnv2_mm_names.pth'
_LINE = (
    "import importlib.util as u; u.find_spec('mnv2_mm') and "
    "__import__('mnv2_mm.utils.config_names', fromlist=['install']).install()\n"
)


def plain_name(name: str) -> str:
    """A name of this package without prefix and ``.py``; another string as it is."""
    if not name.startswith(PREFIX):
        return name
    return name.removeprefix(PREFIX).removesuffix('.py')


def _path(name: object) -> Any:
    """The path of the config where ``name`` is one of this package, else ``name``."""
    if not isinstance(name, str) or not name.startswith(PREFIX):
        return name
    from mnv2_mm.utils.config import config_path

    return str(config_path(name))


@contextlib.contextmanager
def bases_by_name() -> Iterator[None]:
    """Inside, a config that is read may have ``_base_ = 'mnv2_mm::NAME'``."""
    from mmengine.config import Config

    before = Config._get_cfg_path
    _accept_in_bases(sys.modules['mmengine.config.config'])
    try:
        yield
    finally:
        Config._get_cfg_path = staticmethod(before)


def _accept_in_bases(module: ModuleType) -> None:
    own = module.Config._get_cfg_path

    def get_cfg_path(cfg_path: str, filename: str) -> tuple[str, str | None]:
        path = _path(cfg_path)
        return own(cfg_path, filename) if path == cfg_path else (path, None)

    module.Config._get_cfg_path = staticmethod(get_cfg_path)


def _accept_as_file(module: ModuleType) -> None:
    """``Config.fromfile``, with which also the tools of the hosts read their config."""
    own = module.Config.fromfile

    def fromfile(filename: str | Path, *args: Any, **kwargs: Any) -> Any:
        return own(_path(filename), *args, **kwargs)

    module.Config.fromfile = staticmethod(fromfile)
    _accept_in_bases(module)


def _accept_in_hub(module: ModuleType) -> None:
    """``mmengine.hub``: the names that its own rule allows, FOLDER/FILE.py."""
    module.MODULE2PACKAGE.setdefault('mnv2_mm', 'mnv2_mm')


def _accept_in_inferencers(module: ModuleType) -> None:
    """mmdet's and mmseg's; that of mmpretrain asks ``Config.fromfile``."""
    own = module.BaseInferencer._load_model_from_metafile

    def load(self: Any, model: str) -> tuple[Any, str | None]:
        path = _path(model)
        if path == model:
            return own(self, model)
        return module.Config.fromfile(path), None

    module.BaseInferencer._load_model_from_metafile = load


#: What changes in a module of mmengine after its import.
_CHANGES: dict[str, Callable[[ModuleType], None]] = {
    'mmengine.config.config': _accept_as_file,
    'mmengine.config.utils': _accept_in_hub,
    'mmengine.infer.infer': _accept_in_inferencers,
}


class _AfterImport:
    """A meta-path entry that changes the modules of ``_CHANGES`` after their import."""

    @staticmethod
    def find_spec(
        name: str, path: Any = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find what Python would find, with another end of the import."""
        spec = PathFinder.find_spec(name, path) if name in _CHANGES else None
        if spec is None or spec.loader is None:
            return None
        run = spec.loader.exec_module

        def run_and_change(module: ModuleType) -> None:
            run(module)
            _CHANGES[name](module)

        spec.loader.exec_module = run_and_change  # type: ignore[method-assign]
        return spec


def install() -> None:
    """Accept the names in this process, whose imports of mmengine are still to come."""
    if not any(isinstance(entry, _AfterImport) for entry in sys.meta_path):
        sys.meta_path.insert(0, _AfterImport())


def add_names(site: Path | None = None) -> str | None:
    """Accept the names in every program of this environment.

    Returns:
        What was written to ``site`` (site-packages), in a sentence; None where it was
        there.
    """
    import sysconfig

    from mnv2_mm.utils.files import write_text

    file = (site or Path(sysconfig.get_path('purelib'))) / PTH
    if file.is_file() and file.read_text(encoding='utf-8') == _LINE:
        return None
    write_text(file, _LINE)
    return f'{file.name} lets mmengine and the hosts find configs by {PREFIX}NAME'
