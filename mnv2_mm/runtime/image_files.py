"""Detect broken image files from their bytes, without decoding.

Older versions of OpenCV fill the missing part of a truncated JPEG with gray
and only print to stderr; newer ones do not say what is wrong. The end markers
of JPEG and PNG show it at almost no cost.
"""

import os
from pathlib import Path

_JPEG_START, _JPEG_END = b'\xff\xd8', b'\xff\xd9'
_JPEG_SCAN = 0xDA
_PNG_START, _PNG_END = b'\x89PNG\r\n\x1a\n', b'IEND\xaeB`\x82'
#: First bytes of common files that are no image.
_FOREIGN = (
    (b'version https://git-lfs', 'a Git LFS pointer; run `git lfs pull`'),
    (b'<', 'a web page or another text, as a failed download leaves it'),
    (b'PK\x03\x04', 'a zip archive'),
    (b'\x1f\x8b', 'a gzip archive'),
)
#: Bytes at the end that nearly always hold the end marker.
_TAIL = 4096

REMEDY = (
    'Fetch this file again, or remove it and its entry in the annotations '
    '(in training, ignore_empty=True of mnv2_mm.LoadImage skips such files).'
)


def problem_of(data: bytes) -> str | None:
    """What is wrong with the content of an image file, or None.

    JPEG and PNG are checked for their end marker, other formats only for being empty or
    no image at all. The text continues a sentence that begins with the file's name.
    """
    if not data:
        return 'is empty'
    if data.startswith(_JPEG_START):
        scan = _scan_start(data)
        if scan is None or (
            # a search through all of a large file takes milliseconds
            data.find(_JPEG_END, max(scan, len(data) - _TAIL)) < 0
            and data.find(_JPEG_END, scan) < 0
        ):
            return 'is a JPEG that is cut off (no end marker)'
    elif data.startswith(_PNG_START) and data.rfind(_PNG_END) < 0:
        return 'is a PNG that is cut off (no end marker)'
    for start, meaning in _FOREIGN:
        if data[:256].lstrip().lower().startswith(start.lower()):
            return f'is not an image but {meaning}'
    return None


def problem_of_file(path: str | os.PathLike) -> str | None:
    """:func:`problem_of` for a file; also refuses what no decoder knows."""
    import cv2

    try:
        problem = problem_of(Path(path).read_bytes())
        if problem or loaded_size(path) or cv2.haveImageReader(str(path)):
            return problem
        return 'is in no format that OpenCV or Pillow reads'
    except FileNotFoundError:
        return 'is missing'
    except OSError as error:
        return f'cannot be read ({error.strerror})'


def loaded_size(
    path: str | os.PathLike, *, color_type: str = 'color'
) -> tuple[int, int] | None:
    """(width, height) of an image as mmcv loads it, from its header; None if unknown.

    Like OpenCV, ``color_type`` 'color' and 'grayscale' turn a JPEG or PNG by its EXIF
    orientation; the others do not.
    """
    from PIL import ExifTags, Image

    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
            turned &= image.format in ('JPEG', 'MPO', 'PNG')
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None  # the check of the file, or the decoder, says why
    if turned and color_type in ('color', 'grayscale'):
        return height, width
    return width, height


def _scan_start(data: bytes) -> int | None:
    """Offset of a JPEG's first scan; None when the header is truncated.

    The header's segments are skipped by their length, since a thumbnail in
    one of them has its own end marker. A scan contains no other end marker,
    since every 0xFF in it is escaped.
    """
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return at  # unusual; the decoder decides
        code = data[at + 1]
        if code == _JPEG_SCAN:
            return at
        if code in (0xFF, 0x01) or 0xD0 <= code <= 0xD8:
            at += 1 if code == 0xFF else 2  # fill byte, or no content
            continue
        at += 2 + int.from_bytes(data[at + 2 : at + 4], 'big')
    return None
