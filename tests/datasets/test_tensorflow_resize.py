"""TensorFlow 1's bilinear resize, against torch's sampling at the same places."""

import numpy as np
import pytest
import torch

from mnv2_mm.datasets import TensorFlowResize


@pytest.mark.parametrize('size', [(30, 20), (80, 60), (53, 37)])
def test_samples_lie_at_multiples_of_the_ratio(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
    done = TensorFlowResize(size)(dict(img=image))
    width, height = size
    # grid_sample has (2 i + 1) / side - 1 for pixel i
    y = (2 * torch.arange(height) * 37 / height + 1) / 37 - 1
    x = (2 * torch.arange(width) * 53 / width + 1) / 53 - 1
    grid = torch.stack(torch.meshgrid(x, y, indexing='xy'), -1)[None].double()
    wanted = torch.nn.functional.grid_sample(
        torch.from_numpy(image).permute(2, 0, 1)[None].double(),
        grid,
        padding_mode='border',
        align_corners=False,
    )
    np.testing.assert_allclose(
        done['img'], wanted[0].permute(1, 2, 0).numpy(), atol=2e-3
    )
    assert done['img'].dtype == np.float32
    assert done['img_shape'] == (height, width)
    assert done['scale_factor'] == (width / 53, height / 37)
