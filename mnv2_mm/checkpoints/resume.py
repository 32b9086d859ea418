"""Find the checkpoint that an interrupted training continues from.

mmengine trusts the file ``last_checkpoint``. A run that was killed while it
wrote may have left that file empty, or naming a checkpoint that was never
finished. Here the checkpoints themselves are looked at: torch writes a zip
file whose directory comes last, so one that can be listed is complete.
"""

import os
import re

from mnv2_mm.checkpoints.file import is_complete

#: Names that CheckpointHook gives; the best checkpoint has no optimizer.
_NAME = re.compile(r'^(?:epoch|iter)_(\d+)\.pth$')


def checkpoints(work_dir: str) -> list[str]:
    """Paths of the regular checkpoints, newest first, complete or not."""
    if not os.path.isdir(work_dir):
        return []
    found = []
    for name in os.listdir(work_dir):
        match = _NAME.match(name)
        if match:
            path = os.path.join(work_dir, name)
            # the time tells, not the number: an older run may have gone on
            # for longer in the same folder
            age = os.stat(path).st_mtime_ns, int(match.group(1))
            found.append((age, path))
    return [path for _, path in sorted(found, reverse=True)]


def latest_checkpoint(work_dir: str) -> tuple[str | None, list[str]]:
    """Newest complete checkpoint of a folder.

    Returns:
        Its path, or None, and the newer ones that are cut off.
    """
    broken = []
    for path in checkpoints(work_dir):
        if is_complete(path):
            return path, broken
        broken.append(path)
    return None, broken
