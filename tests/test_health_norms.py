"""Real measures beside published ones: what is counted as near, and that every number has its source."""

import pytest

from spineseg.anatomy.clinical import DISC_COLUMNS, VERTEBRA_COLUMNS
from spineseg.report import health_norms, health_results
from spineseg.report.health_norms import NORMS, SOURCES, Norm

BONE = {"whole": True, "wedge_degrees": -2.0, "inner_degrees": -6.0, "hu_median": None, "canal_mm": 14.0,
        "depth_mm": 36.0, "height_anterior_mm": 30.0, "height_middle_mm": 27.0,
        "height_posterior_mm": 18.0}  # fmt: skip
DISC = {"height_anterior_mm": 9.0, "height_middle_mm": 12.0, "height_posterior_mm": 2.0}
REAL = {
    "cases": {
        "a": {"vertebrae": [BONE | {"vertebra": "L5"}, BONE | {"vertebra": "L4", "whole": False}], "discs": []},
        "b": {"vertebrae": [BONE | {"vertebra": "L5", "inner_degrees": -10.0}], "discs": [DISC | {"disc": "L4-L5"}]},
    }
}


def test_a_value_is_near_within_two_deviations_or_between_two_means():
    one, two = (
        Norm("a", "depth_mm", ("L5",), (10.0,), (1.0,)),
        Norm("a", "hu_median", ("L1",), (50.0, 90.0), (5.0, 9.0)),
    )
    assert one.is_near(12.0) and not one.is_near(12.1) and two.is_near(70.0) and not two.is_near(39.0)
    assert one.says() == "10 ± 1" and two.says() == "50 ± 5 to 90 ± 9"
    with pytest.raises(ValueError, match="no standard deviation"):
        Norm("a", "wedge_degrees", ("L1",), (2.0, 3.0)).is_near(2.5)


def test_every_norm_is_of_a_measure_that_is_taken_and_names_its_source():
    for norm in NORMS:
        assert (
            norm.column in (DISC_COLUMNS if norm.is_disc else (*VERTEBRA_COLUMNS, "inner_degrees"))
            and norm.source in SOURCES
        )
        assert len(norm.deviations) in (0, len(norm.means)) and norm.column in health_norms.SHOWN
    assert {norm.source for norm in NORMS} == set(SOURCES)


def test_rows_are_those_with_a_value_and_cut_vertebrae_do_not_count():
    table = health_norms.norms_table(REAL)
    depth = table.loc["depth"]
    assert (depth["where"], depth["n"], depth["published"]) == ("L5", 2, "35.7 ± 3.5")
    assert "L4" not in set(table["where"]) and "HU" not in table.index and "wedge, inner part" not in table.index
    words = health_norms.norms_words(REAL)
    assert (words["wedge_levels"], words["inner_lower"], words["inner_off"]) == (1, 1, pytest.approx(0.2))
    assert (words["rim_lower"], words["rim_off"]) == (0, pytest.approx(2.6))
    assert words["norms_far"] == "L5 (body, back); L4-L5 (disc, back)"
    assert health_norms.wedge_table(REAL).loc["L5"].tolist() == [2, "-8.0", "-2.0", "-7.8 to -4.6"]
    assert (words["norms_near"], words["norms_counted"]) == (4, 6)


def test_the_real_measures_are_mostly_near():
    words = health_norms.norms_words(health_results.load("real_measures.json"))
    assert words["norms_counted"] > 15 and words["norms_near"] > words["norms_counted"] / 2
    assert words["norms_sources"] >= 5
