import numpy as np
import pytest

from spineseg.anatomy.labels import IDS, VERTEBRAE
from spineseg.anatomy.phantom import generate
from spineseg.anatomy.phantom_masks import measured_phantoms, whole_spine
from spineseg.anatomy.real_masks import real_masks

SEEDS = (0, 2, 3)


@pytest.fixture(scope="module")
def measured():
    return measured_phantoms(SEEDS, spacing_mm=2.0)


def test_a_whole_spine_has_all_levels_and_none_touches_the_border(measured):
    assert not measured["cut"].any()
    for _, table in measured.groupby("seed"):
        assert set(table["vertebra"]) == set(VERTEBRAE)


def test_the_patient_is_the_one_of_the_scan_with_the_same_seed():
    scan = generate(4, spacing_mm=4.0)
    labels, affine = whole_spine(4, spacing_mm=2.0)
    sizes = {}
    for row in scan.truth["vertebrae"]:
        sizes[row["vertebra"]] = row["full_ml"] / ((labels == IDS[row["vertebra"]]).sum() * 8.0 / 1000)
    assert np.median(list(sizes.values())) == pytest.approx(1.0, abs=0.12)
    centre = np.argwhere(labels == IDS["L3"]).mean(0) @ affine[:3, :3].T + affine[:3, 3]
    assert np.linalg.norm(centre) < 40  # L3 is the origin; its centroid lies behind the body's centre


def test_median_sizes_stay_near_those_of_real_masks(measured):
    """Within a quarter at each level that three patients show; volumes answer to the large population instead."""
    real = real_masks()
    for row in real[(real["n"] >= 3) & ~real["measure"].isin(["tilt_degrees", "volume_ml"])].itertuples():
        drawn = measured.loc[measured["vertebra"] == row.vertebra, row.measure].median()
        assert 0.8 < drawn / row.median < 1.25, (row.vertebra, row.measure, drawn, row.median)


def test_patients_with_a_vertebra_more_or_less_are_left_out():
    odd = next(s for s in range(200) if generate(s, spacing_mm=12.0).truth["variant"])
    assert measured_phantoms([odd]).empty


def test_no_seeds_give_an_empty_table():
    assert measured_phantoms([]).empty


def test_a_spacing_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="spacing_mm must be positive, got 0"):
        whole_spine(1, spacing_mm=0)
