"""Find the checkpoint that an interrupted training continues from.

mmengine trusts the file ``last_checkpoint``. A run that was killed while it wrote may
leave that file empty, or naming a checkpoint that was never finished. Here the
checkpoints themselves are examined.
"""

import os
import re

from mnv2_mm.checkpoints.file import is_complete

#: Names that CheckpointHook gives; the best checkpoint has no optimizer.
_NAME = re.compile(r'(?:epoch|iter)_(\d+)\.pth')


def checkpoints(work_dir: str) -> list[str]:
    """Paths of the regular checkpoints, newest first, complete or not."""
    found = []
    for name in os.listdir(work_dir) if os.path.isdir(work_dir) else ():
        match = _NAME.fullmatch(name)
        if match:
            path = os.path.join(work_dir, name)
            # by time, not by number: an older, longer run may have used the folder
            found.append((os.stat(path).st_mtime_ns, int(match[1]), path))
    return [path for *_, path in sorted(found, reverse=True)]


def latest_checkpoint(work_dir: str) -> tuple[str | None, list[str]]:
    """Newest complete checkpoint of a folder.

    Returns:
        Its path, or None, and the newer ones that are cut off.
    """
    broken: list[str] = []
    for path in checkpoints(work_dir):
        if is_complete(path):
            return path, broken
        broken.append(path)
    return None, broken
