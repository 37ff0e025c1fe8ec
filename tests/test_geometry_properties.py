"""Facts that hold for every orientation, voxel size and label scheme, each on 500 random cases."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_geometry import ORIENTATIONS, affine_for, rotated

from spineseg.anatomy.labels import VERTEBRAE, Scheme
from spineseg.data import geometry, nifti

EXAMPLES = settings(max_examples=500, derandomize=True, deadline=None)
SPACINGS = st.tuples(*[st.floats(0.3, 5)] * 3)
ANGLES = st.tuples(*[st.floats(-0.6, 0.6)] * 3)
SLOPE = np.array([3.0, -2.0, 0.5])  # HU a mm

# name -> identifier, from the published class maps
SCHEMES = {
    Scheme.TOTALSEGMENTATOR_V1: dict(zip(reversed(VERTEBRAE[:-1]), range(18, 42), strict=True)),
    Scheme.TOTALSEGMENTATOR_V2: dict(zip(reversed(VERTEBRAE), range(26, 51), strict=True)),
    Scheme.VERSE: dict(zip(VERTEBRAE[:-1], range(1, 25), strict=True)),
}


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        yield Path(name)


def ramp(affine, shape):
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    return torch.from_numpy((index @ affine[:3, :3].T + affine[:3, 3]) @ SLOPE).float()


@EXAMPLES
@given(
    orientation=st.sampled_from(ORIENTATIONS),
    spacing=SPACINGS,
    angles=st.one_of(st.just((0.0, 0.0, 0.0)), ANGLES),
    shape=st.tuples(*[st.integers(2, 9)] * 3),
    seed=st.integers(0, 2**32 - 1),
    name=st.sampled_from(["a.nii", "a.nii.gz"]),
    nearest=st.booleans(),
)
def test_a_label_map_comes_back_exact_through_a_file_and_canonical_axes(
    folder, orientation, spacing, angles, shape, seed, name, nearest
):
    affine = rotated(angles, affine_for(orientation, spacing))
    labels = np.random.default_rng(seed).integers(0, 26, shape).astype(np.uint8)
    volume = nifti.read(nifti.write(folder / name, labels, affine))
    assert volume.orientation == geometry.orientation_of(affine) and volume.spacing == pytest.approx(spacing, rel=1e-5)
    moved, moved_affine = geometry.to_canonical(volume.array, volume.affine)
    assert geometry.orientation_of(moved_affine) == "RAS"
    canonical = np.ascontiguousarray(moved)
    back = geometry.back_to_original(canonical, moved_affine, volume.affine, shape, nearest=nearest)
    assert back.dtype == torch.uint8 and np.array_equal(back.numpy(), labels)


@EXAMPLES
@given(
    orientation=st.sampled_from(ORIENTATIONS),
    spacing=st.tuples(*[st.floats(0.5, 3)] * 3),
    angles=st.one_of(st.just((0.0, 0.0, 0.0)), ANGLES),
    finer=st.floats(0.3, 1.0),
)
def test_a_linear_ramp_survives_the_way_to_another_grid_and_back(orientation, spacing, angles, finer):
    affine, shape = rotated(angles, affine_for(orientation, spacing)), (9, 8, 7)
    image = ramp(affine, shape)
    canonical, canonical_affine = geometry.to_canonical(image, affine)
    grid, grid_shape = geometry.grid_at(canonical_affine, canonical.shape, finer * min(spacing))
    there = geometry.resample_image(canonical, canonical_affine, grid, grid_shape)
    back = geometry.resample_image(there, grid, affine, shape, antialias=False)
    inside = (slice(1, -1),) * 3  # at the border values are repeated
    assert (back - image)[inside].abs().max() < 0.02


@EXAMPLES
@given(
    scheme=st.sampled_from(list(SCHEMES)),
    ids=st.lists(st.integers(0, 255), min_size=36, max_size=36),
    dtype=st.sampled_from(["uint8", "int16", "int32", "float32"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_identifiers_of_a_scheme_come_back_under_their_names_and_all_others_as_background(
    folder, scheme, ids, dtype, seed
):
    name_of = {number: name for name, number in SCHEMES[scheme].items()}
    theirs = np.random.default_rng(seed).permutation([*name_of, *ids][:60]).reshape(3, 4, 5)
    path = nifti.write(folder / "a.nii", theirs.astype(dtype), np.eye(4))
    labels = nifti.read_labels(path, scheme=scheme).array
    found = ["" if value == 0 else VERTEBRAE[value - 1] for value in labels.ravel().tolist()]
    assert found == [name_of.get(number, "") for number in theirs.ravel().tolist()]
