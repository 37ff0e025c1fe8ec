import itertools
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from spineseg.data import geometry, interpolation

SHAPE = (13, 18, 9)
ORIENTATIONS = [
    "".join(signs[axis] for axis, signs in zip(order, choice, strict=True))
    for order in itertools.permutations(range(3))
    for choice in itertools.product(*([[("L", "P", "I"), ("R", "A", "S")]] * 3))
]


def affine_for(orientation, spacing=(1.0, 1.0, 1.0), origin=(5.0, -7.0, 11.0)):
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, letter in enumerate(orientation):
        world = next(w for w, pair in enumerate(("LR", "PA", "IS")) if letter in pair)
        affine[world, axis] = spacing[axis] * (1 if letter in "RAS" else -1)
    affine[:3, 3] = origin
    return affine


def rotated(angles, affine):
    turn = np.eye(4)
    turn[:3, :3] = nib.eulerangles.euler2mat(*angles)
    return turn @ affine


def blobs(seed=0, shape=SHAPE, classes=6):
    """Smooth label regions that touch each other."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((1, classes, 5, 5, 5), generator=generator)
    return F.interpolate(noise, shape, mode="trilinear")[0].argmax(0).to(torch.uint8)


def by_hand(labels, affine, target_affine, shape, close=1e-5):
    """One-hot, trilinear with repeated border, argmax; background outside. In float64, straight from the definition.

    Also says where the answer is a matter of rounding: shares closer than `close`, or the edge of the scan.
    """
    step = np.linalg.inv(affine) @ target_affine
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1) @ step[:3, :3].T + step[:3, 3]
    size = np.array(labels.shape)
    outside = ((index < -0.5 - 1e-4) | (index > size - 0.5 + 1e-4)).any(-1)
    at_edge = (np.minimum(np.abs(index + 0.5), np.abs(index - size + 0.5)) < close).any(-1) & (close > 1e-4)
    index = np.where(np.abs(index - np.rint(index)) < 1e-4, np.rint(index), index)
    index = np.clip(index, 0, size - 1)
    low = np.minimum(np.floor(index).astype(int), np.maximum(size - 2, 0))
    shares = np.zeros((int(labels.max()) + 1, *shape))
    classes = np.arange(len(shares)).reshape(-1, 1, 1, 1)
    for corner in itertools.product((0, 1), repeat=3):
        weight = np.prod(np.where(corner, index - low, 1 - (index - low)), -1)
        i, j, k = np.moveaxis(np.minimum(low + corner, size - 1), -1, 0)
        shares += weight * (np.asarray(labels)[i, j, k] == classes)
    ranked = np.sort(shares, 0)
    tied = (ranked[-1] - ranked[-2] < close) & ~outside
    return np.where(outside, 0, shares.argmax(0)), tied | at_edge


def test_there_are_48_orientations():
    assert len(set(ORIENTATIONS)) == 48


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_canonical_axes_match_nibabel_in_every_orientation(orientation):
    affine = affine_for(orientation, (0.7, 1.3, 2.9))
    array = np.random.default_rng(0).integers(-1000, 1000, SHAPE).astype(np.int16)
    assert geometry.orientation_of(affine) == orientation
    assert geometry.spacing_of(affine) == pytest.approx((0.7, 1.3, 2.9))
    moved, moved_affine = geometry.to_canonical(array, affine)
    reference = nib.as_closest_canonical(nib.Nifti1Image(array, affine))
    assert np.array_equal(moved, np.asanyarray(reference.dataobj)) and np.allclose(moved_affine, reference.affine)
    tensor, tensor_affine = geometry.to_canonical(torch.from_numpy(array), affine)
    assert np.array_equal(tensor.numpy(), moved) and np.array_equal(tensor_affine, moved_affine)


@settings(max_examples=60, deadline=None)
@given(
    spacing=st.tuples(*[st.floats(0.5, 4)] * 3), target=st.floats(0.5, 9), angles=st.tuples(*[st.floats(-0.6, 0.6)] * 3)
)
def test_a_working_grid_covers_the_scan_and_keeps_its_centre_and_directions(spacing, target, angles):
    affine = rotated(angles, affine_for("LPS", spacing))
    grid, shape = geometry.grid_at(affine, SHAPE, target)
    assert geometry.spacing_of(grid) == pytest.approx((target,) * 3)
    centre = affine @ [*(np.array(SHAPE) - 1) / 2, 1]
    assert np.allclose(grid @ [*(np.array(shape) - 1) / 2, 1], centre)
    extent, wanted = np.array(shape) * target, np.array(SHAPE) * spacing
    assert (extent >= wanted - 2e-3 * target).all() and (extent < wanted + target).all()
    assert np.allclose(grid[:3, :3] / target, affine[:3, :3] / spacing)


def test_a_working_grid_of_a_sheared_scan_is_right_angled():
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[0, 2] = 0.06
    grid, shape = geometry.grid_at(affine, (30, 30, 30), 1.5)
    assert geometry.shear_degrees(affine) > 1 and geometry.shear_degrees(grid) < 1e-9
    corners = np.array([[*c, 1] for c in itertools.product((0, 29), repeat=3)])
    index = (corners @ np.linalg.solve(grid, affine).T)[:, :3]
    assert (index > -0.5).all() and (index < np.array(shape) - 0.5).all()


@pytest.mark.parametrize("target", [0.5, 0.8, 1.0, 1.7, 3.0])
@pytest.mark.parametrize("orientation", ["RAS", "LPS", "PIR", "SLA"])
def test_label_maps_match_a_one_hot_vote_voxel_for_voxel(orientation, target):
    affine, labels = affine_for(orientation, (1.0, 0.8, 2.3)), blobs()
    canonical = geometry.to_canonical(labels, affine)[1]
    grid, shape = geometry.grid_at(canonical, geometry.to_canonical(labels, affine)[0].shape, target)
    result = geometry.resample_labels(labels, affine, grid, shape).numpy()
    expected, tied = by_hand(labels.numpy(), affine, grid, shape)
    assert tied.mean() < 0.2
    assert np.count_nonzero((result != expected) & ~tied) == 0


@settings(max_examples=40, deadline=None)
@given(
    angles=st.tuples(*[st.floats(-0.7, 0.7)] * 3),
    spacing=st.tuples(*[st.floats(0.6, 2.5)] * 3),
    seed=st.integers(0, 99),
)
def test_oblique_label_maps_match_a_one_hot_vote(angles, spacing, seed):
    labels, affine = blobs(seed), affine_for("RAS", spacing)
    target = rotated(angles, affine_for("LPS", (1.1, 0.9, 1.3), origin=(9, 8, 12)))
    result = geometry.resample_labels(labels, affine, target, (12, 11, 10)).numpy()
    expected, tied = by_hand(labels.numpy(), affine, target, (12, 11, 10), close=1e-2)
    assert np.count_nonzero((result != expected) & ~tied) == 0


def test_a_single_resampled_class_agrees_with_torch_interpolate():
    labels = (blobs(classes=2, shape=(16, 16, 16)) > 0).to(torch.uint8)
    grid, shape = geometry.grid_at(np.eye(4), labels.shape, 16 / 23)
    expected = F.interpolate(labels[None, None].float(), shape, mode="trilinear")[0, 0]
    clear = (expected - 0.5).abs() > 1e-5
    result = geometry.resample_labels(labels, np.eye(4), grid, shape)
    assert shape == (23, 23, 23) and torch.equal(result[clear], (expected > 0.5)[clear].to(torch.uint8))


def test_downward_label_maps_take_the_majority():
    labels = torch.zeros((6, 6, 6), dtype=torch.uint8)
    labels[:3, :3, :3] = 7
    labels[0, 0, :2] = 8
    grid, shape = geometry.grid_at(np.eye(4), labels.shape, 3.0)
    result = geometry.resample_labels(labels, np.eye(4), grid, shape, antialias=True)
    assert shape == (2, 2, 2) and result[0, 0, 0] == 7 and result.sum() == 7


def test_an_empty_label_map_stays_empty_and_what_lies_outside_is_background():
    far = np.diag([1.0, 1, 1, 1])
    far[:3, 3] = 500
    assert not geometry.resample_labels(torch.zeros(SHAPE, dtype=torch.uint8), np.eye(4), np.eye(4), SHAPE).any()
    full = torch.full(SHAPE, 3, dtype=torch.uint8)
    for move in (geometry.resample_labels, geometry.nearest_labels):
        assert not move(full, np.eye(4), far, SHAPE).any()
        assert not move(full, np.eye(4), rotated((0.3, 0, 0), far), SHAPE).any()
    larger = np.eye(4)
    larger[:3, 3] = -2
    result = geometry.resample_labels(full, np.eye(4), larger, (20, 30, 20))
    assert int((result == 3).sum()) == full.numel() and (result[2:15, 2:20, 2:11] == 3).all()


@pytest.mark.parametrize("angles", [(0, 0, 0), (0.3, -0.2, 0.4)])
@pytest.mark.parametrize("orientation", ["RAS", "PIR"])
def test_a_linear_ramp_survives_any_resampling(angles, orientation):
    affine = affine_for(orientation, (1.0, 0.8, 1.7))
    slope = np.array([3.0, -2.0, 0.5])

    def ramp(a, shape):
        index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
        return (index @ a[:3, :3].T + a[:3, 3]) @ slope

    image = torch.from_numpy(ramp(affine, (30, 30, 30))).float()
    centre = (affine @ [14.5, 14.5, 14.5, 1])[:3]
    for spacing in (0.7, 1.0, 2.2):
        target = rotated(angles, np.diag([spacing] * 3 + [1.0]))
        target[:3, 3] = centre - target[:3, :3] @ [2.5, 2.5, 2.5]
        expected = torch.from_numpy(ramp(target, (6, 6, 6))).float()
        result = geometry.resample_image(image, affine, target, (6, 6, 6), antialias=False)
        assert (result - expected).abs().max() < 0.02
        averaged = geometry.resample_image(image, affine, target, (6, 6, 6))
        assert (averaged - expected).abs().max() < 0.25 * np.abs(slope).max()  # a quarter of a voxel


def test_linear_interpolation_agrees_with_torch():
    image = torch.rand((2, 3, 10, 12, 14))
    grid, shape = geometry.grid_at(np.eye(4), image.shape[-3:], 0.5)
    expected = F.interpolate(image, shape, mode="trilinear")
    assert torch.allclose(geometry.resample_image(image, np.eye(4), grid, shape), expected, atol=1e-6)


def test_whole_steps_down_are_block_means():
    image = torch.rand((12, 9, 6))
    grid, shape = geometry.grid_at(np.eye(4), image.shape, 3.0)
    expected = F.avg_pool3d(image[None], 3)[0]
    assert torch.allclose(geometry.resample_image(image, np.eye(4), grid, shape), expected, atol=1e-6)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(
    "spacing", [(0.7, 0.7, 0.7), (2.2, 2.2, 2.2), (0.4, 2.0, 1.5), (2.0, 0.6, 1.0), (0.5, 1.0, 1.0)]
)
def test_planes_done_one_by_one_leave_no_seam(monkeypatch, spacing, antialias):
    image, labels = torch.rand((2, *SHAPE), generator=torch.Generator().manual_seed(0)), blobs()
    affine = affine_for("PIR")
    canonical, canonical_affine = geometry.to_canonical(labels, affine)
    grid, shape = geometry.grid_at(canonical_affine, canonical.shape, spacing)
    grid[:3, 3] -= 1.3  # some of it beside the scan

    def both():
        return (
            geometry.resample_image(image, affine, grid, shape, antialias=antialias, fill=-1.0),
            geometry.resample_labels(labels, affine, grid, shape, antialias=antialias),
        )

    whole = both()
    monkeypatch.setattr(interpolation, "CACHED_VOXELS", 1)
    apart = both()
    assert whole[0].unique().numel() > 100 and torch.allclose(apart[0], whole[0], atol=1e-6)
    assert whole[1].any() and torch.equal(apart[1], whole[1])


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_order_of_an_image_in_memory_does_not_matter(order):
    image = torch.rand((2, *SHAPE), generator=torch.Generator().manual_seed(0))
    affine = np.diag([1.0, 0.8, 2.3, 1])
    grid, shape = geometry.grid_at(affine, SHAPE, 1.2)
    back = [order.index(d) for d in range(3)]
    stored = image.permute(0, *(1 + d for d in order)).contiguous().permute(0, *(1 + d for d in back))
    result = geometry.resample_image(stored, affine, grid, shape)
    assert torch.allclose(result, geometry.resample_image(image, affine, grid, shape), atol=1e-6)
    assert result.is_contiguous() and torch.equal(stored, image)


def test_labels_that_move_by_whole_voxels_are_copies():
    labels = blobs()
    target = affine_for("LPS", origin=(9, 12, 3))  # flipped, cropped, and beyond the scan in K
    result = geometry.resample_labels(labels.long(), affine_for("RAS", origin=(0, 0, 0)), target, (8, 10, 9))
    assert torch.equal(result[..., :6], labels[2:10, 3:13, 3:].flip(0, 1)) and not result[..., 6:].any()
    same = geometry.resample_labels(labels, np.eye(4), np.eye(4), SHAPE)
    assert torch.equal(same, labels) and same.data_ptr() != labels.data_ptr()


def test_averaging_keeps_the_mean_where_bare_interpolation_does_not():
    image = torch.zeros((30, 30, 30))
    image[::2] = 1
    grid, shape = geometry.grid_at(np.eye(4), image.shape, 5.0)
    averaged = geometry.resample_image(image, np.eye(4), grid, shape)
    bare = geometry.resample_image(image, np.eye(4), grid, shape, antialias=False)
    assert (averaged - 0.5).abs().max() <= 0.1 + 1e-6 and (bare - 0.5).abs().max() == 0.5


def test_a_fill_value_lies_outside_the_scan_only():
    image = torch.ones(SHAPE)
    larger = np.eye(4)
    larger[:3, 3] = -3
    for target in (larger, rotated((0, 0, 1e-3), larger)):
        result = geometry.resample_image(image, np.eye(4), target, (20, 24, 15), fill=-1000.0)
        assert torch.allclose(result[4:15, 4:20, 4:11], torch.tensor(1.0))
        assert (result[:2] == -1000).all() and (result[..., -2:] == -1000).all()
        repeated = geometry.resample_image(image, np.eye(4), target, (20, 24, 15))
        assert torch.allclose(repeated, torch.tensor(1.0))


def test_an_image_on_its_own_grid_is_unchanged():
    image = torch.rand(SHAPE)
    stored = affine_for("RAS", (0.9765, 0.9765, 1.25)).astype(np.float32)  # as files store it
    exact = affine_for("RAS", (0.9765, 0.9765, 1.25))
    assert torch.equal(geometry.resample_image(image, stored, exact, SHAPE), image)


def test_the_input_is_never_changed():
    image, labels = torch.rand(SHAPE), blobs()
    copies = image.clone(), labels.clone()
    for target in (np.diag([2.0, 2, 2, 1]), rotated((0.2, 0, 0), np.eye(4)), np.eye(4)):
        geometry.resample_image(image, np.eye(4), target, SHAPE, fill=-5.0)
        geometry.resample_labels(labels, np.eye(4), target, SHAPE, antialias=True)
    beside = np.eye(4)
    beside[0, 3] = 7
    for moved in (geometry.resample_image(image[:1], np.eye(4), beside, (1, *SHAPE[1:]), fill=-5.0),
                  geometry.resample_labels(labels[:1], np.eye(4), beside, (1, *SHAPE[1:])) - 5.0):  # fmt: skip
        assert (moved == -5).all()
    assert torch.equal(image, copies[0]) and torch.equal(labels, copies[1])


def test_nearest_labels_copy_the_nearest_voxel():
    labels = blobs()
    grid, shape = geometry.grid_at(np.eye(4), SHAPE, 0.4)
    result = geometry.nearest_labels(labels, np.eye(4), grid, shape)
    at = [np.clip(np.floor((np.arange(n) - (n - 1) / 2) * 0.4 + (m - 1) / 2 + 0.5 - 1e-6), 0, m - 1).astype(int)
          for n, m in zip(shape, SHAPE, strict=True)]  # fmt: skip
    inside = np.ix_(*(range(1, n - 1) for n in shape))
    assert np.array_equal(result.numpy()[inside], labels.numpy()[np.ix_(*at)][inside])


def test_geometry_comes_without_nibabel_and_pandas():
    code = "import sys, spineseg.data.geometry; print('nibabel' in sys.modules, 'pandas' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["False", "False"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_label_maps_are_the_same_on_a_gpu():
    labels = blobs()
    grid, shape = geometry.grid_at(np.eye(4), SHAPE, 0.7)
    on_gpu = geometry.resample_labels(labels.cuda(), np.eye(4), grid, shape).cpu()
    assert torch.equal(on_gpu, geometry.resample_labels(labels, np.eye(4), grid, shape))
