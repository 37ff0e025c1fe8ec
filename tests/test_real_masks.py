import numpy as np

from spineseg.anatomy.labels import IDS, VERTEBRAE
from spineseg.anatomy.morphometry import COLUMNS
from spineseg.anatomy.phantom.levels import VOLUME_ML
from spineseg.anatomy.real_masks import MEASURES, SUBJECTS, real_masks


def test_every_measure_is_one_that_morphometry_takes():
    assert set(MEASURES) <= set(COLUMNS)


def test_each_row_is_a_median_between_its_ends_over_no_more_than_all_patients():
    table = real_masks()
    assert (table["low"] <= table["median"]).all() and (table["median"] <= table["high"]).all()
    assert table["n"].between(1, SUBJECTS).all()
    one = table[table["n"] == 1]
    assert (one["low"] == one["high"]).all()


def test_no_level_occurs_twice_and_they_run_from_the_head_down():
    for _, part in real_masks().groupby("measure"):
        assert np.all(np.diff(part["vertebra"].map(IDS)) > 0)
        assert set(part["vertebra"]) <= set(VERTEBRAE)


def test_volumes_lie_near_the_spread_of_the_large_population():
    table = real_masks()
    for row in table[table["measure"] == "volume_ml"].itertuples():
        low, _, high = VOLUME_ML[row.vertebra]
        assert 0.95 * low < row.median < 1.05 * high, row.vertebra


def test_heights_and_discs_add_up_to_the_spacing():
    table = real_masks().pivot(index="vertebra", columns="measure", values="median")
    for upper, lower in (("L2", "L3"), ("T11", "T12"), ("C4", "C5")):
        disc = table.loc[upper, "spacing_mm"] - table.loc[[upper, lower], "height_mm"].mean()
        assert 2.0 < disc < 12.0, upper
