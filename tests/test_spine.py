import numpy as np
import pytest

from spineseg.anatomy.labels import IDS
from spineseg.anatomy.phantom.spine import draw_spine

L3 = IDS["L3"] - 1


@pytest.fixture(scope="module")
def spines():
    return [draw_spine(np.random.default_rng(seed)) for seed in range(60)]


def pitch_degrees(spine):
    up = spine.rotation[:, :, 2]
    return np.degrees(np.arctan2(up[:, 1], up[:, 2]))


def test_the_same_seed_gives_the_same_spine():
    a, b = (draw_spine(np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(a.centre_mm, b.centre_mm) and np.array_equal(a.rotation, b.rotation)


def test_l3_is_the_origin(spines):
    assert all(np.array_equal(spine.centre_mm[L3], np.zeros(3)) for spine in spines)


def test_axes_are_right_handed_and_orthonormal(spines):
    for spine in spines:
        assert np.allclose(spine.rotation @ np.swapaxes(spine.rotation, 1, 2), np.eye(3))
        assert np.allclose(np.linalg.det(spine.rotation), 1.0)


def test_levels_descend_from_head_to_tail(spines):
    assert all(np.all(np.diff(spine.centre_mm[:, 2]) < 0) for spine in spines)


def test_neighbours_are_a_body_and_a_disc_apart(spines):
    for spine in (s for s in spines if not s.variant):
        height = spine.size["body_height"] * (1 - spine.wedge / 2)
        step = np.linalg.norm(np.diff(spine.centre_mm, axis=0), axis=1)[1:]
        expected = (height[1:-1] + height[2:]) / 2 + spine.size["disc_below"][1:-1]
        assert np.allclose(step, expected, rtol=0.03)


def test_the_pelvis_tilts_forward_and_the_upper_loin_back(spines):
    pitch = np.median([pitch_degrees(spine) for spine in spines], axis=0)
    assert 30 < pitch[IDS["S1"] - 1] < 45
    assert -15 < pitch[IDS["L1"] - 1] < -2
    assert 15 < pitch[IDS["T1"] - 1] < 35
    assert pitch[IDS["C2"] - 1] < pitch[IDS["C7"] - 1]


def test_patients_differ_in_size_by_a_tenth_or_so(spines):
    assert 0.04 < np.std(np.log([spine.scale for spine in spines])) < 0.09


def test_one_patient_in_ten_has_a_wedge_fracture():
    broken = np.mean([draw_spine(np.random.default_rng(seed)).wedge.any() for seed in range(400)])
    assert 0.05 < broken < 0.16


def test_wedges_and_worn_discs_stay_within_reason(spines):
    assert all(spine.wedge.max() <= 0.5 and spine.disc_share.min() >= 0.35 for spine in spines)
    assert any(spine.disc_share.min() < 0.7 for spine in spines)
