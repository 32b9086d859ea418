"""YOLOv2's region loss, as Darknet's ``[region]`` layer trains it.

Darknet states gradients, not a loss; this is the function with these gradients.
For each image, with o the objectness, p the class probabilities and S the sum
over the anchors with an object:

* ``loss_object``: 5/2 S (IoU of the prediction with its object - o)^2
* ``loss_noobject``: 1/2 sum of o^2 over the other anchors, without those
  whose box overlaps any object by more than 0.6
* ``loss_coord``: 1/2 S (2 - w h) |code - target|^2, where w h is the object's
  share of the image: small objects count more
* ``loss_class``: - S log p of the right class
* ``loss_prior``: 0.01/2 sum of |code - (1/2, 1/2, 0, 0)|^2 over the anchors
  without object, for the first 12,800 images: it keeps the boxes near the
  anchors at the start

Gradients are a mean over the batch, as in Darknet. Differences: no limit of 30
objects per image, and no class tree (YOLO9000).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.structures.bbox import bbox_overlaps
from mmengine.dist import get_world_size
from torch import Tensor, nn

from mnv2_mm.models.baselines.yolov2_boxes import anchor_grid, decode, encode
from mnv2_mm.utils.arguments import checked_arguments


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
        size: tuple[int, int],
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
    ) -> dict[str, Tensor]:
        """The losses of a batch, a mean over its images.

        Args:
            predictions: Box code, objectness and class logits, (B, N,
                5 + classes), in the order of ``yolov2_boxes.anchor_grid``.
            anchors: Shapes (A, 2) in cells.
            size: Rows and columns of the map.
            boxes: Objects (n, 4) of each image in cells.
            labels: Classes (n,) of each image.
        """
        corners, shapes = anchor_grid(size, anchors)
        decoded = decode(predictions[..., :4].detach(), corners, shapes)
        losses = [
            self.forward_single(
                *image, anchors, size=size, boxes=own_boxes, labels=own_labels
            )
            for *image, own_boxes, own_labels in zip(
                predictions, decoded, boxes, labels, strict=True
            )
        ]
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
        anchors: Tensor,
        *,
        size: tuple[int, int],
        boxes: Tensor,
        labels: Tensor,
    ) -> dict[str, Tensor]:
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
        free = F.pad(overlaps, (1, 0)).amax(dim=1) <= self.ignore_iou
        free = free & ~taken
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
