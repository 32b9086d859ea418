"""YOLOv2's anchors, box code and loss: Darknet's ``[region]`` layer.

"YOLO9000", section 2, "Direct location prediction". All lengths are in cells
of the 32-pixel grid. An anchor of shape (p_w, p_h) in the cell whose top left
corner is (c_x, c_y) predicts

    x = c_x + sigmoid(t_x)    w = p_w * exp(t_w)
    y = c_y + sigmoid(t_y)    h = p_h * exp(t_h)

mmdet's coder and anchors are YOLOv3's. Darknet states gradients, not a loss; this
is the function with these gradients, a mean over the batch. For each image, with o
the objectness, p the class probabilities and S the sum over the anchors with an
object:

* ``loss_object``: 5/2 S (IoU of the prediction with its object - o)^2
* ``loss_noobject``: 1/2 sum of o^2 over the other anchors, without those
  whose box overlaps any object by more than 0.6
* ``loss_coord``: 1/2 S (2 - w h) |code - target|^2, where w h is the object's
  share of the image: small objects count more
* ``loss_class``: - S log p of the right class
* ``loss_prior``: 0.01/2 sum of |code - (1/2, 1/2, 0, 0)|^2 over the anchors
  without object, for the first 12,800 images

Differences to Darknet: no limit of 30 objects per image, no class tree (YOLO9000).
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.structures.bbox import bbox_overlaps
from mmengine.dist import get_world_size
from torch import Tensor, nn

from mnv2_mm.utils.arguments import checked_arguments
from mnv2_mm.utils.errors import InputError

#: Pixels of a cell.
STRIDE = 32
#: Width and height in cells, of Darknet's yolov2.cfg and yolov2-voc.cfg.
COCO_ANCHORS = (
    (0.57273, 0.677385),
    (1.87446, 2.06253),
    (3.33843, 5.47434),
    (7.88282, 3.52778),
    (9.77052, 9.16828),
)
VOC_ANCHORS = (
    (1.3221, 1.73145),
    (3.19275, 4.00944),
    (5.05587, 8.09892),
    (9.47112, 4.84053),
    (11.2364, 10.0071),
)
#: Limit of t_w and t_h, so that boxes stay finite.
MAX_LOG_SCALE = 8.0


def anchor_tensor(anchors: Sequence[Sequence[float]]) -> Tensor:
    """Check anchors and return them as (A, 2), width and height in cells."""
    shapes = [tuple(anchor) for anchor in anchors]
    if not shapes or any(len(s) != 2 or min(s) <= 0 for s in shapes):
        raise InputError(
            f'anchors={shapes} must be pairs of width and height in cells of '
            f'{STRIDE} pixels, for example {COCO_ANCHORS}'
        )
    return torch.tensor(shapes, dtype=torch.float32)


def anchor_grid(size: Sequence[int], anchors: Tensor) -> tuple[Tensor, Tensor]:
    """All anchors of a map: rows, then columns, then shapes.

    ``size`` is (rows, columns), ``anchors`` (A, 2) in cells. Returns the top
    left corners of the cells (N, 2) as x, y, and shapes (N, 2) as w, h, with
    N = rows * columns * A.
    """
    rows, columns = (torch.arange(side).to(anchors) for side in size)
    corners = torch.cartesian_prod(rows, columns).flip(1)
    shapes = anchors.repeat(len(corners), 1)
    return corners.repeat_interleave(len(anchors), dim=0), shapes


def decode(codes: Tensor, corners: Tensor, shapes: Tensor) -> Tensor:
    """Codes (..., N, 4) as t_x, t_y, t_w, t_h -> boxes (..., N, 4) in cells."""
    centers = corners + codes[..., :2].sigmoid()
    halves = shapes * codes[..., 2:].clamp(max=MAX_LOG_SCALE).exp() / 2
    return torch.cat([centers - halves, centers + halves], dim=-1)


def encode(
    boxes: Tensor, anchors: Tensor, size: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Assign objects (n, 4) in cells to one anchor each; compute the targets.

    The cell that holds the center is responsible, and in it the anchor whose
    shape has the largest IoU with the object's, both centered. Returns the
    index in :func:`anchor_grid` (n,), and targets (n, 4) of sigmoid(t_x),
    sigmoid(t_y), t_w, t_h.
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


@checked_arguments
class RegionLoss(nn.Module):
    """The loss of a batch; the defaults are those of ``yolov2.cfg``.

    Args:
        object_scale: Weight of the objectness of anchors with an object.
        noobject_scale: Weight of the objectness of the others.
        coord_scale: Weight of the box codes.
        class_scale: Weight of the classes.
        ignore_iou: The objectness of an anchor without object does not count
            where its box overlaps an object by more.
        prior_images: Length of ``loss_prior``, in images of all processes; 0
            leaves it out.
        prior_scale: Weight of ``loss_prior``.
    """

    seen: Tensor

    def __init__(
        self,
        object_scale: float = 5.0,
        noobject_scale: float = 1.0,
        *,
        coord_scale: float = 1.0,
        class_scale: float = 1.0,
        ignore_iou: float = 0.6,
        prior_images: int = 12800,
        prior_scale: float = 0.01,
    ) -> None:
        super().__init__()
        self.object_scale = object_scale
        self.noobject_scale = noobject_scale
        self.coord_scale = coord_scale
        self.class_scale = class_scale
        self.ignore_iou = ignore_iou
        self.prior_images = prior_images
        self.prior_scale = prior_scale
        #: Images seen in training; in the checkpoint, for a resumed run.
        self.register_buffer('seen', torch.zeros((), dtype=torch.long))

    def forward(
        self,
        predictions: Tensor,
        anchors: Tensor,
        *,
        size: Sequence[int],
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
    ) -> dict[str, Tensor]:
        """The losses of a batch, a mean over its images.

        ``predictions`` (B, N, 5 + classes) are box code, objectness and class
        logits, in the order of :func:`anchor_grid`; ``anchors`` (A, 2) and, per
        image, ``boxes`` (n, 4) are in cells.
        """
        decoded = decode(predictions[..., :4].detach(), *anchor_grid(size, anchors))
        images = zip(predictions, decoded, boxes, labels, strict=True)
        losses = [self.forward_single(*image, anchors, size) for image in images]
        if self.training:
            self.seen += len(predictions) * get_world_size()
        return {
            name: torch.stack([loss[name] for loss in losses]).mean()
            for name in losses[0]
        }

    def forward_single(
        self,
        prediction: Tensor,
        decoded: Tensor,
        boxes: Tensor,
        labels: Tensor,
        anchors: Tensor,
        size: Sequence[int],
    ) -> dict[str, Any]:
        """The losses of one image, whose predicted boxes (N, 4) are ``decoded``."""
        # the loss is on offsets in the cell and log scales
        code = torch.cat([prediction[:, :2].sigmoid(), prediction[:, 2:4]], dim=1)
        objectness = prediction[:, 4].sigmoid()

        index, targets = encode(boxes, anchors, size)
        # If objects share an anchor, the last one counts, also on a GPU, whose
        # order of writing is not fixed.
        owner = index.new_full((len(prediction),), -1).scatter_reduce(
            0, index, torch.arange(len(index), device=index.device), 'amax'
        )
        taken = owner >= 0
        object_of = owner[taken]
        targets, labels = targets[object_of], labels[object_of]

        overlaps = bbox_overlaps(decoded, boxes)
        # a column of zeros, since an image may have no objects
        free = ~taken & (F.pad(overlaps, (1, 0)).amax(dim=1) <= self.ignore_iou)
        achieved = overlaps[taken, object_of]
        sides = boxes[object_of, 2:] - boxes[object_of, :2]
        weights = 2 - sides.prod(dim=1) / (size[0] * size[1])

        coord = (code[taken] - targets).square().sum(dim=1)
        with_object = (achieved - objectness[taken]).square().sum()
        entropy = F.cross_entropy(prediction[taken, 5:], labels, reduction='sum')
        losses = dict(
            loss_coord=self.coord_scale / 2 * (weights * coord).sum(),
            loss_object=self.object_scale / 2 * with_object,
            loss_noobject=self.noobject_scale / 2 * objectness[free].square().sum(),
            loss_class=self.class_scale * entropy,
        )
        if self.prior_images:
            center = code.new_tensor([0.5, 0.5, 0.0, 0.0])
            pull = (code[~taken] - center).square().sum()
            # a product, since a condition would wait for the GPU
            active = self.seen < self.prior_images
            losses['loss_prior'] = self.prior_scale / 2 * pull * active
        return losses
