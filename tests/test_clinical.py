"""The whole examination on phantoms of known geometry, and that it does not depend on how the scan is stored."""

import itertools

import numpy as np
import pytest
from test_morphometry import turn

from spineseg.anatomy.clinical import DISC_COLUMNS, VERTEBRA_COLUMNS, examine
from spineseg.anatomy.phantom_masks import MARGIN_MM, poses_of, whole_spine
from spineseg.anatomy.phantom_truth import true_examination
from spineseg.config import MorphometryConfig

CONFIG, SEED = MorphometryConfig(), 2
HEIGHTS = [f"height_{place}_mm" for place in ("anterior", "middle", "posterior")]
FIRST = ["vertebra", *HEIGHTS, "body_volume_ml", "hu_median"]
# what orders axes alone may change: a lattice that begins elsewhere
UNCHANGED_MM, UNCHANGED_DEGREES = 0.3, 1.0
CANAL_MM = 0.7  # a midplane that turns by a degree meets another fold of the laminae


@pytest.fixture(scope="module")
def lumbar():
    """T11 to S1 of a phantom, turned on the grid."""
    labels, affine = whole_spine(SEED, turn=turn(7.0, -6.0, 5.0))
    low, high = (np.flatnonzero(np.isin(labels, range(18, 26)).any((0, 1)))[[0, -1]] + (-1, 2)).tolist()
    labels = np.where(labels >= 18, labels, 0)[:, :, low:high]
    affine = affine.copy()
    affine[:3, 3] += affine[:3, 2] * low
    return labels.astype(np.uint8), affine


@pytest.fixture(scope="module")
def short(lumbar):
    """L4 to S1 of the same phantom, in as small an array as holds them."""
    labels, affine = lumbar
    labels = np.where(labels >= 23, labels, 0)
    where = np.argwhere(labels)
    low, high = where.min(0) - 1, where.max(0) + 2
    low = np.maximum(low, 0)
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ low
    return labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].astype(np.uint8), moved


@pytest.fixture(scope="module")
def known(short):
    """Its measures as it lies."""
    return examine(*short, config=CONFIG)


def compare(a, b):
    for table, lengths, angles in (
        ("vertebrae", [*HEIGHTS, "depth_mm"], ["wedge_degrees"]),
        ("discs", [*HEIGHTS, "slip_mm"], ["angle_degrees"]),
    ):
        known, found = (getattr(e, table) for e in (a, b))
        np.testing.assert_allclose(found[lengths].astype(float), known[lengths].astype(float), atol=UNCHANGED_MM)
        np.testing.assert_allclose(found[angles].astype(float), known[angles].astype(float), atol=UNCHANGED_DEGREES)
    canals = [e.vertebrae["canal_mm"].astype(float) for e in (a, b)]
    np.testing.assert_allclose(*canals, atol=CANAL_MM)
    for name, value in a.angles.items():
        assert b.angles[name] == pytest.approx(value, abs=UNCHANGED_DEGREES, nan_ok=True), name


def test_measures_of_a_phantom_are_those_of_its_geometry():
    around = turn(7.0, -6.0, 5.0)
    truth = true_examination(poses_of(SEED, turn=around), margin_mm=MARGIN_MM, config=CONFIG)
    found = examine(*whole_spine(SEED, turn=around), config=CONFIG)
    bone, gaps = (getattr(found, t).set_index(k) for t, k in (("vertebrae", "vertebra"), ("discs", "disc")))
    known, between = (getattr(truth, t).set_index(k) for t, k in (("vertebrae", "vertebra"), ("discs", "disc")))

    def median(a, b):
        return float(np.nanmedian(np.abs(a.reindex(b.index).astype(float) - b.astype(float))))

    assert median(bone[HEIGHTS], known[HEIGHTS]) <= 0.5 and median(gaps[HEIGHTS], between[HEIGHTS]) <= 0.7
    assert median(bone["wedge_degrees"], known["wedge_degrees"]) <= 2.0
    assert median(gaps["angle_degrees"], between["angle_degrees"]) <= 2.0
    assert median(gaps["slip_mm"], between["slip_mm"]) <= 1.0
    assert found.vertebrae.loc[2:23, HEIGHTS].notna().all(axis=None)
    for name, value in truth.angles.items():
        assert found.angles[name] == pytest.approx(value, abs=5.0), name


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
def test_all_48_orientations_of_the_arrays_measure_the_same(short, known, axes):
    labels, affine = short
    assert known.vertebrae["height_middle_mm"].notna().sum() == 2 and len(known.discs) == 2  # S1 has no lower end
    for flips in itertools.product((False, True), repeat=3):
        matrix = np.eye(4)[:, [*axes, 3]]
        stored = labels.transpose(axes)
        for axis in np.flatnonzero(flips):
            matrix[:, 3] += matrix[:, axis] * (stored.shape[axis] - 1)
            matrix[:, axis] *= -1
            stored = np.flip(stored, axis)
        compare(known, examine(np.ascontiguousarray(stored), affine @ matrix, config=CONFIG))


@pytest.mark.parametrize("angles", [(14.0, 0.0, 0.0), (-9.0, 16.0, 0.0), (6.0, -8.0, 11.0)])
def test_a_patient_who_lies_turned_in_the_scanner_measures_the_same(lumbar, angles):
    labels, affine = lumbar
    around = np.eye(4)
    around[:3, :3] = turn(*angles)
    compare(examine(labels, affine, config=CONFIG), examine(labels, around @ affine, config=CONFIG))


def test_a_vertebra_at_the_border_keeps_what_is_seen_whole(lumbar):
    labels, affine = lumbar
    behind = np.flatnonzero((labels == 22).any((0, 2)))[0] + 3  # the tips of the spinous processes are cut off
    shifted = affine.copy()
    shifted[:3, 3] += affine[:3, 1] * behind
    row = examine(labels[:, behind:], shifted, config=CONFIG).vertebrae.set_index("vertebra").loc["L3"]
    assert row["cut"] and row["whole"] and np.isnan(row["volume_ml"])
    assert row["height_middle_mm"] > 10 and row["body_volume_ml"] > 10


@pytest.mark.parametrize("seed", range(16))
def test_no_cut_however_odd_is_an_error(lumbar, seed):
    labels, affine = lumbar
    rng = np.random.default_rng(seed)
    low = [int(rng.integers(0, 0.8 * n)) for n in labels.shape]
    high = [int(rng.integers(a + 2, n + 1)) for a, n in zip(low, labels.shape, strict=True)]
    part = labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ low
    found = examine(part, moved, part.astype(np.float32), config=CONFIG)
    assert len(found.vertebrae) == sum((np.bincount(part.ravel(), minlength=26) >= 30)[1:])
    heights = found.vertebrae.loc[found.vertebrae["whole"].astype(bool), HEIGHTS].astype(float)
    assert not (heights <= 0).any(axis=None)


def test_tables_begin_as_promised_and_an_empty_map_gives_empty_ones():
    empty = examine(np.zeros((9, 8, 7), np.uint8), np.eye(4), config=CONFIG)
    assert empty.vertebrae.empty and empty.discs.empty and np.isnan(list(empty.angles.values())).all()
    assert list(empty.vertebrae)[:6] == FIRST and list(empty.vertebrae) == list(VERTEBRA_COLUMNS)
    assert list(empty.discs) == list(DISC_COLUMNS)


def test_a_scan_on_another_grid_is_refused():
    with pytest.raises(ValueError, match=r"ct_hu must lie on the grid of the labels, \(4, 5, 6\), got \(4, 5, 7\)"):
        examine(np.zeros((4, 5, 6), np.uint8), np.eye(4), np.zeros((4, 5, 7)), config=CONFIG)
