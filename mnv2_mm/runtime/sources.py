"""Find and read what to predict for: files, folders, videos, cameras, arrays.

mmengine's and mmcv's loaders need torch, and take files alone.
"""

import glob
import http.client
import os
import re
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeGuard
from urllib.parse import urlsplit

import numpy as np

from mnv2_mm.runtime.read_image import LARGEST_FILE, check_size, decode, read_image
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.files import user_path

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGES = ('.bmp', '.gif', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')
VIDEOS = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.webm')
_TIMEOUT = 30  # seconds without a byte
#: Ends of a drawing's name, see Result.stem_in: of the second image of a name, a frame,
#: a mask.
_DRAWN = re.compile(r'(?<=.)((_\d+)?)_drawn(_\d+)?(_mask)?$')

#: One image or video: an address, a file, a camera, an array, an image of Pillow, or
#: what was read of these.
Leaf: TypeAlias = 'str | Path | int | np.ndarray | Image | Frame'
#: What predict takes.
Source: TypeAlias = (
    'str | os.PathLike | int | np.ndarray | Image | list[Source] | tuple[Source, ...]'
)


class Frame(NamedTuple):
    """One image, (H, W, 3) uint8 BGR; of a video also its place in it."""

    source: str
    image: np.ndarray
    number: int | None = None  # from 0
    rate: float | None = None  # frames per second
    total: int | None = None  # frames of the video; None for a camera


def folders_of(leaves: list[Leaf]) -> frozenset[Path]:
    """Folders of the files."""
    return frozenset(leaf.parent.resolve() for leaf in leaves if isinstance(leaf, Path))


def find_sources(source: Source) -> list[Leaf]:
    """Replace lists, folders and patterns by what they hold; reads nothing.

    Raises:
        InputError: there is no such file, nothing in a folder, or a wrong type.
    """
    if isinstance(source, Frame):
        return [source]
    if isinstance(source, list | tuple):
        return [leaf for part in source for leaf in find_sources(part)]
    if isinstance(source, np.ndarray) or _is_pillow(source):
        return [source]
    if isinstance(source, int | np.integer) and not isinstance(source, bool):
        return [int(source)]
    if isinstance(source, str | os.PathLike):
        return _files(os.fspath(source))
    raise InputError(
        f'predict cannot take {type(source).__name__}; give a path, folder, pattern, '
        'address, number of a camera, array, image of Pillow, or a list of them'
    )


def _is_pillow(source: object) -> TypeGuard['Image']:
    module = sys.modules.get('PIL.Image')  # without it there is no such image
    return module is not None and isinstance(source, module.Image)


def _files(name: str) -> list[Leaf]:
    if not name:
        raise InputError('the name of the image is empty')
    if '://' in name:
        try:
            urlsplit(name)
        except ValueError as error:
            raise InputError(f'{name} is no address: {error}') from error
        scheme, _, rest = name.partition('://')
        return [f'{scheme.lower()}://{rest}']
    path = user_path(name)
    try:
        if path.is_file():
            return [path]
        is_folder = path.is_dir()
        if is_folder:
            inside = list(path.iterdir())
        elif name.isdecimal():
            return [int(name)]
        else:
            inside = [Path(found) for found in glob.glob(str(path), recursive=True)]
    except OSError as error:
        raise InputError(f'{name} cannot be read: {error.strerror}') from error
    known = IMAGES + VIDEOS
    chosen = sorted(
        file
        for file in inside
        if file.suffix.lower() in known
        # macOS writes ._NAME beside each file on other disks
        and not file.name.startswith('._')
    )
    # NAME_drawn beside NAME is what an earlier run has drawn
    stems = {file.with_suffix('') for file in chosen}
    chosen = [
        file
        for file in chosen
        if not _DRAWN.search(file.stem)
        or stems.isdisjoint(
            file.with_name(_DRAWN.sub(end, file.stem)) for end in ('', r'\1')
        )
    ]
    if not chosen and not is_folder and not inside:
        raise InputError(f'there is no image, folder or video {name}')
    if not chosen:
        raise InputError(f'{name} holds no image or video ({" ".join(known)})')
    return list(chosen)


def frames_of(leaf: Leaf) -> Iterator[Frame]:
    """Read the image of a source, or all images of a video.

    Raises:
        InputError: it cannot be read; the message says why.
    """
    if isinstance(leaf, Frame):
        yield leaf
    elif isinstance(leaf, int):
        yield from _video(leaf, f'camera {leaf}')
    elif is_video(leaf):
        yield from _video(str(leaf), str(leaf))
    elif isinstance(leaf, str):
        yield Frame(leaf, decode(_download(leaf), leaf))
    elif isinstance(leaf, Path):
        yield Frame(str(leaf), read_image(leaf))
    elif isinstance(leaf, np.ndarray):
        yield Frame('image', checked(leaf))
    else:
        yield Frame(getattr(leaf, 'filename', '') or 'image', _from_pillow(leaf))


def is_video(leaf: Leaf) -> bool:
    """Whether a source is a video, a stream or a camera, by its name."""
    if isinstance(leaf, str):
        stream = leaf.startswith('rtsp://')
        return stream or Path(urlsplit(leaf).path).suffix.lower() in VIDEOS
    if isinstance(leaf, Path):
        return leaf.suffix.lower() in VIDEOS
    return isinstance(leaf, int)


def checked(image: np.ndarray) -> np.ndarray:
    """An array as (H, W, 3) uint8; gray is repeated, and a fourth channel left out."""
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4) or image.dtype != np.uint8:
        raise InputError(
            f'an array of {image.dtype} with the shape {image.shape} is no image; give '
            'uint8 from 0 to 255, (H, W, 3) in the order blue, green, red'
        )
    if not image.size:
        raise InputError(f'an array of the shape {image.shape} has no pixels')
    check_size('the array', *image.shape[1::-1])
    if image.shape[2] == 1:
        image = image.repeat(3, axis=2)
    return np.ascontiguousarray(image[..., :3])


def _from_pillow(image: 'Image') -> np.ndarray:
    """BGR, turned as EXIF says: as the file would be read, but for WebP."""
    from PIL import ImageOps

    check_size('the image', *image.size)
    try:
        image = _in_8_bits(ImageOps.exif_transpose(image)).convert('RGB')
    except (OSError, ValueError, SyntaxError) as error:  # a file is read only now
        raise InputError(f'the image of Pillow cannot be read: {error}') from error
    return checked(np.asarray(image)[..., ::-1])


def _in_8_bits(image: 'Image') -> 'Image':
    """Scale 16 bits as OpenCV does; Pillow clips them.

    Raises:
        InputError: numbers beyond 16 bits, or floats beyond 255.
    """
    if image.mode not in ('I', 'F') and not image.mode.startswith('I;16'):
        return image
    values = np.asarray(image)
    largest = float(values.max(initial=0))
    deep = image.mode != 'F' and (largest > 255 or image.mode != 'I')
    if not (values.min(initial=0) >= 0 and largest <= (65535 if deep else 255)):
        raise InputError(
            f'the image of Pillow has values up to {largest:g} in mode {image.mode}; '
            'scale them to 0 to 255'
        )
    from PIL import Image

    return Image.fromarray((values / 256 if deep else values).astype(np.uint8))


def _download(address: str) -> bytes:
    """Content at an address of http or https."""
    if not address.startswith(('http://', 'https://')):
        raise InputError(f'{address} cannot be read; give http://, https:// or rtsp://')
    try:
        with urllib.request.urlopen(address, timeout=_TIMEOUT) as answer:
            data = answer.read(LARGEST_FILE + 1)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise InputError(
            f'{address} could not be downloaded ({error}); check the address and the '
            'network, or give a file'
        ) from error
    if len(data) > LARGEST_FILE:
        raise InputError(f'{address} has over 1 GB; reduce the image')
    return data


def _video(place: str | int, name: str) -> Iterator[Frame]:
    """All frames of a file, a stream or a camera."""
    import cv2

    capture = cv2.VideoCapture(place)
    try:
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        rate = capture.get(cv2.CAP_PROP_FPS)
        rate = rate if 0 < rate < 1000 else 25.0  # of a header: any number, or none
        sides = (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        check_size(name, *(max(int(capture.get(side)), 0) for side in sides))
        number = 0
        while True:
            read, image = capture.read()
            if not read:
                break
            yield Frame(name, image, number, rate, count if count > 0 else None)
            number += 1
    finally:
        capture.release()
    if not number:
        raise InputError(
            f'{name} cannot be read as a video: it is cut off, empty, or in a format '
            'that OpenCV does not know'
            if isinstance(place, str)
            else f'{name} cannot be opened; connect it, or give another number'
        )
