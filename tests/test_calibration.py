import numpy as np
import pandas as pd
import pytest

from spineseg.config import EvaluationConfig
from spineseg.evaluation.calibration import bin_of, calibration, flags, outcomes, reliability

CONFIG = EvaluationConfig(bootstrap_draws=200)


def table(*lines, **columns):
    """Rows of `outcomes` from (case, confidence, correct, review)."""
    return pd.DataFrame(lines, columns=["case", "confidence", "correct", "review"]).assign(**columns)


def random_table(seed=0, n=240):
    rng = np.random.default_rng(seed)
    confidence = rng.random(n)
    rows = {"case": rng.integers(0, 12, n).astype(str), "confidence": confidence}
    return pd.DataFrame(rows | {"correct": rng.random(n) < confidence**2, "review": confidence < 0.4})


def test_a_vertebra_is_right_if_identified_and_wrong_if_the_reference_lacks_it():
    found = pd.DataFrame({"case": "a", "vertebra": ["L1", "L2", "L3"], "confidence": 0.9, "review": False})
    scores = pd.DataFrame({"case": "a", "vertebra": ["L1", "L2", "L3", "L4"], "identified": [1.0, 0.0, np.nan, 0.0]})
    assert outcomes(found, scores)["correct"].tolist() == [True, False, False]


@pytest.mark.parametrize(("columns", "right"), [({"volume_ml": [3.0, 40.0]}, [False, True]), ({}, [True, False])])
def test_of_two_under_one_name_the_larger_is_the_vertebra_and_the_other_is_wrong(columns, right):
    found = pd.DataFrame({"case": "a", "vertebra": ["L5", "L5"], "confidence": 0.9, "review": True} | columns)
    scores = pd.DataFrame({"case": ["a"], "vertebra": ["L5"], "identified": [1.0]})
    assert outcomes(found, scores)["correct"].tolist() == right
    assert not outcomes(found, scores.assign(identified=0.0))["correct"].any()


def test_methods_are_kept_apart_and_cases_without_scores_are_left_out():
    found = pd.DataFrame({"case": [7, 7, 8], "vertebra": "L1", "confidence": 0.5, "review": False})
    found["method"] = ["baseline", "cascade", "cascade"]
    scores = pd.DataFrame({"case": "7", "vertebra": "L1", "method": ["baseline", "cascade"], "identified": [0.0, 1.0]})
    joined = outcomes(found, scores)
    assert joined[["method", "correct"]].to_numpy().tolist() == [["baseline", False], ["cascade", True]]


def test_missing_columns_are_named():
    with pytest.raises(ValueError, match="confidence, review; review missing"):
        outcomes(pd.DataFrame(columns=["case", "vertebra", "confidence"]), pd.DataFrame())
    found = pd.DataFrame(columns=["method", "case", "vertebra", "confidence", "review"])
    with pytest.raises(ValueError, match="method, case, vertebra; method missing"):
        outcomes(found, pd.DataFrame(columns=["case", "vertebra", "identified"]))


def test_two_bins_are_solved_by_hand():
    rows = table(("a", 0.2, False, True), ("a", 0.4, True, True), ("a", 0.8, True, False), ("a", 1.0, True, False))
    lines = reliability(rows, bins=2, config=CONFIG)
    assert lines["confidence"].tolist() == pytest.approx([0.3, 0.9])
    assert lines["correct"].tolist() == [0.5, 1.0] and lines["n"].tolist() == [2, 2]
    numbers = calibration(rows, bins=2, config=CONFIG).iloc[0]
    assert numbers.ece == pytest.approx((2 * 0.2 + 2 * 0.1) / 4)
    assert numbers.brier == pytest.approx((0.04 + 0.36 + 0.04 + 0) / 4)
    assert numbers.brier_of_share == pytest.approx(0.75 * 0.25)
    assert np.isnan(lines[["low", "high"]]).all(axis=None) and np.isnan(numbers.ece_low)  # one case


def test_a_confidence_that_is_always_true_has_no_error():
    rows = table(*[(c, v, v == 1, False) for c in "ab" for v in (0.0, 1.0, 1.0)])
    numbers = calibration(rows, config=CONFIG).iloc[0]
    assert numbers.ece == numbers.brier == numbers.ece_high == 0
    assert (reliability(rows, config=CONFIG)[["correct", "low", "high"]].to_numpy().T == [0, 1]).all()


def test_bins_are_equally_full_never_empty_and_keep_equal_values_together():
    values = np.random.default_rng(1).random(80)
    assert np.bincount(bin_of(values, 8)).tolist() == [10] * 8
    assert bin_of([0.5] * 9, 8).tolist() == [0] * 9
    assert bin_of([0.1, 0.9], 8).tolist() == [0, 1]
    tied = np.r_[np.full(50, 0.99), np.linspace(0, 0.9, 10)]
    which = bin_of(tied, 4)
    assert len(set(which[:50])) == 1 and (np.bincount(which) > 0).all()


def test_errors_and_intervals_are_those_of_a_loop_that_draws_whole_cases():
    rows = random_table()
    numbers = calibration(rows, config=CONFIG).iloc[0]
    which, names = bin_of(rows["confidence"], 8), list(dict.fromkeys(rows["case"]))
    rng = np.random.default_rng(CONFIG.seed)
    ece, brier = [], []
    for times in rng.multinomial(len(names), [1 / len(names)] * len(names), size=CONFIG.bootstrap_draws):
        index = np.repeat(np.arange(len(rows)), rows["case"].map(dict(zip(names, times, strict=True))))
        p, y, b = (np.asarray(v, float)[index] for v in (rows["confidence"], rows["correct"], which))
        gaps = [abs(p[b == i].mean() - y[b == i].mean()) * (b == i).mean() for i in set(b)]
        ece.append(sum(gaps))
        brier.append(((p - y) ** 2).mean())
    for name, draws in (("ece", ece), ("brier", brier)):
        low, high = np.percentile(draws, [2.5, 97.5], method="nearest")
        assert (numbers[f"{name}_low"], numbers[f"{name}_high"]) == (pytest.approx(low), pytest.approx(high))


def test_confidence_above_the_truth_lies_below_the_diagonal():
    lines = reliability(random_table(), config=CONFIG)
    assert (lines["correct"] < lines["confidence"]).mean() > 0.8
    assert ((lines["low"] <= lines["correct"]) & (lines["correct"] <= lines["high"])).all()


def test_rows_without_confidence_are_left_out_of_bins_but_not_of_flags():
    rows = table(("a", np.nan, False, True), ("b", 0.7, True, False))
    assert reliability(rows, config=CONFIG)["n"].sum() == calibration(rows, config=CONFIG)["n"].sum() == 1
    assert flags(rows, config=CONFIG)[["errors", "caught", "right", "raised"]].to_numpy().tolist() == [[1, 1, 1, 0]]


def test_flags_are_counted_by_hand():
    rows = table(
        *[("a", 0.5, True, True)], *[("b", 0.5, True, False)] * 3, ("a", 0.5, False, True), ("b", 0.9, False, False)
    )
    line = flags(rows, config=CONFIG).iloc[0]
    assert (line.errors, line.caught, line.right, line.raised) == (2, 1, 4, 1)
    assert (line.caught_share, line.raised_share) == (0.5, 0.25)
    assert 0 <= line.caught_share_low <= 0.5 <= line.caught_share_high <= 1


@pytest.mark.parametrize("function", [reliability, calibration, flags])
def test_no_prediction_gives_no_row(function):
    empty = table().assign(method=pd.Series(dtype=object))
    assert len(function(empty, config=CONFIG)) == len(function(table(), config=CONFIG)) == 0


@pytest.mark.parametrize("function", [reliability, calibration])
def test_no_confidence_anywhere_gives_no_row(function):
    assert len(function(table(("a", np.nan, True, False), method="cascade"), config=CONFIG)) == 0


def test_flags_without_errors_catch_no_share():
    line = flags(table(("a", 0.9, True, False), ("b", 0.9, True, False)), config=CONFIG).iloc[0]
    assert line.errors == 0 and np.isnan([line.caught_share, line.caught_share_low]).all() and line.raised_share == 0


def test_several_methods_have_rows_of_their_own():
    both = pd.concat([random_table(s).assign(method=m) for s, m in enumerate(("baseline", "cascade"))])
    assert calibration(both, config=CONFIG)["method"].tolist() == ["baseline", "cascade"]
    alone = calibration(random_table(1).assign(method="cascade"), config=CONFIG)
    pd.testing.assert_frame_equal(calibration(both, config=CONFIG).tail(1).reset_index(drop=True), alone)
