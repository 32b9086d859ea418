"""Draw the prediction of an exported model on its image, with OpenCV."""

from collections.abc import Mapping

import numpy as np


def draw(
    image: np.ndarray, found: Mapping, info: Mapping, score_thr: float = 0.3
) -> np.ndarray:
    """Draw a prediction on a copy of its image.

    Args:
        image: (H, W, 3) uint8, BGR as OpenCV reads it.
        found: What :class:`~mnv2_mm.runtime.model.ExportedModel` returns.
        info: Content of model.json, for class names and colors.
        score_thr: Boxes with a lower score are not drawn.
    """
    import cv2

    drawn = image.copy()
    size = max(0.4, min(image.shape[:2]) / 800)
    if 'mask' in found:
        return _paint(drawn, found['mask'], info)
    if 'boxes' in found:
        for box, score, label in zip(
            found['boxes'], found['scores'], found['labels'], strict=True
        ):
            if score >= score_thr:
                x1, y1, x2, y2 = (round(float(side)) for side in box)
                color = tuple(info['palette'][label][::-1])
                cv2.rectangle(drawn, (x1, y1), (x2, y2), color, 2)
                text = f'{info["classes"][label]} {score:.2f}'
                _write(drawn, text, (x1 + 2, max(y1, 0)), size)
        return drawn
    shares = found['probabilities']
    for row, label in enumerate(np.argsort(-shares, kind='stable')[:5]):
        text = f'{info["classes"][label]} {shares[label]:.2f}'
        _write(drawn, text, (4, round(4 + row * 30 * size)), size)
    return drawn


def _paint(drawn: np.ndarray, mask: np.ndarray, info: Mapping) -> np.ndarray:
    """Blend the colors of the classes in; the background is left unchanged."""
    table = np.array(info['palette'], np.uint8)[:, ::-1].copy()
    if 'background' in info['classes']:
        table[info['classes'].index('background')] = 0
    seen = table[mask].any(axis=-1, keepdims=True)
    return np.where(seen, drawn // 2 + table[mask] // 2, drawn)


def _write(drawn: np.ndarray, text: str, corner: tuple[int, int], size: float) -> None:
    """Write white text on black, to the right of and below a corner."""
    import cv2

    font = cv2.FONT_HERSHEY_SIMPLEX
    (width, height), _ = cv2.getTextSize(text, font, size, 1)
    x, y = corner
    cv2.rectangle(drawn, (x, y), (x + width, y + height + 4), (0, 0, 0), -1)
    place, white = (x, y + height + 1), (255, 255, 255)
    cv2.putText(drawn, text, place, font, size, white, 1, cv2.LINE_AA)
