"""Find the folder in the cache for what ``mnv2_mm.load`` exports of a model.

The folder is named by a digest of all that the network is made of: weights, config,
this package, the versions of torch and the hosts. So an entry is never out of date, and
it is found without torch and without running the config.
"""

import ast
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from mnv2_mm.utils.cli import repository_root
from mnv2_mm.utils.compat import PACKAGES, version_of
from mnv2_mm.utils.config_names import READING_LOCK, configs_in
from mnv2_mm.utils.files import cache_folder, user_path
from mnv2_mm.utils.published import SCHEME, published_models
from mnv2_mm.version import __version__

#: Distributions whose code builds and exports the network.
_BUILDERS = ('torch', 'onnx', 'onnxruntime', 'mmcv-lite')
_BUILDERS += tuple(name for names in PACKAGES.values() for name in names.values())
#: Functions by which a config could read what the digest does not cover.
_READERS = {'open', 'eval', 'exec', 'compile', '__import__', 'input'}


def export_folder(
    model: str | os.PathLike, weights: str | os.PathLike | None
) -> Path | None:
    """Folder for the arguments of ``mnv2_mm.load``; it may not exist yet.

    None if a file of them is missing, also in the cache where no digest is published;
    if a config runs code that may depend on something else: imports, ``open``,
    variables of the environment; or if there is no cache folder.
    """
    digest = hashlib.sha256()
    try:
        for part in _parts(model, weights):
            digest.update(hashlib.sha256(part).digest())
        return cache_folder() / 'exports' / digest.hexdigest()
    except (OSError, ValueError, SyntaxError):  # an InputError is a ValueError
        return None


def _parts(
    model: str | os.PathLike, weights: str | os.PathLike | None
) -> Iterator[bytes]:
    """All that decides on the network."""
    yield __version__.encode()
    for name in _BUILDERS:
        yield (version_of(name) or '').encode()
    yield from _own_files()
    for place in (model, weights):
        path = user_path(place or '')
        yield os.fspath(place or '').encode()
        if place is None:
            continue
        if '://' in os.fspath(place).removeprefix(SCHEME):
            raise ValueError('what is at an address may change')
        if path.is_dir():
            raise ValueError('the config of a folder is chosen later')
        if path.suffix in ('.py', '.json', '.yaml', '.yml') and path.is_file():
            yield from _config(path)
        elif path.is_file():
            with path.open('rb') as file:
                while part := file.read(1 << 20):
                    yield part
            # the config of a checkpoint is beside it; that of TensorFlow's is ours
            if place is model and path.suffix == '.pth':
                for config in configs_in(path.parent):
                    yield from _config(config)
        elif path.suffix:
            raise ValueError('there is no such file')
        elif weights in (None, place):
            yield from _first_download(os.fspath(place))


def _first_download(name: str) -> Iterator[bytes]:
    """What tells the file of a network whose publisher states no digest.

    Raises:
        OSError: it was never downloaded, so it is not known what will be.
    """
    name = name.removeprefix(SCHEME)
    for model in published_models().values():
        if name in (model.name, model.config) and not model.digest:
            path = cache_folder() / model.file
            yield path.with_name(f'{path.name}.digest').read_bytes()
            if path.is_file():
                yield f'{path.stat().st_size} {path.stat().st_mtime_ns}'.encode()


def _own_files() -> Iterator[bytes]:
    """Names, sizes and times of this package's files, of which one may be edited."""
    root = repository_root()
    for folder in (Path(__file__).parents[1], root / 'configs'):
        for path in sorted(folder.rglob('*.py')):
            found = path.stat()
            yield f'{path} {found.st_size} {found.st_mtime_ns}'.encode()


def _config(path: Path) -> Iterator[bytes]:
    """A config and its bases, except those of packages.

    Raises:
        ValueError: it may depend on something else.
    """
    if path.suffix != '.py':
        raise ValueError('its bases are not looked for')
    text = path.read_text(encoding='utf-8')
    yield os.fspath(path.resolve()).encode()
    yield text.encode()
    if '$ENV' in text or 'custom_imports' in text:
        raise ValueError('variables of the environment, or other code')
    bases: list[str] = []
    with READING_LOCK:
        tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            raise ValueError('imports')
        if isinstance(node, ast.Name) and node.id in _READERS:
            raise ValueError('reads files')
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '_base_':
            value = ast.literal_eval(node.value)
            bases += [value] if isinstance(value, str) else value
    for base in bases:
        if '::' not in base:
            yield from _config(path.parent / base)
