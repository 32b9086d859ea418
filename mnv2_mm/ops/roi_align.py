"""RoIAlign as one sparse matrix, with the results of mmcv's compiled op.

Without its compiled library torchvision computes another, slower RoIAlign. A sparse
product sums each bin without a copy of the sampled pixels.
"""

import torch
from torch import Tensor

from mnv2_mm.utils.errors import InputError


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    **options: float,
) -> None:
    """Fill ``output`` (K, C, h, w) with the mean of each bin of ``rois`` (K, 5).

    Args:
        input: Feature map (B, C, H, W).
        rois: Image index, x1, y1, x2, y2 in pixels of the image.
        output: Result, changed in place.
        argmax_y: Not used; that of the maximum.
        argmax_x: Likewise.
        **options: Those of mmcv's op.

    Raises:
        InputError: The maximum is asked for.
    """
    matrix = _matrix(rois, input.shape, **options)
    rows = input.permute(0, 2, 3, 1).reshape(-1, input.shape[1])
    bins = matrix @ rows.to(matrix.dtype)
    count, channels, high, wide = output.shape
    output.copy_(bins.reshape(count, high, wide, channels).permute(0, 3, 1, 2))


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    **options: float,
) -> None:
    """Fill ``grad_input`` (B, C, H, W) with the gradient of the feature map."""
    images, channels, high, wide = grad_input.shape
    matrix = _matrix(rois, grad_input.shape, **options)
    bins = grad_output.permute(0, 2, 3, 1).reshape(-1, channels)
    rows = matrix.t() @ bins.to(matrix.dtype)
    grad_input.copy_(rows.reshape(images, high, wide, channels).permute(0, 3, 1, 2))


def _matrix(
    rois: Tensor,
    shape: torch.Size,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> Tensor:
    """Weights (K * h * w, B * H * W) of the pixels in each bin, sparse."""
    if pool_mode == 0:
        raise InputError(
            "RoIAlign with pool_mode='max' is not among the stand-ins of mnv2_mm; use "
            "pool_mode='avg', or `bash tools/setup_env.sh --compile-ops`"
        )
    rois = rois.to(torch.promote_types(rois.dtype, torch.float32))
    start, end = (rois[:, 1:] * spatial_scale - 0.5 * aligned).split(2, dim=1)
    size = end - start
    if aligned and not bool((size >= 0).all()):
        raise InputError('RoIAlign: a RoI is negative in width or height')
    if not aligned:
        size = size.clamp(min=1)
    bins = torch.tensor([aligned_width, aligned_height], device=rois.device)
    step = size / bins
    grid = torch.full_like(step, sampling_ratio) if sampling_ratio > 0 else step.ceil()
    # one row for each sample; its number tells its place in the grid and its bin
    points = grid.long()
    counts = points.prod(dim=1) * aligned_height * aligned_width
    roi = torch.arange(len(rois), device=rois.device).repeat_interleave(counts)
    number = torch.arange(len(roi), device=rois.device)
    number -= (counts.cumsum(0) - counts)[roi]
    places = []
    for axis in (0, 1):
        places.append(number % points[roi, axis])
        number = number // points[roi, axis]
    place = torch.stack(places, dim=1)
    bin_ = torch.stack((number % aligned_width, number // aligned_width), dim=1)
    position = start[roi] + bin_ * step[roi] + (place + 0.5) * step[roi] / grid[roi]
    images, _, high, wide = shape
    columns, of_x = _neighbors(position[:, 0], wide)
    lines, of_y = _neighbors(position[:, 1], high)
    lines += (rois[:, 0].long() * high)[roi, None]
    weights = of_y[:, :, None] * of_x[:, None] / grid.prod(dim=1)[roi, None, None]
    pixels = lines[:, :, None] * wide + columns[:, None]
    row = (roi * aligned_height + bin_[:, 1]) * aligned_width + bin_[:, 0]
    return torch.sparse_coo_tensor(
        torch.stack((row[:, None, None].expand_as(pixels), pixels)).reshape(2, -1),
        weights.reshape(-1),
        (len(rois) * aligned_height * aligned_width, images * high * wide),
        check_invariants=True,  # no RoI of an image that is not there
    )


def _neighbors(position: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """The two pixels (N, 2) beside each position (N,) and their weights."""
    inside = (position >= -1) & (position <= length)
    position = position.clamp(0, length - 1)
    low = position.long()
    part = position - low
    pixels = torch.stack((low, (low + 1).clamp(max=length - 1)), dim=1)
    return pixels, torch.stack((1 - part, part), dim=1) * inside[:, None]
