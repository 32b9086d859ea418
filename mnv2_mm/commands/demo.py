"""Predict for images, folders and videos, draw, and write results.json."""

import errno
import itertools
import os
import sys
import time
from argparse import Namespace
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path

import cv2

from mnv2_mm.api import load
from mnv2_mm.runtime.predictor import Predictor
from mnv2_mm.runtime.result import Result
from mnv2_mm.runtime.sources import Leaf, find_sources, folders_of, frames_of, is_video
from mnv2_mm.utils.console import filter_warnings
from mnv2_mm.utils.errors import TRACEBACK_VARIABLE, InputError
from mnv2_mm.utils.files import user_path, write_image, write_json


def demo(args: Namespace) -> dict[str, str]:
    """Predict by the flags of tools/demo.py; returns what failed, with the reason."""
    filter_warnings()
    sources = find_sources(args.images)
    out_dir = user_path(args.out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    print(f'loading {args.weights or args.model}', flush=True)
    model = load(args.model, args.weights, device=args.device)
    run = Demo(model, out_dir, score_thr=args.score_thr)
    try:
        run.run(sources)
    finally:
        path = run.write(args.model)
        done = f'{len(run.results)} of {len(sources)} done'
        print(f'{done}; images in {out_dir}, results in {path}', flush=True)
        for source, reason in run.failed.items():
            print(f'failed: {source}: {reason}', file=sys.stderr)
    model.export_to_cache()
    return run.failed


class Demo:
    """Works through the sources; keeps results and failures."""

    def __init__(self, model: Predictor, out_dir: Path, *, score_thr: float) -> None:
        self.model = model
        self.score_thr = score_thr
        self.out_dir = out_dir
        self.results: list[dict] = []
        self.failed: dict[str, str] = {}
        self._taken: set[str] = {'results.json'}
        self._folders: Collection[Path] = ()  # of the sources

    def _target(self, name: str, ending: str) -> str:
        """Where to write; sources of one name do not collide."""
        numbers = ('', *(f'_{n}' for n in range(2, len(self._taken) + 2)))
        names = (f'{name}{n}{ending}' for n in numbers)
        chosen = next(name for name in names if name not in self._taken)
        self._taken.add(chosen)
        return str(self.out_dir / chosen)

    def source(self, source: Leaf, read: Future, pool: Executor) -> Future:
        """Predict for one image, or do a video; a line for the console to wait for."""
        line: Future = Future()
        try:
            found = self.model.predict(read.result(), threshold=self.score_thr)
            first = next(found)
            first.folders = self._folders
            if first.frame is None:
                return self._image(first, pool)
            line.set_result(self._video(first, found))
        except Exception as error:  # whatever it is, the others are promised
            line.set_exception(error)
        return line

    def _image(self, result: Result, pool: Executor) -> Future:
        """Draw and write in another thread."""
        name = result.stem_in(self.out_dir)
        drawn = self._target(name, '.jpg')
        entry = {'image': result.source, **result.to_dict(), 'drawn': drawn}
        if result.masks is not None:
            entry['mask'] = self._target(name, '_mask.png')

        def write() -> str:
            result.save(drawn)
            if result.masks is not None:
                kind = 'uint8' if len(self.model.classes) <= 256 else 'uint16'
                write_image(entry['mask'], result.masks.astype(kind))
            self.results.append(entry)
            return str(result)

        return pool.submit(write)

    def _video(self, first: Result, others: Iterator[Result]) -> str:
        frames: list[dict] = []
        path = self._target(first.stem_in(self.out_dir), '.mp4')
        drawing = first.plot()
        size = drawing.shape[1::-1]
        code = cv2.VideoWriter_fourcc(*'mp4v')
        writer = cv2.VideoWriter(path, code, first.rate, size)
        try:
            if not writer.isOpened():
                raise InputError(f'{path} cannot be written')
            self.results.append(  # kept if it is interrupted
                {
                    'video': first.source,
                    'frames_per_second': first.rate,
                    'frames': frames,
                    'drawn': path,
                }
            )
            results = itertools.chain([first], others)
            for result in _with_progress(results, first.frames):
                image = drawing if result is first else result.plot()
                # before the call in which Ctrl-C waits until the frame is written
                frames.append({'frame': result.frame, **result.to_dict()})
                writer.write(image)
        finally:
            writer.release()
        written = cv2.VideoCapture(path).get(cv2.CAP_PROP_FRAME_COUNT)
        if written < len(frames):  # OpenCV does not say so
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return f'{len(frames)} frames'

    def run(self, sources: list[Leaf]) -> None:
        """Do all sources in their order; images are read before, and written after."""
        self._folders = folders_of(sources)
        width = len(str(len(sources)))
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
            reads = _ahead(reader.submit(_read, source) for source in sources)
            pairs = zip(sources, reads, strict=True)
            lines = _ahead(self.source(*pair, writer) for pair in pairs)
            start = time.monotonic()
            for number, source in enumerate(sources, 1):
                try:
                    text = next(lines).result()
                except Exception as error:
                    text = self._failed(source, error)
                now = time.monotonic()
                name = getattr(source, 'name', str(source))
                count = f'[{number:{width}}/{len(sources)}]'
                print(f'{count} {name}: {text} ({now - start:.2f} s)', flush=True)
                start = now

    def _failed(self, source: Leaf, error: Exception) -> str:
        """Note what failed; raises the error if the others would fail too."""
        path = Path(str(getattr(error, 'filename', '')))
        if self.out_dir in path.parents or os.environ.get(TRACEBACK_VARIABLE) == '1':
            raise error
        kind = '' if isinstance(error, InputError) else type(error).__name__
        text = f'{kind} {error}'.strip().partition('\n')[0]
        self.failed[str(source)] = text
        return f'error: {text}'

    def write(self, model: str) -> Path:
        """Write the results; returns the path."""
        path = self.out_dir / 'results.json'
        content = {
            'model': model,
            'classes': self.model.classes,
            'results': self.results,
            'failed': self.failed,
        }
        write_json(path, content)
        return path


def _with_progress(frames: Iterable[Result], total: int | None) -> Iterable[Result]:
    try:
        from rich.progress import track
    except ImportError:  # a device without the hosts, which bring it
        return frames
    return track(frames, 'frames', total, transient=True)


def _read(source: Leaf) -> Leaf:
    """The image of a source; a video as it is, since it is read frame by frame."""
    return source if is_video(source) else next(frames_of(source))


def _ahead(items: Iterator[Future], count: int = 2) -> Iterator[Future]:
    """The items, each after some more were started."""
    started: deque[Future] = deque()
    for item in items:
        started.append(item)
        if len(started) > count:
            yield started.popleft()
    yield from started
