"""Repair an environment in which the OpenMMLab packages cannot be imported.

``python -m mnv2_mm.check --repair`` and tools/setup_env.sh call this. It writes
two small files into site-packages, and only where they are needed; nothing is
repaired at import.
"""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from mnv2_mm.utils import torchvision_ops

#: The copy of :mod:`mnv2_mm.utils.torchvision_ops`, and the line that calls it.
MODULE = '_mnv2_mm_torchvision'
_LINE = f'import {MODULE}; {MODULE}.install()\n'


def repair_torchvision(site: Path | None = None) -> str | None:
    """Make ``import torchvision`` work for every program of this environment.

    Args:
        site: site-packages; by default that of this interpreter.

    Returns:
        What was written, in a sentence; None where nothing was needed.
    """
    site = site or Path(sysconfig.get_path('purelib'))
    module, line = site / f'{MODULE}.py', site / f'{MODULE}.pth'
    # an older copy must not decide whether one is needed
    for file in (line, module):
        file.unlink(missing_ok=True)
    if not _torchvision_fails():
        return None
    shutil.copyfile(torchvision_ops.__file__, module)
    line.write_text(_LINE, encoding='utf-8')
    return (
        f'torchvision does not fit this torch; {line.name} lets it be imported '
        'without its compiled operators'
    )


def _torchvision_fails() -> bool:
    """Whether the import ends for want of its compiled operators."""
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', 'import torchvision'],
        capture_output=True,
        text=True,
        errors='replace',
    )
    return 'operator torchvision::' in done.stderr
