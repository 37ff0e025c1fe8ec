import numpy as np
import pandas as pd
import pytest

from spineseg.config import EvaluationConfig
from spineseg.evaluation.calibration import calibration, flags
from spineseg.report import trust

CONFIG = EvaluationConfig(bootstrap_draws=50)


def cases():
    rows = [
        ("baseline", "a", 0.0, 2.0),
        ("baseline", "b", 4.0, 6.0),
        ("cascade", "a", 0.5, 3.0),
        ("cascade", "b", 0.5, 5.0),
    ]
    return pd.DataFrame(rows, columns=["method", "case", "false_vertebra_ml", "false_positive_ml"])


def found(method="cascade"):
    rows = [("a", 0.9, True, False), ("a", 0.5, False, True), ("b", 0.7, True, True), ("b", 0.3, False, True)]
    return pd.DataFrame(rows, columns=["case", "confidence", "correct", "review"]).assign(method=method)


def test_false_bone_is_summed_up_per_method_and_measure():
    table = trust.false_volumes(cases(), CONFIG).set_index(["method", "measure"])
    assert table.loc[("baseline", "false_vertebra_ml"), ["mean", "median", "above", "cases"]].tolist() == [2, 2, 1, 2]
    assert table.loc[("cascade", "false_vertebra_ml"), ["mean", "low", "high", "above"]].tolist() == [0.5, 0.5, 0.5, 0]
    assert table.loc[("cascade", "false_positive_ml"), "mean"] == 4


def test_words_and_table_of_false_bone_follow_the_numbers():
    table = trust.false_volumes(cases(), CONFIG)
    words = trust.false_words(table)
    assert (words["false_word"], words["cascade_false"], words["baseline_false_above"]) == ("lower than", 0.5, 1)
    shown = trust.false_table(table)
    assert shown.loc[("baseline", "far from any vertebra"), "scans above 1 ml"] == "1 of 2"
    assert shown.loc[("cascade", "far from any vertebra"), "mean / ml"] == "0.50 (0.50 to 0.50)"


def test_a_method_without_cases_has_no_false_bone_to_speak_of():
    words = trust.false_words(trust.false_volumes(cases().query("method == 'cascade'"), CONFIG))
    assert np.isnan(words["baseline_false"]) and words["baseline_false_above"] == 0
    assert words["false_word"] == "not known beside"


def test_words_of_confidence_are_those_of_the_method_that_was_asked_for():
    both = pd.concat([found("baseline").assign(confidence=1.0), found()])
    words = trust.confidence_words(calibration(both, config=CONFIG), flags(both, config=CONFIG))
    assert (words["sure_n"], words["sure_mean"], words["sure_right"]) == (4, pytest.approx(0.6), 0.5)
    assert words["sure_word"] == "higher than" and words["brier_word"] == "lower than"
    assert [words[f"flag_{k}"] for k in ("errors", "caught", "right", "raised")] == [2, 2, 2, 1]
    assert all(isinstance(v, int | float | str) for v in words.values())


@pytest.mark.parametrize("table", [found().head(0), found("baseline")], ids=["nothing predicted", "another method"])
def test_without_a_prediction_the_words_are_nan_and_zero(table):
    words = trust.confidence_words(calibration(table, config=CONFIG), flags(table, config=CONFIG))
    assert words["sure_n"] == words["flag_errors"] == words["flag_raised"] == 0
    assert np.isnan([words["sure_mean"], words["ece"], words["brier"]]).all()
    assert words["sure_word"] == "not known beside"


def test_the_table_of_confidence_keeps_a_method_that_states_none():
    both = pd.concat([found("baseline").assign(confidence=np.nan), found()])
    table = trust.confidence_table(calibration(both, config=CONFIG), flags(both, config=CONFIG))
    assert list(table.columns) == ["baseline", "cascade"]
    assert table.loc["errors that a flag catches", "baseline"].startswith("2 of 2, 1.00")
    assert pd.isna(table.loc["mean confidence", "baseline"]) and table.loc["mean confidence", "cascade"] == "0.60"
