"""ncnn's detections in the form that the graphs of ONNX Runtime have."""

import numpy as np


def to_dets(found: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows of ncnn's DetectionOutput -> boxes with scores, and labels.

    Args:
        found: (1, n, 6): label (the first class is 1), score, x0, y0, x1, y1
            from 0 to 1, the best first.
        size: Width and height of the network input in pixels.

    Returns:
        (1, n, 5), x1, y1, x2, y2 in pixels of the network input and the
        score; and the classes (1, n), the first is 0.
    """
    scale = np.float32([*size, *size])
    boxes = found[..., 2:] * scale
    dets = np.concatenate([boxes, found[..., 1:2]], axis=-1)
    return dets.astype(np.float32), found[..., 0].astype(np.int64) - 1
