"""Predict for images, folders and videos, draw, and write results.json.

One command for detection, segmentation and classification; the config decides.
An image that cannot be read is reported, and the others are done.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from torch import nn

from mnv2_mm.api import init_model, predict
from mnv2_mm.checkpoints.hub import resolve
from mnv2_mm.utils.console import filter_warnings
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.visualize import Painter, summarize

IMAGES = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')
VIDEOS = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.webm')


@dataclass(kw_only=True)
class DemoOptions:
    """The flags of tools/demo.py."""

    config: str
    images: Sequence[str]
    weights: str | None = None
    out_dir: str = 'demo_results'
    score_thr: float = 0.3
    device: str = 'cpu'


def demo(options: DemoOptions) -> list[str]:
    """Predict, draw, and write results.json.

    Returns:
        The sources that could not be read; the others are done.

    Raises:
        InputError: a source does not exist, or the model cannot be built.
    """
    filter_warnings()
    sources = find_sources(options.images)
    out_dir = Path(options.out_dir).expanduser()
    out_dir.mkdir(parents=True, exist_ok=True)
    cfg, weights = resolve(options.config, options.weights)
    print(f'loading {weights}', flush=True)
    model = init_model(cfg, weights, device=options.device)
    run = Demo(model, out_dir, score_thr=options.score_thr)
    try:
        run.run(sources)
    finally:
        path = run.write()
        print(
            f'{len(run.results)} of {len(sources)} done; images in '
            f'{out_dir}, results in {path}'
        )
    return run.failed


def find_sources(names: Sequence[str]) -> list[Path]:
    """Files to work on, folders replaced by what they hold.

    Raises:
        InputError: a name that does not exist, or a folder without images.
    """
    sources: list[Path] = []
    for name in names:
        path = Path(name).expanduser()
        if path.is_dir():
            inside = sorted(
                file
                for file in path.iterdir()
                if file.suffix.lower() in IMAGES + VIDEOS
            )
            if not inside:
                raise InputError(
                    f'folder {name} holds no image or video '
                    f'({" ".join(IMAGES + VIDEOS)})'
                )
            sources += inside
        elif path.is_file():
            sources.append(path)
        else:
            raise InputError(f'there is no image, folder or video {name}')
    return sources


class Demo:
    """Works through the sources; keeps results and failures.

    Args:
        model: Of ``init_model``.
        out_dir: Where everything is written.
        score_thr: Least score of a box.
    """

    def __init__(self, model: nn.Module, out_dir: Path, *, score_thr: float) -> None:
        self.model = model
        self.painter = Painter(model, score_thr=score_thr)
        self.out_dir = out_dir
        self.results: list[dict] = []
        self.failed: list[str] = []
        self._taken: set[str] = {'results.json'}

    def target(self, source: Path, ending: str) -> Path:
        """Where to write; sources of one name do not collide."""
        name, n = f'{source.stem}{ending}', 1
        while name in self._taken:
            n += 1
            name = f'{source.stem}_{n}{ending}'
        self._taken.add(name)
        return self.out_dir / name

    def image(self, source: Path) -> str:
        """Do one image; returns a line for the console."""
        image = cv2.imread(str(source), cv2.IMREAD_COLOR)
        if image is None:
            raise InputError(
                f'{source} cannot be read as an image: it is cut off, '
                'empty, or of another format'
            )
        sample = predict(self.model, image)
        entry = {'image': str(source), **self.painter.describe(sample)}
        drawn = self.target(source, '.jpg')
        entry['drawn'] = str(drawn)
        _write(drawn, self.painter.draw(image, sample))
        if self.painter.host == 'mmseg':
            mask = self.target(source, '_mask.png')
            _write(mask, self.painter.mask(sample))
            entry['mask'] = str(mask)
        self.results.append(entry)
        return summarize(entry)

    def video(self, source: Path) -> str:
        """Do all frames of a video; returns a line for the console."""
        capture = cv2.VideoCapture(str(source))
        total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        rate = capture.get(cv2.CAP_PROP_FPS) or 25.0
        drawn = self.target(source, '.mp4')
        entry = {
            'video': str(source),
            'frames_per_second': rate,
            'frames': [],
            'drawn': str(drawn),
        }
        writer = None
        start = shown = time.monotonic()
        try:
            for number, frame in enumerate(_frames(capture)):
                sample = predict(self.model, frame)
                drawing = self.painter.draw(frame, sample)
                if writer is None:
                    self.results.append(entry)  # kept if it is interrupted
                    size = drawing.shape[1::-1]
                    code = cv2.VideoWriter_fourcc(*'mp4v')
                    writer = cv2.VideoWriter(str(drawn), code, rate, size)
                writer.write(drawing)
                entry['frames'].append(
                    {'frame': number, **self.painter.describe(sample)}
                )
                now = time.monotonic()
                if now - shown > 5:
                    shown = now
                    left = (now - start) / (number + 1) * (total - number - 1)
                    print(
                        f'      frame {number + 1} of {total}, '
                        f'{max(left, 0):.0f} s left',
                        flush=True,
                    )
        finally:
            capture.release()
            if writer is not None:
                writer.release()
        if writer is None:
            raise InputError(
                f'{source} cannot be read as a video: it is cut off, empty, '
                'or in a format that OpenCV does not know'
            )
        return f'{len(entry["frames"])} frames'

    def run(self, sources: list[Path]) -> None:
        """Do all sources, one after the other."""
        width = len(str(len(sources)))
        for number, source in enumerate(sources, 1):
            is_video = source.suffix.lower() in VIDEOS
            start = time.monotonic()
            try:
                text = (self.video if is_video else self.image)(source)
            except InputError as error:
                self.failed.append(str(source))
                text = f'error: {error}'
            seconds = time.monotonic() - start
            print(
                f'[{number:{width}}/{len(sources)}] {source.name}: {text} '
                f'({seconds:.2f} s)',
                flush=True,
            )

    def write(self) -> Path:
        """Write the results; returns the path."""
        path = self.out_dir / 'results.json'
        content = {
            'config': self.model.cfg.filename,
            'classes': self.painter.classes,
            'results': self.results,
            'failed': self.failed,
        }
        path.write_text(json.dumps(content, indent=1), encoding='utf-8')
        return path


def _frames(capture: cv2.VideoCapture) -> Iterator[np.ndarray]:
    while True:
        good, frame = capture.read()
        if not good:
            return
        yield frame


def _write(path: Path, image: np.ndarray) -> None:
    """Write an image; OpenCV alone would be silent when it cannot."""
    if not cv2.imwrite(str(path), image):
        raise InputError(f'{path} cannot be written')
