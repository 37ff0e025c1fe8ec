"""Rules by hand: a table in, a line out."""

import numpy as np
import pandas as pd
import pytest

from spineseg.anatomy.clinical import DISC_COLUMNS, VERTEBRA_COLUMNS, Examination
from spineseg.config import MorphometryConfig
from spineseg.evaluation.findings import findings_of, flagged, neighbours_median

CONFIG = MorphometryConfig()
HEALTHY = {"genant_grade": 0.0, "genant_kind": "", "hu_median": 150.0, "loss_wedge": 0.05, "cut": False, "whole": True}
DISC = {"height_middle_mm": 8.0, "meyerding_grade": 0.0, "slip_mm": 0.3, "gas_share": 0.0}


def exam(vertebra=None, disc=None, cobb=3.0):
    bone = pd.DataFrame([{"vertebra": "L1"} | HEALTHY | (vertebra or {})], columns=list(VERTEBRA_COLUMNS))
    gaps = pd.DataFrame([{"disc": "L4-L5"} | DISC | (disc or {})], columns=list(DISC_COLUMNS))
    return Examination(bone, gaps, {"cobb": cobb}, ("T6", "L2"), {})


def test_a_healthy_spine_has_no_line():
    assert findings_of(exam(), CONFIG).empty and flagged(findings_of(exam(), CONFIG)) == set()


@pytest.mark.parametrize(
    ("changes", "place", "finding", "value"),
    [
        ({"vertebra": {"genant_grade": 2.0, "genant_kind": "wedge", "loss_wedge": 0.31}}, "L1", "lower in front",
         "31%, grade 2"),
        ({"vertebra": {"hu_median": 62.4}}, "L1", "low density", "62 HU"),
        ({"disc": {"meyerding_grade": 2.0, "slip_mm": 9.8}}, "L4-L5", "slip forwards", "9.8 mm, grade II"),
        ({"disc": {"gas_share": 0.12}}, "L4-L5", "gas in the disc", "12% of it"),
        ({"disc": {"height_middle_mm": 0.1}}, "L4-L5", "bodies touch", "0.1 mm"),
        ({"cobb": 23.4}, "T6-L2", "curve to the side", "23 degrees"),
    ],
)  # fmt: skip
def test_what_is_outside_a_limit_is_named_with_place_and_value(changes, place, finding, value):
    row = findings_of(exam(**changes), CONFIG)
    assert row[["place", "finding", "value"]].to_numpy().tolist() == [[place, finding, value]]
    assert flagged(row) == set(place.split("-")) and row["rule"].iloc[0]


def test_what_cannot_be_told_is_no_finding():
    nothing = exam({"genant_grade": np.nan, "hu_median": np.nan}, dict.fromkeys(DISC, np.nan), np.nan)
    assert findings_of(nothing, CONFIG).empty


def test_neighbours_are_two_on_either_side_without_the_value_itself():
    values = pd.Series([1.0, 2.0, 100.0, 4.0, np.nan, 7.0])
    assert neighbours_median(values).tolist() == [51.0, 4.0, 2.0, 7.0, 7.0, 4.0]
    assert np.isnan(neighbours_median(pd.Series([3.0])).iloc[0])
