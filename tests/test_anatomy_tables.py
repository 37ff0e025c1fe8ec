"""The numbers with which a page says how close phantoms come to real masks."""

import numpy as np
import pandas as pd
import pytest

from spineseg.anatomy.real_masks import MEASURES, real_masks
from spineseg.report import anatomy_tables


def phantoms(factor=1.0, tilt=0.0):
    """One phantom that has `factor` times the real medians at every level."""
    table = real_masks().pivot(index="vertebra", columns="measure", values="median") * factor
    table["tilt_degrees"] = table["tilt_degrees"] / factor + tilt
    return table.reset_index()


def test_phantoms_that_are_a_tenth_larger_have_that_ratio_everywhere():
    numbers = anatomy_tables.agreement(phantoms(1.1, tilt=4.0), real_masks())
    assert [numbers[f"{word}_ratio"] for word in anatomy_tables.WORDS.values()] == pytest.approx([1.1] * 5)
    assert numbers["farthest_ratio"] == pytest.approx(1.1) and numbers["tilt_off"] == pytest.approx(4.0)


def test_the_level_that_is_farthest_off_is_named():
    table = phantoms()
    table.loc[table["vertebra"] == "L3", "depth_mm"] *= 0.7
    numbers = anatomy_tables.agreement(table, real_masks())
    assert (numbers["farthest_level"], numbers["farthest_measure"]) == ("L3", "depth")
    assert numbers["farthest_ratio"] == pytest.approx(0.7)


def test_levels_of_fewer_than_three_patients_are_not_quoted():
    table = phantoms()
    few = real_masks().query("measure == 'width_mm' and n < 3")["vertebra"]
    table.loc[table["vertebra"].isin(few), "width_mm"] *= 3
    numbers = anatomy_tables.agreement(table, real_masks())
    assert numbers["farthest_ratio"] == pytest.approx(1.0)
    assert numbers["compared"] == real_masks().query("measure != 'tilt_degrees' and n >= 3")["vertebra"].nunique()


def test_no_phantoms_give_nothing_to_quote():
    numbers = anatomy_tables.agreement(pd.DataFrame(columns=["vertebra", *MEASURES], dtype=float), real_masks())
    assert numbers["compared"] == 0 and np.isnan(numbers["width_ratio"]) and numbers["farthest_level"] == ""
