import numpy as np
import pytest
import torch

from spineseg.anatomy.phantom.kernels import Kernel, draw_kernel, sharpen_or_smooth


def edge(spacing, kernel, count=41):
    image = torch.zeros(count, 5, 5)
    image[count // 2 :] = 100.0
    return sharpen_or_smooth(image, spacing, kernel)[:, 2, 2].numpy()


def width_mm(profile, spacing):
    """Standard deviation of the edge's derivative."""
    weight = np.diff(profile) / 100.0
    at = np.arange(len(weight)) * spacing
    middle = (weight * at).sum()
    return np.sqrt((weight * (at - middle) ** 2).sum())


@pytest.mark.parametrize("spacing", [0.8, 1.5, 3.0])
@pytest.mark.parametrize("blur_mm", [0.5, 1.2])
def test_an_edge_is_as_wide_as_asked_at_any_voxel_size(spacing, blur_mm):
    profile = edge((spacing,) * 3, Kernel(blur_mm, 0.0, 0.0))
    assert width_mm(profile, spacing) == pytest.approx(blur_mm, rel=0.12)


def test_soft_kernels_do_not_overshoot_and_sharp_ones_do():
    soft, sharp = (edge((1.0,) * 3, Kernel(0.5, share, 0.0)) for share in (0.0, 1.0))
    assert soft.min() >= 0 and soft.max() <= 100.0001
    assert sharp.max() > 105 and sharp.min() < -5


def test_flat_regions_keep_their_hu():
    image = torch.full((7, 6, 5), 42.0)
    out = sharpen_or_smooth(image, (1.0, 1.0, 3.0), Kernel(1.1, 0.8, 0.4))
    assert torch.allclose(out, image, atol=1e-3)


def test_thick_slices_average_along_their_axis_only():
    image = torch.zeros(9, 9, 9)
    image[4, 4, 4] = 100.0
    out = sharpen_or_smooth(image, (1.0, 1.0, 3.5), Kernel(0.0, 0.0, 0.4))
    assert out[4, 4, 3] > 5 and out[3, 4, 4] == 0 and out[4, 4, 4] < 80


def test_the_image_given_is_left_alone():
    image = torch.rand(5, 5, 5)
    before = image.clone()
    sharpen_or_smooth(image, (1.0,) * 3, Kernel(1.0, 0.5, 0.0))
    assert torch.equal(image, before)


def test_about_half_of_the_kernels_overshoot():
    drawn = [draw_kernel(np.random.default_rng(seed)) for seed in range(300)]
    assert 0.4 < np.mean([kernel.overshoot > 0 for kernel in drawn]) < 0.7
    assert max(kernel.blur_mm for kernel in drawn) <= 1.25
