import numpy as np
import pytest
import torch

from spineseg.anatomy.labels import IDS, VERTEBRAE
from spineseg.anatomy.phantom.canvas import Canvas
from spineseg.anatomy.phantom.scanner import KINDS, draw_levels, draw_view, scan, seen
from spineseg.anatomy.phantom.spine import draw_spine
from spineseg.anatomy.phantom.storage import orient, orientations
from spineseg.anatomy.population import SCANS, SCANS_WITH

PAIRS = {"CS": 65, "TS": 42, "CL": 31, "CT": 29, "TT": 14, "TL": 14, "LS": 8, "CC": 5, "LL": 2, "SS": 1}


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(1)
    return [draw_levels(rng) for _ in range(6000)]


def views(count, **options):
    for seed in range(count):
        rng = np.random.default_rng(seed)
        spine = draw_spine(rng)
        yield spine, draw_view(spine, rng, spacing_mm=3.0, **options)


def test_first_and_last_regions_follow_the_population(drawn):
    for pair, count in PAIRS.items():
        share = np.mean([a[:1] + b[:1] == pair for a, b in drawn])
        assert share == pytest.approx(count / SCANS, abs=0.02), pair


def test_each_vertebra_is_in_as_many_scans_as_in_the_population(drawn):
    for vertebra, count in zip(VERTEBRAE, SCANS_WITH, strict=True):
        share = np.mean([a != "" and IDS[a] <= IDS[vertebra] <= IDS[b] for a, b in drawn])
        assert share == pytest.approx(count / SCANS, abs=0.06), vertebra


def test_vertebrae_per_scan_have_the_population_s_quantiles(drawn):
    counts = [IDS[b] - IDS[a] + 1 if a else 0 for a, b in drawn]
    np.testing.assert_allclose(np.quantile(counts, [0.1, 0.25, 0.5, 0.75, 0.9]), [5.7, 10, 13, 19, 21], atol=1.5)
    assert 0.02 < np.mean(np.equal(counts, 0)) < 0.05


def test_needed_vertebrae_lie_in_the_view():
    rng = np.random.default_rng(0)
    for _ in range(50):
        first, last = draw_levels(rng, ["C2", "T3"])
        assert IDS[first] <= IDS["C2"] and IDS["T3"] <= IDS[last]


def test_an_unknown_needed_vertebra_is_an_error():
    with pytest.raises(ValueError, match="got 'L9'"):
        draw_levels(np.random.default_rng(0), ["L9"])


def test_every_kind_of_view_occurs_and_a_third_are_tight():
    kinds = [view.kind for _, view in views(400)]
    assert set(kinds) == {*KINDS, "none"}
    assert 0.26 < kinds.count("spine") / len(kinds) < 0.44


def test_heights_cut_the_first_and_last_vertebra_but_spare_their_neighbours():
    for spine, view in views(150):
        z, half = spine.centre_mm[:, 2], spine.size["body_height"] / 2
        for vertebra in seen(view):
            i = IDS[vertebra] - 1
            assert z[i] + half[i] + 8 > view.low_mm[2]
            assert z[i] - max(half[i], spine.size["spinous_drop"][i] + 5) < view.high_mm[2]
        if view.first not in ("", "C1"):
            above = IDS[view.first] - 2
            assert z[above] - half[above] > view.high_mm[2] - half[above]


def test_voxels_per_scan_are_near_those_of_the_population():
    voxels = [np.prod(view.shape) * 8 / 1e6 for _, view in views(400)]
    low, middle, high = np.quantile(voxels, [0.1, 0.5, 0.9])
    assert 1.0 < low < 4.0 and 7.0 < middle < 16.0 and 22.0 < high < 40.0


def test_mean_voxel_volume_is_the_asked_one_and_isotropic_means_cubes():
    for _, view in views(40):
        assert np.prod(view.spacing) == pytest.approx(27.0)
        assert max(view.spacing) / min(view.spacing) < 3.51
    assert all(view.spacing == (3.0, 3.0, 3.0) for _, view in views(10, anisotropic=False))


def test_all_48_orientations_are_different_and_can_be_drawn():
    assert len(set(orientations())) == 48
    assert len({view.orientation for _, view in views(1500)}) == 48


@pytest.mark.parametrize("code", orientations())
def test_every_orientation_keeps_each_voxel_where_it_is(code):
    nibabel = pytest.importorskip("nibabel")
    array = np.arange(4 * 5 * 6).reshape(4, 5, 6)
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    affine[:3, 3] = -7.0, 5.0, 11.0
    stored, stored_affine = orient(array, affine, code)
    assert "".join(nibabel.aff2axcodes(stored_affine)) == code
    back = nibabel.as_closest_canonical(nibabel.Nifti1Image(stored.astype(np.int16), stored_affine))
    np.testing.assert_array_equal(np.asarray(back.dataobj), array)
    np.testing.assert_allclose(back.affine, affine)


def scanned(bone_only, fill=40.0):
    rng, generator = np.random.default_rng(3), torch.Generator().manual_seed(3)
    spine = draw_spine(rng)
    view = draw_view(spine, rng, spacing_mm=4.0)
    view = type(view)(**{**view.__dict__, "bone_only": bone_only})
    canvas = Canvas(view.low_mm, (30, 31, 32), view.spacing, hu=fill)
    return scan(canvas, view, rng, generator)


def test_noise_has_the_drawn_standard_deviation_and_no_bias():
    ct_hu, _, _, drawn = scanned(False)
    assert ct_hu.dtype == np.int16
    assert ct_hu.std() == pytest.approx(drawn["noise_hu"], rel=0.15)
    assert ct_hu.mean() == pytest.approx(40.0, abs=drawn["noise_hu"] / 4)


def test_bone_only_scans_hold_nothing_between_zero_and_bone():
    ct_hu, *_ = scanned(True)
    assert not np.any((ct_hu != 0) & (ct_hu < 199))


def test_values_stay_in_the_range_of_a_twelve_bit_scanner():
    assert scanned(False, 5000.0)[0].max() == 3071
    assert scanned(False, -5000.0)[0].min() == -1024
