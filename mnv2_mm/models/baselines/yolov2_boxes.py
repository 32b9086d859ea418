"""YOLOv2's anchors and box code.

"YOLO9000", section 2, "Direct location prediction". All lengths are in cells
of the 32-pixel grid. An anchor of shape (p_w, p_h) in the cell whose top left
corner is (c_x, c_y) predicts

    x = c_x + sigmoid(t_x)    w = p_w * exp(t_w)
    y = c_y + sigmoid(t_y)    h = p_h * exp(t_h)

mmdet's YOLOBBoxCoder and YOLOAnchorGenerator are YOLOv3's: anchors in pixels,
matching by IoU thresholds, a loss on another code.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mnv2_mm.utils.errors import InputError

#: Pixels of a cell.
STRIDE = 32
#: Width and height in cells, of Darknet's yolov2.cfg.
COCO_ANCHORS = (
    (0.57273, 0.677385),
    (1.87446, 2.06253),
    (3.33843, 5.47434),
    (7.88282, 3.52778),
    (9.77052, 9.16828),
)
#: Of yolov2-voc.cfg.
VOC_ANCHORS = (
    (1.3221, 1.73145),
    (3.19275, 4.00944),
    (5.05587, 8.09892),
    (9.47112, 4.84053),
    (11.2364, 10.0071),
)
#: Limit of t_w and t_h, so that boxes stay finite; exp(8) anchors are wider
#: than any image.
MAX_LOG_SCALE = 8.0


def anchor_tensor(anchors: Sequence[Sequence[float]]) -> Tensor:
    """Check anchors and return them as (A, 2), width and height in cells."""
    shapes = [tuple(anchor) for anchor in anchors]
    if not shapes or any(
        len(shape) != 2 or not all(0 < side < 1000 for side in shape)
        for shape in shapes
    ):
        raise InputError(
            f'anchors={shapes} must be pairs of width and height in cells of '
            f'{STRIDE} pixels, for example {COCO_ANCHORS}'
        )
    return torch.tensor(shapes, dtype=torch.float32)


def anchor_grid(size: tuple[int, int], anchors: Tensor) -> tuple[Tensor, Tensor]:
    """All anchors of a map: rows, then columns, then shapes.

    Args:
        size: Rows and columns of the map.
        anchors: Shapes (A, 2) in cells.

    Returns:
        Top left corners of the cells (N, 2) as x, y, and shapes (N, 2) as
        w, h, with N = rows * columns * A.
    """
    rows, columns = size
    y, x = torch.meshgrid(
        torch.arange(rows, dtype=anchors.dtype, device=anchors.device),
        torch.arange(columns, dtype=anchors.dtype, device=anchors.device),
        indexing='ij',
    )
    corners = torch.stack([x, y], dim=-1).reshape(-1, 1, 2)
    corners = corners.expand(-1, len(anchors), -1).reshape(-1, 2)
    return corners, anchors.repeat(rows * columns, 1)


def decode(codes: Tensor, corners: Tensor, shapes: Tensor) -> Tensor:
    """Codes (..., N, 4) as t_x, t_y, t_w, t_h -> boxes (..., N, 4) in cells.

    ``corners`` and ``shapes`` are those of :func:`anchor_grid`; boxes are
    x1, y1, x2, y2.
    """
    centers = corners + codes[..., :2].sigmoid()
    halves = shapes * codes[..., 2:].clamp(max=MAX_LOG_SCALE).exp() / 2
    return torch.cat([centers - halves, centers + halves], dim=-1)


def encode(
    boxes: Tensor, anchors: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Assign each object to one anchor, and compute its targets.

    The cell that holds the center is responsible, and in it the anchor whose
    shape has the largest IoU with the object's, both centered.

    Args:
        boxes: Objects (n, 4) as x1, y1, x2, y2 in cells.
        anchors: Shapes (A, 2) in cells.
        size: Rows and columns of the map.

    Returns:
        Index of the anchor in :func:`anchor_grid` (n,), and targets (n, 4)
        of sigmoid(t_x), sigmoid(t_y), t_w, t_h.
    """
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    sides = boxes[:, 2:] - boxes[:, :2]
    rows, columns = size
    # a center on the right or lower edge belongs to the last cell
    column = centers[:, 0].floor().clamp(0, columns - 1)
    row = centers[:, 1].floor().clamp(0, rows - 1)
    overlap = torch.minimum(sides[:, None], anchors[None]).prod(dim=-1)
    union = sides.prod(dim=-1)[:, None] + anchors.prod(dim=-1) - overlap
    best = (overlap / union).argmax(dim=1)
    index = (row * columns + column).long() * len(anchors) + best
    offsets = centers - torch.stack([column, row], dim=1)
    return index, torch.cat([offsets, (sides / anchors[best]).log()], dim=1)
