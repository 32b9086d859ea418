"""Masks of exported models against torch's interpolation, step by step."""

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from mnv2_mm.runtime.masks import interpolation, resizing, to_mask


@pytest.mark.parametrize('align_corners', [True, False])
@pytest.mark.parametrize(
    ('old', 'new'), [(33, 513), (5, 5), (9, 4), (7, 1), (1, 3), (2, 9)]
)
def test_an_axis_is_resized_as_torch_does(old, new, align_corners):
    values = torch.rand(1, 1, old, generator=torch.manual_seed(0))
    wanted = interpolate(
        values[..., None], (new, 1), mode='bilinear', align_corners=align_corners
    )[0, 0, :, 0]
    found = interpolation(old, new, align_corners=align_corners)
    np.testing.assert_allclose(found @ values[0, 0].numpy(), wanted, atol=1e-5)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize('align_corners', [True, False])
@pytest.mark.parametrize('resized', [True, False])
def test_a_mask_is_that_of_the_steps(resized, align_corners):
    """Logits to the input of 66x50, 61x47 of it image, to 90x31."""
    torch.manual_seed(0)
    side = (66, 50) if resized else (9, 7)
    logits = torch.randn(1, 5, *side)
    how = dict(mode='bilinear', align_corners=align_corners)
    wanted = logits if resized else interpolate(logits, (66, 50), **how)
    wanted = interpolate(wanted[..., :61, :47], (90, 31), **how)
    info = dict(
        ending=dict(resize=resized, argmax=False, align_corners=align_corners),
        preprocessing=dict(pad_to=[50, 66], pad_multiple=1),
    )
    found = to_mask(logits[0].numpy(), (90, 31), (61, 47), info)
    best = wanted[0].topk(2, dim=0).values
    clear = (best[0] - best[1] > 1e-5).numpy()
    assert clear.mean() > 0.99
    assert (found == wanted[0].argmax(0).numpy())[clear].all()


def test_a_chain_is_one_matrix():
    assert resizing([9, 66], 61, 90, align_corners=True).shape == (90, 9)
