import numpy as np
import pytest

from spineseg.config import EvaluationConfig
from spineseg.evaluation.operating import auc, auc_interval, called, reliability_at, threshold_at

CONFIG = EvaluationConfig(bootstrap_draws=200)


def by_pairs(score, truth):
    pairs = [(a > b) + 0.5 * (a == b) for a in score[truth] for b in score[~truth]]
    return np.mean(pairs)


@pytest.mark.parametrize("seed", range(5))
def test_the_area_is_the_share_of_pairs_in_order(seed):
    rng = np.random.default_rng(seed)
    truth = rng.random(60) < 0.3
    score = np.round(rng.normal(truth, 1.0), 1)  # with ties
    assert auc(score, truth) == pytest.approx(by_pairs(score, truth))


def test_weights_count_rows_as_if_they_were_repeated():
    rng = np.random.default_rng(3)
    truth, weight = rng.random(30) < 0.5, rng.integers(0, 4, 30)
    score = rng.normal(size=30)
    assert auc(score, truth, weight) == pytest.approx(auc(np.repeat(score, weight), np.repeat(truth, weight)))


def test_one_kind_alone_has_no_area():
    assert np.isnan(auc([0.1, 0.2], [True, True])) and np.isnan(auc([], []))


def test_the_interval_holds_the_area_and_is_wider_with_fewer_patients():
    rng = np.random.default_rng(1)
    truth = rng.random(400) < 0.3
    score, patients = rng.normal(truth, 1.0), np.repeat(np.arange(40), 10)
    low, high = auc_interval(score, truth, patients, CONFIG)
    assert low < auc(score, truth) < high
    few = auc_interval(score[:80], truth[:80], patients[:80], CONFIG)
    assert few[1] - few[0] > high - low and np.isnan(auc_interval(score, truth, np.zeros(400), CONFIG)[0])


def test_at_the_threshold_at_most_a_tenth_of_the_others_are_called():
    score, truth = np.arange(100) / 100, np.zeros(100, bool)
    truth[95:] = True
    threshold = threshold_at(score, truth, 0.9)
    assert called(score, threshold)[~truth].mean() <= 0.1 < called(score, threshold - 0.02)[~truth].mean()
    assert called(score, threshold)[truth].all() and not called(score, threshold_at([], [], 0.9)).any()


def test_reliability_counts_cases_in_bins_of_the_stated_probability():
    score, truth = np.repeat([0.02, 0.5, 1.0], 20), np.repeat([False, True, True], 20)
    truth[20:30] = False
    rows = reliability_at(score, truth, np.arange(60) % 6, (0.0, 0.05, 0.4, 0.6, 1.0), CONFIG)
    assert [(r["confidence"], r["correct"], r["n"]) for r in rows] == [
        (pytest.approx(0.02), 0.0, 20), (0.5, 0.5, 20), (1.0, 1.0, 20),
    ]  # fmt: skip
    assert rows[1]["low"] < 0.5 < rows[1]["high"] and rows[2]["low"] == 1.0
