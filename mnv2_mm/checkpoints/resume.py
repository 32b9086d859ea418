"""Find the checkpoint that a killed training continues from.

mmengine trusts the file ``last_checkpoint``, which a killed run leaves empty or wrong.
torch writes a checkpoint as a zip file whose directory comes last: a file whose
directory can be listed is complete.
"""

import os
import re
import zipfile
from collections.abc import Mapping
from numbers import Real
from pathlib import Path

#: Names that CheckpointHook gives; the best checkpoint has no optimizer.
_NAME = re.compile(r'(?:epoch|iter)_(\d+)\.pth')

#: File beside ``last_checkpoint``: the iteration of the last complete validation.
LAST_VALIDATION = 'last_validation'


def is_complete(path: str | os.PathLike) -> bool:
    """Whether the zip file that torch.save writes has its end."""
    try:
        with zipfile.ZipFile(path) as archive:
            return bool(archive.namelist())
    except Exception:  # damaged bytes can end in any exception
        return False


def checkpoints(work_dir: str) -> list[str]:
    """Paths of the checkpoints of a training, newest first, complete or not."""
    found = [
        # by time, not by number: an older, longer run may have used the folder
        (path.stat().st_mtime_ns, int(match[1]), str(path))
        for path in Path(work_dir).glob('*.pth')
        if (match := _NAME.fullmatch(path.name))
    ]
    return [path for *_, path in sorted(found, reverse=True)]


def latest_checkpoint(work_dir: str) -> tuple[str | None, list[str]]:
    """Path of the newest complete checkpoint, or None; the newer, cut off ones."""
    broken: list[str] = []
    for path in checkpoints(work_dir):
        if is_complete(path):
            return path, broken
        broken.append(path)
    return None, broken


def last_validation(work_dir: str) -> int | None:
    """Iteration after which a training was last validated; None if it never was."""
    try:
        return int((Path(work_dir) / LAST_VALIDATION).read_text())
    except (OSError, ValueError):
        return None


def best_checkpoint(work_dir: str, state: Mapping) -> tuple[str, float] | None:
    """The best checkpoint by its score: a path and the score, or None.

    Args:
        work_dir: Folder of the training.
        state: Its newest checkpoint. mmengine compares the scores and notes the best
            one there; names of files say nothing, since older trainings leave theirs.
    """
    hub = state.get('message_hub')
    info = hub.get('runtime_info') if isinstance(hub, Mapping) else None
    if not isinstance(info, Mapping):
        return None
    for key, name in info.items():
        if str(key).startswith('best_ckpt') and isinstance(name, str):
            path = os.path.join(work_dir, os.path.basename(name))
            score = info.get(key.replace('best_ckpt', 'best_score'))
            if is_complete(path) and isinstance(score, Real):
                return path, float(score)
    return None
