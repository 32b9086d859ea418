"""RoIAlign against mmcv's compiled op, and by its definition."""

import itertools

import pytest
import torch

from mnv2_mm import ops
from mnv2_mm.utils.errors import InputError


def run(library, features, rois, grads, **changes):
    """Result and gradient of the features for gradients ``grads`` (K, C, h, w)."""
    options = dict(
        aligned_height=grads.shape[2],
        aligned_width=grads.shape[3],
        spatial_scale=1.0,
        sampling_ratio=0,
        pool_mode=1,
        aligned=True,
    )
    options |= changes
    output, back, empty = (
        torch.zeros_like(grads),
        torch.zeros_like(features),
        features.new_zeros(0),
    )
    library.roi_align_forward(features, rois, output, empty, empty, **options)
    library.roi_align_backward(grads, rois, empty, empty, back, **options)
    return output, back


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('aligned', [True, False])
def test_it_is_that_of_the_compiled_op(compiled, aligned, dtype):
    torch.manual_seed(0)
    for count, ratio, scale in itertools.product((0, 1, 20), (0, 2), (0.25, 0.0625)):
        corners = torch.rand(count, 2, dtype=dtype) * 40 - 10  # also outside
        sides = torch.rand(count, 2, dtype=dtype) * 30
        sides[:1] = 0
        image = torch.randint(0, 2, (count, 1)).to(dtype)
        rois = torch.cat((image, corners / scale, (corners + sides) / scale), dim=1)
        features = torch.randn(2, 5, 17, 23, dtype=dtype)
        grads = torch.randn(count, 5, 3, 7, dtype=dtype)
        options = dict(spatial_scale=scale, sampling_ratio=ratio, aligned=aligned)
        results, expected = (
            run(library, features, rois, grads, **options)
            for library in (ops, compiled)
        )
        for result, reference in zip(results, expected, strict=True):
            torch.testing.assert_close(result, reference, rtol=1e-4, atol=2e-5)


def test_bins_of_a_ramp_are_their_centers():
    """On a linear feature map the mean of a bin is the value at its center."""
    ramp = torch.arange(12.0).expand(1, 1, 12, 12)
    roi = torch.tensor([[0, 2, 2, 8, 8.0]])
    output, _ = run(ops, ramp, roi, torch.ones(1, 1, 3, 3), aligned=False)
    torch.testing.assert_close(output[0, 0, 0], torch.tensor([3.0, 5, 7]))
    output, _ = run(ops, ramp, roi, torch.ones(1, 1, 3, 3))
    torch.testing.assert_close(output[0, 0, 0], torch.tensor([2.5, 4.5, 6.5]))


def test_the_gradient_is_the_transpose():
    torch.manual_seed(0)
    features, grads = torch.randn(2, 3, 9, 9), torch.randn(2, 3, 2, 2)
    rois = torch.tensor([[1, 0, 1, 6, 7], [0, 2, 2, 4, 8.0]])
    output, back = run(ops, features, rois, grads)
    torch.testing.assert_close((output * grads).sum(), (features * back).sum())


@pytest.mark.parametrize(
    ('changes', 'named'), [(dict(pool_mode=0), "'max'"), (dict(), 'negative')]
)
def test_what_it_does_not_compute_is_refused(changes, named):
    roi = torch.tensor([[0, 8, 2, 2, 8.0]])
    with pytest.raises(InputError, match=named):
        run(ops, torch.ones(1, 1, 9, 9), roi, torch.ones(1, 1, 2, 2), **changes)


def test_an_image_that_is_not_there_is_refused():
    roi = torch.tensor([[1, 2, 2, 8, 8.0]])
    with pytest.raises(RuntimeError, match='size is inconsistent'):
        run(ops, torch.ones(1, 1, 9, 9), roi, torch.ones(1, 1, 2, 2))
