"""Let mmengine and the hosts read their checkpoints by our reader.

mmengine reads again with an unpickler that runs code where the safe one refuses a file,
and runs ``meta['config']`` when it resumes. No option turns either off.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from mmengine.runner import CheckpointLoader

from mnv2_mm.checkpoints.file import read


@contextlib.contextmanager
def safe_loading() -> Iterator[None]:
    """Read every checkpoint of the hosts by :func:`file.read` inside.

    Serves ``load_from``, ``resume``, ``init_cfg=dict(type='Pretrained')`` and each
    function of the hosts that uses mmengine's ``CheckpointLoader``.
    """
    before = CheckpointLoader._schemes
    CheckpointLoader._schemes = {'': load_from_checked_file}  # begins every address
    try:
        yield
    finally:
        CheckpointLoader._schemes = before


def load_from_checked_file(filename: str, map_location: Any = None) -> dict:
    """Loader of mmengine for any address; tensors stay on the CPU."""
    checkpoint = read(filename)
    meta = checkpoint.get('meta')
    if isinstance(meta, dict):
        meta.pop('config', None)  # Runner.resume would run it
    if filename.startswith('mmcls://'):  # as mmengine does
        weights = checkpoint.get('state_dict', checkpoint)
        return {
            'state_dict': {
                key.removeprefix('backbone.'): value
                for key, value in weights.items()
                if key.startswith('backbone.')
            }
        }
    return checkpoint
