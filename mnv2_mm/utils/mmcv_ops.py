"""Which ops mmcv has: compiled, the stand-ins of :mod:`mnv2_mm.ops`, or none.

mmcv imports its ops as ``mmcv._ext``. Where that is missing, :func:`add_standin_ops`
writes it into the environment, so that the hosts' own tools work too, in any import
order. Python imports a compiled module before a source file of the same name, so a
compiled ``_ext`` is used whenever it is there.
mmcv's own check does not tell the two apart.
"""

from collections.abc import Iterator
from importlib.machinery import ExtensionFileLoader, PathFinder
from importlib.metadata import Distribution, distributions
from importlib.util import find_spec
from pathlib import Path

#: What ops_kind returns, and how it is said.
SENTENCES = {
    'compiled': 'compiled',
    'stand-ins': 'stand-ins of mnv2_mm (NMS, soft-NMS, RoIAlign, focal loss)',
    'none': 'none',
}
_TEXT = '''\
"""The ops of mmcv in plain torch, put here by `python -m mnv2_mm.check --repair`."""

from mnv2_mm.ops import *
from mnv2_mm.ops import __getattr__
'''


def ops_kind() -> str:
    """Name the ops that mmcv imports: 'compiled', 'stand-ins' or 'none'.

    Nothing is imported, so 'compiled' does not promise that they load.
    """
    spec = find_spec('mmcv')
    if spec is None or spec.submodule_search_locations is None:
        return 'none'
    found = PathFinder.find_spec('_ext', spec.submodule_search_locations)
    if found is None:
        return 'none'
    return 'compiled' if isinstance(found.loader, ExtensionFileLoader) else 'stand-ins'


def add_standin_ops() -> str | None:
    """Write ``mmcv/_ext.py`` where mmcv has no ops, or an older one.

    Returns:
        What was written, in a sentence; None where nothing was needed. A compiled
        ``_ext`` is left alone.
    """
    spec = find_spec('mmcv')
    if spec is None or spec.origin is None or ops_kind() == 'compiled':
        return None
    file = Path(spec.origin).with_name('_ext.py')
    if file.is_file() and file.read_text() == _TEXT:
        return None
    file.write_text(_TEXT)
    for owner in _owners(file.parent):
        # so that pip removes it together with mmcv
        records = [entry for entry in owner.files or () if entry.name == 'RECORD']
        if records and not any(entry.name == '_ext.py' for entry in owner.files or ()):
            with open(owner.locate_file(records[0]), 'a') as record:
                record.write('mmcv/_ext.py,,\n')
    return f'mmcv has no compiled ops; {file} brings the {SENTENCES["stand-ins"]}'


def _owners(folder: Path) -> Iterator[Distribution]:
    """The distribution that installed mmcv beside ``folder``."""
    for dist in distributions(path=[str(folder.parent)]):
        if dist.metadata['Name'] in ('onedl-mmcv', 'mmcv', 'mmcv-lite'):
            yield dist
