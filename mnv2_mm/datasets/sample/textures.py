"""Fills and photometric noise for the generated sample scenes.

A texture is a map of weights in 0..1 that blends two colors. Backgrounds,
objects and clutter take theirs from the same list, so that a texture alone
never tells an object from its surroundings.

All randomness comes from the numpy Generator in their arguments.
"""

from colorsys import hsv_to_rgb

import cv2
import numpy as np

#: Backgrounds are paler than most things in front of them.
BACKGROUND_SATURATION = 0.35
TEXTURES = ('plain', 'gradient', 'stripes', 'checker', 'dots', 'blotches')


def muted(surface: np.ndarray, share: float) -> np.ndarray:
    """``surface`` (..., 3) with only ``share`` (0 to 1) of its saturation."""
    gray = surface.mean(axis=-1, keepdims=True)
    return gray + (surface - gray) * np.float32(share)


def contrasting_color(
    rng: np.random.Generator, other: np.ndarray, *, distance: float
) -> np.ndarray:
    """A random BGR color (3,) at least ``distance`` (Euclidean) from ``other``.

    The farthest of 16 tries where none is so far. Each call draws the same number
    of values, so later ones do not depend on the last bit of ``other``.
    """
    colors = rng.uniform(0, 255, (16, 3)).astype(np.float32)
    distances = np.linalg.norm(colors - other, axis=1)
    far = distances >= distance
    return colors[far.argmax() if far.any() else distances.argmax()]


def typical_color(
    rng: np.random.Generator, hue: float, other: np.ndarray, *, distance: float
) -> np.ndarray | None:
    """A strong BGR color (3,) of a hue in degrees (0 is red, 120 green).

    It is at least ``distance`` (Euclidean) from ``other``; None where none of 16
    shades is.
    """
    hues = (hue + rng.uniform(-14, 14, 16)) / 360 % 1
    shades = zip(
        hues, rng.uniform(0.6, 1.0, 16), rng.uniform(0.5, 1.0, 16), strict=True
    )
    colors = np.array([hsv_to_rgb(*shade)[::-1] for shade in shades]) * 255
    far = np.linalg.norm(colors - other, axis=1) >= distance
    return colors[far.argmax()].astype(np.float32) if far.any() else None


def weights(
    kind: str, rng: np.random.Generator, *, size: tuple[int, int]
) -> np.ndarray:
    """The blending weights (H, W), float32 in 0..1, of one of ``TEXTURES``.

    Period, direction and phase are random; size is (width, height) in pixels.
    """
    width, height = size
    if kind == 'plain':
        return np.zeros((height, width), np.float32)
    if kind == 'blotches':
        return smooth_noise(rng, size=size, cells=int(rng.integers(3, 9)))
    angle = rng.uniform(0, np.pi)
    x = np.arange(width, dtype=np.float32)[None, :]
    y = np.arange(height, dtype=np.float32)[:, None]
    u = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
    if kind == 'gradient':
        return (u - u.min()) / (u.max() - u.min())
    v = y * np.float32(np.cos(angle)) - x * np.float32(np.sin(angle))
    period = np.float32(rng.uniform(6, 24))
    phase = np.float32(rng.uniform(0, 1))
    u, v = u / period + phase, v / period
    if kind == 'stripes':
        # clipped wave: flat bands with an edge of one or two pixels
        return np.clip(0.5 + 1.5 * np.sin(2 * np.pi * u), 0, 1)
    if kind == 'checker':
        return ((np.floor(u) + np.floor(v)) % 2).astype(np.float32)
    from_center = np.hypot(u % 1 - 0.5, v % 1 - 0.5)  # dots
    return np.clip((0.32 - from_center) * period, 0, 1)


def smooth_noise(
    rng: np.random.Generator, *, size: tuple[int, int], cells: int
) -> np.ndarray:
    """Low-frequency noise (H, W), float32 in 0..1, of cells x cells values."""
    grid = rng.uniform(0, 1, (cells, cells)).astype(np.float32)
    noise = cv2.resize(grid, size, interpolation=cv2.INTER_CUBIC)
    return np.clip(noise, 0, 1)


def fill(
    rng: np.random.Generator,
    color: np.ndarray,
    *,
    size: tuple[int, int],
    contrast: float,
) -> np.ndarray:
    """A randomly textured surface (H, W, 3), float32 BGR, of two colors.

    ``color`` is the main one, from which the second differs by up to ``contrast``
    in each channel.
    """
    kind = TEXTURES[rng.integers(len(TEXTURES))]
    offset = rng.uniform(-contrast, contrast, 3).astype(np.float32)
    other = np.clip(color + offset, 0, 255)
    weight = weights(kind, rng, size=size)[..., None]
    return color + (other - color) * weight


def background(rng: np.random.Generator, *, size: tuple[int, int]) -> np.ndarray:
    """A background (H, W, 3), float32 BGR: a texture, blotches, grain."""
    color = rng.uniform(0, 255, 3).astype(np.float32)
    surface = fill(rng, color, size=size, contrast=90)
    blotch = smooth_noise(rng, size=size, cells=int(rng.integers(3, 12)))
    tint = rng.uniform(-70, 70, 3).astype(np.float32)
    surface = surface + (blotch[..., None] - 0.5) * tint
    surface = muted(surface, BACKGROUND_SATURATION)
    grain = rng.standard_normal((size[1], size[0]), dtype=np.float32)
    return surface + grain[..., None] * np.float32(rng.uniform(0, 14))


def photograph(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Simulate a poor camera: an image (H, W, 3), float32 BGR, to uint8.

    Uneven light, brightness and contrast, sometimes a slight blur, and sensor noise.
    """
    size = image.shape[1], image.shape[0]
    light = weights('gradient', rng, size=size)[..., None]
    image = image * (1 + (light - 0.5) * np.float32(rng.uniform(0, 0.6)))
    gain, bias = rng.uniform(0.8, 1.15), rng.uniform(-20, 20)
    image = image * np.float32(gain) + np.float32(bias)
    if rng.uniform() < 0.3:
        image = cv2.GaussianBlur(image, (3, 3), rng.uniform(0.5, 1.0))
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    image = image + noise * np.float32(rng.uniform(1, 9))
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
