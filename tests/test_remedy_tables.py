import numpy as np
import pandas as pd
import pytest

from spineseg.report import remedy_tables


def steps():
    rows = [
        ("two", "Dice", 0.1, 0.0, 0.2), ("two", "Dice, all", 0.1, 0.0, 0.2), ("two", "shifted", -0.3, -0.5, -0.1),
        ("two", "boundary", 0.2, 0.1, 0.3), ("three", "Dice", 0.05, np.nan, np.nan), ("three", "Dice, all", 0.05, 0, 0),
        ("three", "shifted", 0.0, 0.0, 0.0), ("three", "boundary", -0.05, -0.1, 0.0),
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["remedy", "measure", "change", "low", "high"]).assign(n=9)


def test_less_lost_is_a_gain_and_its_interval_turns_with_it():
    gains = remedy_tables.step_gains(steps()).set_index(["remedy", "measure"])
    assert gains.loc[("two", "Dice"), ["gain", "low", "high"]].tolist() == [0.1, 0.0, 0.2]
    assert gains.loc[("two", "shifted"), ["gain", "low", "high"]].tolist() == pytest.approx([0.3, 0.1, 0.5])
    assert not np.signbit(gains.loc[("three", "shifted"), "gain"])  # no minus before a zero


def test_the_table_has_remedies_in_their_order_and_signs():
    table = remedy_tables.remedy_table(remedy_tables.step_gains(steps()))
    assert list(table.columns) == ["two", "three"] and list(table.index) == ["Dice", "Dice, all", "shifted", "boundary"]
    assert table.loc["boundary", "two"] == "-0.20 (-0.30 to -0.10)" and table.loc["Dice", "three"] == "+0.05"


def test_words_name_the_remedy_that_gained_most_and_its_steps():
    words = remedy_tables.step_words(remedy_tables.step_gains(steps()))
    assert (words["best_remedy"], words["best_gain"], words["best_n"]) == ("two", 0.1, 9)
    assert (words["gained_step"], words["gained"]) == ("shifted", pytest.approx(0.3))
    assert (words["lost_step"], words["lost"]) == ("boundary", pytest.approx(-0.2))


def test_where_nothing_moved_no_step_is_named():
    still = steps().assign(change=0.0)
    words = remedy_tables.step_words(remedy_tables.step_gains(still))
    assert words["gained_step"] == words["lost_step"] == "none" and words["best_gain"] == 0


@pytest.mark.parametrize("table", [steps().head(0), steps().assign(change=np.nan)], ids=["no row", "no Dice"])
def test_without_a_vertebra_there_are_no_words(table):
    words = remedy_tables.step_words(remedy_tables.step_gains(table))
    assert words["best_remedy"] == "none" and words["best_n"] == 0 and np.isnan(words["best_gain"])
