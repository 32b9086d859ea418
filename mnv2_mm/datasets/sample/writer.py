"""Write the generated sample set, completely or not at all.

The set is written into a temporary folder that gets its final name at the
end, so an interrupted run leaves no partial set. ``meta.json`` holds the
settings and the version of the generator.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2

from mnv2_mm.datasets.sample.export import (
    SPLITS,
    SampleSettings,
    write_json,
    write_split,
)
from mnv2_mm.datasets.sample.scenes import CLASSES
from mnv2_mm.utils.errors import InputError


def write_sample_set(
    out: str | Path,
    settings: SampleSettings | None = None,
    *,
    force: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> bool:
    """Write the sample set unless it exists already.

    Args:
        out: Folder of the set.
        settings: Of the set; the defaults when None.
        force: Replace a sample set with other settings.
        progress: Called with (images done, images in all).

    Returns:
        Whether something was written.

    Raises:
        InputError: ``out`` holds something other than a sample set, or one
            with other settings and ``force`` is not set.
    """
    out = Path(out)
    settings = settings or SampleSettings()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        differs = _differences(out, settings)
        if not differs:
            return False
        if not force:
            raise InputError(
                f'{out} holds a sample set with other settings ({differs}): '
                'replace it with --force, or choose another folder with --out'
            )
    out.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(out)
    work = Path(tempfile.mkdtemp(prefix=f'.{out.name}-{os.getpid()}-', dir=out.parent))
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # several are slower on a busy machine
    try:
        made = work / 'made'
        total, done = settings.train + settings.val, 0
        for split in SPLITS:
            for _ in write_split(made, split, settings):
                done += 1
                progress(done, total)
        write_json(made / 'meta.json', settings.meta())
        (made / 'README.md').write_text(_readme(settings), encoding='utf-8')
        if out.exists():
            out.rename(work / 'old')
        made.rename(out)
    finally:
        cv2.setNumThreads(threads)
        shutil.rmtree(work, ignore_errors=True)
    return True


def _differences(out: Path, settings: SampleSettings) -> str:
    """Compare the sample set in ``out`` with ``settings``; '' for equal.

    Raises:
        InputError: ``out`` holds something else; it is never deleted.
    """
    wanted = settings.meta()
    try:
        found = json.loads((out / 'meta.json').read_text(encoding='utf-8'))
        known = found['generator'] == wanted['generator']
    except (OSError, ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise InputError(
            f'{out} exists, but is not a generated sample set: choose '
            'another folder with --out, or move that one away'
        )
    return ', '.join(
        f'{key} {found.get(key)!r} instead of {value!r}'
        for key, value in wanted.items()
        if found.get(key) != value
    )


def _remove_leftovers(out: Path) -> None:
    """Remove temporary folders of runs that were killed."""
    for folder in out.parent.glob(f'.{out.name}-*-*'):
        pid = folder.name.removeprefix(f'.{out.name}-').split('-')[0]
        if pid.isdigit() and not _is_running(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_running(pid: int) -> bool:
    """Whether a process with this id exists on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _readme(settings: SampleSettings) -> str:
    """The text of the set's README.md."""
    return (
        '# Generated sample set\n\nWritten by `tools/make_sample_data.py`; meta.json '
        f'holds the settings.\nImages of {settings.width}x{settings.height}, '
        f'{settings.train} train and {settings.val} val, classes '
        f'{", ".join(CLASSES)}.\n\n'
        '- annotations/{train,val}.json: COCO (boxes and masks of the '
        'visible part)\n'
        '- images/{train,val}/*.jpg\n'
        '- masks/{train,val}/*.png: 0 background, 1.. the classes in order\n'
        '- classify/{train,val}/<class>/*.jpg: crops around single objects\n'
    )
