"""Makes the generated sample set, and keeps it whole.

The set is written into a temporary folder that takes its final name at the
very end, so an interrupted run leaves nothing half-written. ``meta.json``
tells which settings and which version of the generator made it.
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
    """Make the sample set unless it is there already.

    Args:
        out: folder of the set.
        settings: what to make; the defaults when None.
        force: replace a sample set that was made with other settings.
        progress: called with (images done, images in all).

    Returns:
        Whether something was written.

    Raises:
        InputError: ``out`` holds something else than a sample set, or one
            with other settings and ``force`` is not set.
    """
    out = Path(out)
    settings = settings or SampleSettings()
    state, differs = compare(out, settings)
    if state == 'wanted':
        return False
    if state == 'foreign':  # never deleted, not even with --force
        raise InputError(
            f'{out} is there, but is not a generated sample set: choose '
            'another folder with --out, or move that one away'
        )
    if state == 'other' and not force:
        raise InputError(
            f'{out} holds a sample set with other settings ({differs}): '
            'replace it with --force, or choose another folder with --out'
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(out)
    work = Path(tempfile.mkdtemp(prefix=f'.{out.name}-{os.getpid()}-', dir=out.parent))
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # on a busy machine, more wait for each other
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


def compare(out: Path, settings: SampleSettings) -> tuple[str, str]:
    """Compare what ``out`` holds with ``settings``.

    Returns:
        'absent', 'wanted', 'other' (a sample set with other settings) or
        'foreign' (something else), and what differs in the third case.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return 'absent', ''
    wanted = settings.meta()
    try:
        found = json.loads((out / 'meta.json').read_text(encoding='utf-8'))
        if found['generator'] != wanted['generator']:
            return 'foreign', ''
    except (OSError, ValueError, KeyError, TypeError):
        return 'foreign', ''
    differs = ', '.join(
        f'{key} {found.get(key)!r} instead of {value!r}'
        for key, value in wanted.items()
        if found.get(key) != value
    )
    return ('other' if differs else 'wanted'), differs


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
        '# Generated sample set\n\n'
        'Made by `tools/make_sample_data.py`; meta.json holds the settings.\n'
        f'Images of {settings.width}x{settings.height}, '
        f'{settings.train} train and {settings.val} val, classes '
        f'{", ".join(CLASSES)}.\n\n'
        '- annotations/{train,val}.json: COCO (boxes and masks of the '
        'visible part)\n'
        '- images/{train,val}/*.jpg\n'
        '- masks/{train,val}/*.png: 0 background, 1.. the classes in order\n'
        '- classify/{train,val}/<class>/*.jpg: crops around single objects\n'
    )
