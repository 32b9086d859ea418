"""Find a config by its name; let mmengine and the hosts do so by ``mnv2_mm::NAME``.

A config is named by its path or, for those of this project, by its file stem
(``ssdlite_mnv2_coco``), with its folder where two share one
(``table6/ssdlite_mobilenet_v2``). ``mnv2_mm::`` may stand before a name.

mmengine knows such names for the packages in a table of its own, which has no entry
point for others. It would also give the types of the config the scope ``mnv2_mm``,
where those of the host are unknown, and it takes no name without a folder. Here a name
is another way to write the path of the file, with or without ``.py``.

The tools and functions of this package read every config inside :func:`bases_by_name`.
For other programs :func:`add_names` writes a .pth file into the environment, which
calls :func:`install` at every start of Python; ``import mnv2_mm`` changes nothing. The
imports at the top are light, as each of these programs does them.
"""

import contextlib
import difflib
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from mnv2_mm.utils.cli import repository_root
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.files import user_path

PREFIX = 'mnv2_mm::'
#: Deploy config in an exported model, for its reader and mmdeploy's own tools. Nothing
#: here reads it: it is Python, and the folder may come from a stranger.
DEPLOY_CONFIG = 'deploy_config.py'
_OF_EXPORTS = {DEPLOY_CONFIG, 'build_engine.py'}
#: Held while a config is read: the change is to mmengine's class, and Python before
#: 3.11.5 cannot parse in several threads.
READING_LOCK = threading.RLock()
#: Name of the file in site-packages, and its line: silent when mnv2_mm is uninstalled.
PTH = '_mnv2_mm_names.pth'
_LINE = (
    "import importlib.util as u; u.find_spec('mnv2_mm') and "
    "__import__('mnv2_mm.utils.config_names', fromlist=['install']).install()\n"
)


def config_root() -> Path:
    """Folder of the configs."""
    return repository_root() / 'configs'


def list_models(pattern: str = '') -> list[str]:
    """Names of the models that contain ``pattern``, sorted; configs/deploy has none."""
    return sorted(
        name
        for name, path in _index().items()
        if pattern in name and path.parent.name != 'deploy'
    )


def _index() -> dict[str, Path]:
    """Path of each config by name, with its folder where two share the stem."""
    root = config_root()
    paths = [path for path in sorted(root.rglob('*.py')) if '_base_' not in path.parts]
    stems = Counter(path.stem for path in paths)
    return {
        path.stem
        if stems[path.stem] == 1 or path.parent == root
        else f'{path.parent.name}/{path.stem}': path
        for path in paths
    }


def configs_in(folder: Path) -> list[Path]:
    """Configs in a folder; what an exported model has of Python is none."""
    return sorted(p for p in folder.glob('*.py') if p.name not in _OF_EXPORTS)


def config_path(name_or_path: str | os.PathLike) -> Path:
    """Path of a config given by path, by name, or by the folder that it is in."""
    path = user_path(name_or_path)
    if path.is_file():
        return path
    index, root = _index(), config_root()
    name = str(name_or_path)
    if name.startswith(PREFIX):
        name = name.removeprefix(PREFIX).removesuffix('.py')
    if name in index:
        return index[name]
    inside = root / f'{name}.py'
    if inside.is_file():
        return inside
    if path.is_dir():
        found = configs_in(path)
        if len(found) == 1:
            return found[0]
        if not found and (path / 'model.json').is_file():
            raise InputError(
                f'{path} is an exported model, which is no config and has its weights '
                'in it; give it alone to predict, or with the config of its export'
            )
        names = ', '.join(file.name for file in found[:5]) or 'none'
        raise InputError(
            f'the folder {path} must have one config, it has {names}; give the file'
        )
    path = Path(name)
    near = difflib.get_close_matches(path.stem, index, n=3, cutoff=0.5)
    looks_like_path = path.suffix or len(path.parts) > 1
    text = f'there is no config {"file " * bool(looks_like_path)}{name_or_path}; '
    if near:
        shown = [os.path.relpath(index[n]) if looks_like_path else n for n in near]
        raise InputError(f'{text}did you mean {" or ".join(shown)}?')
    names = ', '.join(sorted(n for n, p in index.items() if p.parent == root))
    raise InputError(f'{text}the names are: {names} and those in the folders of {root}')


def _path(name: object) -> Any:
    """The path of the config where ``name`` is one of this package, else ``name``."""
    if not isinstance(name, str) or not name.startswith(PREFIX):
        return name
    return str(config_path(name))


@contextlib.contextmanager
def bases_by_name() -> Iterator[None]:
    """Inside, a config that is read may have ``_base_ = 'mnv2_mm::NAME'``."""
    from mmengine.config import Config

    with READING_LOCK:
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


def _find_for_hub(module: ModuleType) -> None:
    """Upstream's hub does not find a package that is installed in place."""
    own, package = module.get_installed_path, Path(__file__).parents[1]
    module.get_installed_path = lambda name: (
        str(package) if name == package.name else own(name)
    )


def _accept_in_inferencers(module: ModuleType) -> None:
    """mmdet's and mmseg's; that of mmpretrain asks ``Config.fromfile``."""
    own = module.BaseInferencer._load_model_from_metafile

    def load(self: Any, model: str) -> tuple[Any, str | None]:
        path = _path(model)
        if path == model:
            return own(self, model)
        return module.Config.fromfile(path), None

    module.BaseInferencer._load_model_from_metafile = load


def _allow_checkpoints(module: ModuleType) -> None:
    """Upstream's inferencers read a checkpoint before they build the model."""
    from mnv2_mm.utils.compat import allow_checkpoints

    allow_checkpoints()


#: What changes in a module of mmengine after its import.
_CHANGES: dict[str, Callable[[ModuleType], None]] = {
    'mmengine.config.config': _accept_as_file,
    'mmengine.config.utils': _accept_in_hub,
    'mmengine.hub.hub': _find_for_hub,
    'mmengine.infer.infer': _accept_in_inferencers,
    'mmengine.runner.checkpoint': _allow_checkpoints,
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
