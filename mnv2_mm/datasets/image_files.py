"""Is this image file whole? Answered from its bytes, without decoding.

Older versions of OpenCV fill the missing part of a cut-off JPEG with gray and
say so on stderr only, newer ones do not say what is wrong. The end markers of
JPEG and PNG tell it at next to no cost.
"""

import os
from pathlib import Path

JPEG_START, _JPEG_END = b'\xff\xd8', b'\xff\xd9'
_JPEG_SCAN = 0xDA
_PNG_START, _PNG_END = b'\x89PNG\r\n\x1a\n', b'IEND\xaeB`\x82'
#: What the first bytes of things that are no image look like.
_FOREIGN = (
    (b'version https://git-lfs', 'a Git LFS pointer; run `git lfs pull`'),
    (b'<', 'a web page or another text, as a failed download leaves it'),
    (b'PK\x03\x04', 'a zip archive'),
    (b'\x1f\x8b', 'a gzip archive'),
)
#: Where the end marker of a whole file nearly always is, in bytes.
_TAIL = 4096

REMEDY = (
    'Fetch this file again, or remove it and its entry in the annotations '
    '(in training, ignore_empty=True of mnv2_mm.LoadImage skips such files).'
)


def problem_of(data: bytes) -> str | None:
    """What is visibly wrong with the content of an image file.

    Args:
        data: the whole file. JPEG and PNG are checked for their end marker;
            other formats only for being empty or something else altogether.

    Returns:
        The end of a sentence that begins with the file's name, or None.
    """
    if not data:
        return 'is empty'
    if data.startswith(JPEG_START):
        scan = _scan_start(data)
        if scan is None or (
            # looking through all of a large file takes milliseconds
            data.find(_JPEG_END, max(scan, len(data) - _TAIL)) < 0
            and data.find(_JPEG_END, scan) < 0
        ):
            return 'is a JPEG that is cut off (no end marker)'
    elif data.startswith(_PNG_START):
        if data.rfind(_PNG_END) < 0:
            return 'is a PNG that is cut off (no end marker)'
    else:
        for start, meaning in _FOREIGN:
            if data.lstrip()[: len(start)].lower() == start.lower():
                return f'is not an image but {meaning}'
    return None


def problem_of_file(path: str | os.PathLike) -> str | None:
    """The same for a file, reading only its two ends where they suffice.

    Args:
        path: of the image.

    Returns:
        The end of a sentence that begins with the file's name, or None.
    """
    path = Path(path)
    try:
        with path.open('rb') as file:
            head = file.read(64)
            if not head:
                return 'is empty'
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL))
            tail = file.read()
    except FileNotFoundError:
        return 'is missing'
    except OSError as error:
        return f'cannot be read ({error.strerror})'
    if head.startswith(JPEG_START) and _JPEG_END in tail:
        return None
    if head.startswith(_PNG_START) and _PNG_END in tail:
        return None
    return problem_of(path.read_bytes())


def _scan_start(data: bytes) -> int | None:
    """Offset of a JPEG's first scan; None when the header is cut off.

    The header's segments are skipped by their length, since the thumbnail
    in one of them has an end marker of its own. None of its own can follow
    within a scan, where every 0xFF is escaped.
    """
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return at  # odd, but for the decoder to judge
        code = data[at + 1]
        if code == _JPEG_SCAN:
            return at
        if code in (0xFF, 0x01) or 0xD0 <= code <= 0xD8:
            at += 1 if code == 0xFF else 2  # fill byte, or no content
            continue
        at += 2 + int.from_bytes(data[at + 2 : at + 4], 'big')
    return None
