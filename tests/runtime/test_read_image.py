"""Images of strangers: each form is read, and what is no image is refused."""

import io
import os
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from image_headers import png_header
from PIL import Image

from mnv2_mm.runtime.read_image import read_image
from mnv2_mm.utils.errors import InputError

PIXELS = np.full((20, 30, 3), (200, 100, 50), np.uint8)  # RGB
RGB = Image.fromarray(PIXELS)
OTHER = Image.fromarray(255 - PIXELS)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    memory = io.BytesIO()
    image.save(memory, kind, **options)
    return memory.getvalue()


def encoded(image: np.ndarray, ending: str) -> bytes:
    return cv2.imencode(ending, image)[1].tobytes()


BGR16 = PIXELS[..., ::-1].astype(np.uint16) * 257
COLOR = {
    'png': saved(RGB, 'PNG'),
    'jpg': saved(RGB, 'JPEG'),
    'CMYK': saved(RGB.convert('CMYK'), 'JPEG'),
    'alpha': saved(RGB.convert('RGBA'), 'PNG'),
    'palette': saved(RGB.convert('P', palette=Image.Palette.ADAPTIVE), 'PNG'),
    'animated': saved(RGB, 'PNG', save_all=True, append_images=[OTHER]),
    'webp': saved(RGB, 'WEBP', save_all=True, append_images=[OTHER], lossless=True),
    'pages': saved(RGB, 'TIFF', save_all=True, append_images=[OTHER]),
    '16 bits': encoded(BGR16, '.png'),
    '16 bits tiff': encoded(BGR16, '.tiff'),
    'bmp': saved(RGB, 'BMP'),
}
GRAY = {
    'one channel': saved(RGB.convert('L'), 'JPEG'),
    'gray alpha': saved(RGB.convert('LA'), 'PNG'),
    'gray 16 bits': encoded(np.full((20, 30), 114 * 257, np.uint16), '.png'),
}


@pytest.mark.parametrize('kind', [*COLOR, *GRAY])
def test_each_form_is_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / 'image'
    path.write_bytes((COLOR | GRAY)[kind])
    wanted = PIXELS[..., ::-1] if kind in COLOR else np.full_like(PIXELS, 124)
    found = read_image(path)
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found.astype(int), wanted.astype(int), atol=12)


BAD = {
    'empty': b'',
    'text': b'no image',
    'page': b'<!DOCTYPE html><html>',
    'cut': COLOR['jpg'][:-40],
    'cut png': COLOR['png'][:-30],
    'many pixels': png_header(30000, 30000),
    'more pixels': png_header(60000, 60000),
    'most pixels': png_header(2**31 - 1, 2**31 - 1),
    'strip': png_header(1, 4000),
    'nothing inside': png_header(300, 200),
}


@pytest.mark.parametrize('kind', BAD)
def test_what_is_no_image_is_refused_without_its_memory(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / 'image.png'
    path.write_bytes(BAD[kind])
    tracemalloc.start()
    with pytest.raises(InputError, match=r'image\.png'):
        read_image(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10**7


def test_what_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tmp_path / 'pipe.png'
    os.mkfifo(pipe)
    for path in (tmp_path, pipe, tmp_path / 'none.png'):
        with pytest.raises(InputError, match='there is no image'):
            read_image(path)
    path = tmp_path / 'image.png'
    path.write_bytes(COLOR['png'])

    def refuse(_: Path) -> bytes:
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr(Path, 'read_bytes', refuse)
    with pytest.raises(InputError, match='Permission denied'):
        read_image(path)
