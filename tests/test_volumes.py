import numpy as np
import pytest

from spineseg.anatomy.labels import IDS
from spineseg.evaluation.metrics import binary_dice
from spineseg.evaluation.volumes import false_voxels, whole_scan

SHAPE, SPACING = (13, 18, 9), (2.0, 3.0, 1.0)
AFFINE = np.diag([*SPACING, 1.0])
L1, L2 = IDS["L1"], IDS["L2"]


def empty():
    return np.zeros(SHAPE, np.uint8)


def counts(reference, prediction, **options):
    outside, far = false_voxels(reference, prediction, SPACING, tolerance_mm=3.0, **options)
    return {i: (int(outside[i]), int(far[i])) for i in np.flatnonzero(outside)}


def test_nothing_predicted_is_nothing_false():
    reference = empty()
    reference[5, 5, 5] = L1
    assert counts(reference, empty()) == counts(empty(), empty()) == {}


def test_all_that_is_predicted_in_a_scan_without_vertebrae_is_far():
    prediction = empty()
    prediction[2:4, 2:4, 2:4] = L1
    prediction[7, 7, 7] = L2
    assert counts(empty(), prediction) == {L1: (8, 8), L2: (1, 1)}


def test_a_voxel_at_the_tolerance_is_not_far_and_the_next_one_is():
    reference, prediction = empty(), empty()
    reference[5, 5, 4] = L1
    prediction[5, 5, 4] = L2  # bone, whatever it is called
    prediction[5, 6, 4] = L1  # 3 mm away
    prediction[5, 5, 8] = L2  # 4 mm away
    prediction[6, 6, 4] = L2  # sqrt(13) mm away
    assert counts(reference, prediction) == {L1: (1, 0), L2: (2, 2)}


def test_far_voxels_equal_a_loop_over_all_pairs():
    rng = np.random.default_rng(0)
    reference = np.where(rng.random(SHAPE) < 0.01, L1, 0).astype(np.uint8)
    prediction = np.where(rng.random(SHAPE) < 0.05, rng.integers(1, 26, SHAPE), 0).astype(np.uint8)
    bone = np.argwhere(reference) * SPACING
    far = np.zeros(26, int)
    for place in np.argwhere((prediction > 0) & (reference == 0)):
        if np.linalg.norm(bone - place * SPACING, axis=1).min() > 3.0 + 1e-6:
            far[prediction[tuple(place)]] += 1
    assert far.sum() > 0
    assert np.array_equal(false_voxels(reference, prediction, SPACING, tolerance_mm=3.0)[1], far)


def test_ignored_voxels_count_for_neither():
    reference, prediction, ignore = empty(), empty(), np.zeros(SHAPE, bool)
    reference[5, 5, 4] = L1
    prediction[11, 2:4, 4], ignore[11, 2, 4] = L1, True
    assert counts(reference, prediction, ignore=ignore) == {L1: (1, 1)}


def test_unlike_grids_are_named():
    with pytest.raises(ValueError, match=r"one grid, got \(1, 2, 3\) and \(13, 18, 9\)"):
        false_voxels(empty(), np.zeros((1, 2, 3), np.uint8), SPACING, tolerance_mm=3.0)


def test_the_whole_scan_agrees_with_the_binary_dice_and_counts_ml():
    reference, prediction = empty(), empty()
    reference[2:6, 4:8, 3:6] = L1
    prediction[2:6, 4:8, 3:6] = L2
    prediction[11, 15, 3] = L2
    scan = whole_scan(reference, prediction, AFFINE, tolerance_mm=3.0)
    assert scan["binary_dice"] == pytest.approx(binary_dice(reference, prediction)) == pytest.approx(96 / 97)
    assert scan["false_positive_ml"] == scan["false_vertebra_ml"] == pytest.approx(6 / 1000)


def test_the_whole_scan_without_what_is_ignored():
    reference, prediction = empty(), empty()
    reference[2:6, 4:8, 3:6] = prediction[2:6, 4:8, 3:6] = L1
    prediction[11, 15, 3] = L2
    scan = whole_scan(reference, prediction, AFFINE, tolerance_mm=3.0, ignore=prediction == L2)
    assert scan == {"binary_dice": 1, "false_positive_ml": 0, "false_vertebra_ml": 0}


def test_an_empty_scan_has_no_binary_dice():
    assert np.isnan(whole_scan(empty(), empty(), AFFINE, tolerance_mm=3.0)["binary_dice"])
