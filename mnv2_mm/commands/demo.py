"""Predict for images, folders and videos, draw, and write results.json."""

import errno
import os
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import cv2
from rich.progress import track
from torch import nn

from mnv2_mm.api import init_model, predict
from mnv2_mm.checkpoints.hub import resolve
from mnv2_mm.datasets.read_image import check_size, read_image
from mnv2_mm.engine.visualizer import Painter, summarize
from mnv2_mm.utils.console import filter_warnings
from mnv2_mm.utils.errors import TRACEBACK_VARIABLE, InputError
from mnv2_mm.utils.files import write_image, write_json

IMAGES = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')
VIDEOS = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.webm')


def demo(args: Namespace) -> dict[str, str]:
    """Predict by the flags of tools/demo.py; returns what failed, with the reason."""
    filter_warnings()
    sources = find_sources(args.images)
    out_dir = Path(args.out_dir).expanduser()
    out_dir.mkdir(parents=True, exist_ok=True)
    cfg, weights = resolve(args.config, args.weights)
    print(f'loading {weights}', flush=True)
    model = init_model(cfg, weights, device=args.device)
    run = Demo(model, out_dir, score_thr=args.score_thr)
    try:
        run.run(sources)
    finally:
        path = run.write()
        done = f'{len(run.results)} of {len(sources)} done'
        print(f'{done}; images in {out_dir}, results in {path}', flush=True)
        for source, reason in run.failed.items():
            print(f'failed: {source}: {reason}', file=sys.stderr)
    return run.failed


def find_sources(names: Sequence[str]) -> list[Path]:
    """Files to work on, folders replaced by what they hold."""
    sources: list[Path] = []
    for name in names:
        path, known = Path(name).expanduser(), IMAGES + VIDEOS
        try:
            if path.is_file():
                sources.append(path)
                continue
            if not path.is_dir():
                raise InputError(f'there is no image, folder or video {name}')
            inside = sorted(f for f in path.iterdir() if f.suffix.lower() in known)
        except OSError as error:
            raise InputError(f'{name} cannot be read: {error.strerror}') from error
        if not inside:
            raise InputError(
                f'folder {name} holds no image or video ({" ".join(known)})'
            )
        sources += inside
    return sources


class Demo:
    """Works through the sources; keeps results and failures."""

    def __init__(self, model: nn.Module, out_dir: Path, *, score_thr: float) -> None:
        self.model = model
        self.painter = Painter(model, score_thr=score_thr)
        self.out_dir = out_dir
        self.results: list[dict] = []
        self.failed: dict[str, str] = {}
        self._taken: set[str] = {'results.json'}

    def _target(self, source: Path, ending: str) -> str:
        """Where to write; sources of one name do not collide."""
        numbers = ('', *(f'_{n}' for n in range(2, len(self._taken) + 2)))
        names = (f'{source.stem}{n}{ending}' for n in numbers)
        name = next(name for name in names if name not in self._taken)
        self._taken.add(name)
        return str(self.out_dir / name)

    def image(self, source: Path) -> str:
        """Do one image; returns a line for the console."""
        image = read_image(source)
        sample = predict(self.model, image)
        drawn = self._target(source, '.jpg')
        write_image(drawn, self.painter.draw(image, sample))
        described = self.painter.describe(sample)
        entry = {'image': str(source), **described, 'drawn': drawn}
        if self.painter.host == 'mmseg':
            entry['mask'] = self._target(source, '_mask.png')
            write_image(entry['mask'], self.painter.mask(sample))
        self.results.append(entry)
        return summarize(entry)

    def video(self, source: Path) -> str:
        """Do all frames of a video; returns a line for the console."""
        capture = cv2.VideoCapture(str(source))
        total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        rate = capture.get(cv2.CAP_PROP_FPS)
        rate = rate if 0 < rate < 1000 else 25.0  # of a header: any number, or none
        frames: list[dict] = []
        entry = {'video': str(source), 'frames_per_second': rate, 'frames': frames}
        sides = (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        writer = None
        try:
            check_size(source, *(max(int(capture.get(side)), 0) for side in sides))
            reads = iter(capture.read, (False, None))
            shown = track(reads, 'frames', max(total, 0) or None, transient=True)
            for number, (_, frame) in enumerate(shown):
                sample = predict(self.model, frame)
                drawing = self.painter.draw(frame, sample)
                if writer is None:
                    entry['drawn'] = self._target(source, '.mp4')
                    code = cv2.VideoWriter_fourcc(*'mp4v')
                    size = drawing.shape[1::-1]
                    writer = cv2.VideoWriter(entry['drawn'], code, rate, size)
                    if not writer.isOpened():
                        raise InputError(f'{entry["drawn"]} cannot be written')
                    self.results.append(entry)  # kept if it is interrupted
                writer.write(drawing)
                frames.append({'frame': number, **self.painter.describe(sample)})
        finally:
            capture.release()
            if writer is not None:
                writer.release()
        if writer is None:
            raise InputError(
                f'{source} cannot be read as a video: it is cut off, empty, or in a '
                'format that OpenCV does not know'
            )
        written = cv2.VideoCapture(entry['drawn']).get(cv2.CAP_PROP_FRAME_COUNT)
        if written < len(frames):  # OpenCV does not say so
            raise OSError(errno.EIO, os.strerror(errno.EIO), entry['drawn'])
        return f'{len(frames)} frames'

    def run(self, sources: list[Path]) -> None:
        """Do all sources, one after the other."""
        width = len(str(len(sources)))
        for number, source in enumerate(sources, 1):
            is_video = source.suffix.lower() in VIDEOS
            start = time.monotonic()
            try:
                text = (self.video if is_video else self.image)(source)
            except Exception as error:  # whatever it is, the others are promised
                name = str(getattr(error, 'filename', ''))
                full = name.startswith(str(self.out_dir))  # the others would fail too
                if full or os.environ.get(TRACEBACK_VARIABLE) == '1':
                    raise
                kind = '' if isinstance(error, InputError) else type(error).__name__
                text = f'{kind} {error}'.strip().partition('\n')[0]
                self.failed[str(source)] = text
                text = f'error: {text}'
            seconds = time.monotonic() - start
            count = f'[{number:{width}}/{len(sources)}]'
            print(f'{count} {source.name}: {text} ({seconds:.2f} s)', flush=True)

    def write(self) -> Path:
        """Write the results; returns the path."""
        path = self.out_dir / 'results.json'
        content = {
            'config': self.model.cfg.filename,
            'classes': self.painter.classes,
            'results': self.results,
            'failed': self.failed,
        }
        write_json(path, content)
        return path
