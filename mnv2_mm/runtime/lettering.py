"""Write text on images: ASCII by OpenCV, other letters by a font of the machine.

OpenCV's font has the letters of ASCII alone. For other texts Pillow looks for a font
that has all of their letters; without one they are written in ASCII.
"""

import functools
import importlib.util
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

Color = tuple[int, int, int]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_CAPITAL = 22  # height of its capitals in pixels at scale 1
#: Files of common fonts, Latin before Chinese, Japanese and Korean. Pillow looks for
#: them in the folders of the system.
_FILES = (
    *('DejaVuSans.ttf', 'NotoSans-Regular.ttf', 'arial.ttf', 'Arial.ttf'),
    *('NotoSansCJK-Regular.ttc', 'NotoSansCJKsc-Regular.otf', 'wqy-microhei.ttc'),
    *('wqy-zenhei.ttc', 'DroidSansFallbackFull.ttf', 'DroidSansFallback.ttf'),
    *('msyh.ttc', 'YuGothR.ttc', 'malgun.ttf', 'simsun.ttc', 'Arial Unicode.ttf'),
    *('PingFang.ttc', 'Hiragino Sans GB.ttc', 'AppleSDGothicNeo.ttc'),
)
_MISSING = '\U0010ffff'  # never a letter: a font draws its sign for a missing one


def printable(text: str) -> str:
    """Text that can be written: itself, or without what no font here has."""
    text = ' '.join(text.split())
    if text.isascii() or _font_file(text):
        return text
    plain = unicodedata.normalize('NFKD', text).encode('ascii', 'ignore').decode()
    return ' '.join(plain.split())


def fit(text: str, size: float, room: float) -> tuple[float, float]:
    """Reduce the height of capitals until a text fits into ``room`` pixels.

    Returns:
        The height and the width of the text, in pixels.
    """
    width: float
    if file := _font_file(text):
        width = _font(file, size).getlength(text)
    else:
        (width, _), _ = cv2.getTextSize(text, _FONT, size / _CAPITAL, _stroke(size))
    factor = min(1.0, max(room, 1.0) / max(width, 1))
    return size * factor, width * factor


def write(
    canvas: np.ndarray,
    text: str,
    corner: tuple[float, float],
    size: float,
    color: Color,
) -> None:
    """Write a text on a BGR image, from the bottom left corner of its capitals."""
    x, y = round(corner[0]), round(corner[1])
    file = _font_file(text)
    if not file:
        style = (_FONT, size / _CAPITAL, color, _stroke(size), cv2.LINE_AA)
        cv2.putText(canvas, text, (x, y), *style)
        return
    from PIL import Image, ImageDraw

    font = _font(file, size)
    x1, y1, x2, y2 = map(int, font.getbbox(text, anchor='ls'))
    left, top = max(0, x + x1), max(0, y + y1)
    part = canvas[top : max(0, y + y2), left : max(0, x + x2)]
    page = Image.new('L', (part.shape[1], part.shape[0]))
    ImageDraw.Draw(page).text((x - left, y - top), text, 255, font, anchor='ls')
    share = np.asarray(page)[..., None] / 255
    part[:] = (part * (1 - share) + np.array(color) * share).round()


def _stroke(size: float) -> int:
    return max(1, round(size / 10))


def _font_file(text: str) -> str:
    """First font that has all letters of a text; empty for ASCII, and without one."""
    # a label has another score in each frame of a video, and its letters stay
    letters = ''.join(sorted({x for x in text if not x.isascii()}))
    return _font_with(letters) if letters else ''


@functools.lru_cache(maxsize=1024)
def _font_with(letters: str) -> str:
    """First font that has these letters; Pillow looks through folders for each file."""
    try:
        from PIL import ImageFont
    except ImportError:
        return ''
    files = list(_FILES)
    spec = importlib.util.find_spec('matplotlib')  # brings DejaVu Sans along
    if spec and spec.origin:
        fonts = Path(spec.origin).parent / 'mpl-data/fonts/ttf'
        files.insert(0, str(fonts / 'DejaVuSans.ttf'))
    for file in files:
        try:
            font = ImageFont.truetype(file, 16)
        except OSError:  # not on this machine
            continue
        missing = bytes(font.getmask(_MISSING))
        if all(bytes(font.getmask(x)) != missing for x in letters):
            return file
    return ''


@functools.lru_cache(maxsize=64)
def _font(file: str, size: float) -> 'FreeTypeFont':
    """A font with capitals of this height in pixels."""
    from PIL import ImageFont

    capital = -ImageFont.truetype(file, 200).getbbox('H', anchor='ls')[1]
    return ImageFont.truetype(file, max(1.0, 200 * size / capital))
