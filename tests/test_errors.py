import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from spineseg.anatomy.labels import IDS, REGION_OF, VERTEBRAE
from spineseg.config import EvaluationConfig
from spineseg.evaluation.ceiling import resolution_ceiling
from spineseg.evaluation.correlates import spearman
from spineseg.evaluation.errors import (
    STEPS,
    confusion_of_names,
    correlates,
    error_budget,
    factors,
    training_share,
)

CONFIG = EvaluationConfig(bootstrap_draws=100)


def rows(*lines):
    """Score rows from (case, vertebra, present, dice, best, visible_share)."""
    return pd.DataFrame(
        [
            {
                "case": case, "vertebra": vertebra, "region": REGION_OF[vertebra], "reference_voxels": 10 * present,
                "prediction_voxels": 10, "reference_ml": 1.0, "dice": dice, "best_match_dice": best,
                "visible_share": share, "at_border": False,
            }
            for case, vertebra, present, dice, best, share in lines
        ]
    )  # fmt: skip


def ceilings(scores, value):
    present = scores[scores.reference_voxels > 0]
    return present[["case", "vertebra"]].assign(ceiling=value)


def steps(budget, region="all"):
    return budget[budget.region == region].set_index("step").lost.to_dict()


def random_rows(seed, cases=8):
    rng = np.random.default_rng(seed)
    lines = []
    for case in range(cases):
        for name in VERTEBRAE:
            present = rng.random() < 0.6
            best = rng.random() * (rng.random() < 0.9)
            dice = best * (rng.random() < 0.7)
            if present or rng.random() < 0.2:
                lines.append(
                    (f"c{case}", name, present, dice * present, best * present, rng.random() if present else np.nan)
                )
    return rows(*lines)


def test_each_step_is_solved_by_hand():
    scores = rows(
        ("a", "L1", True, 0.8, 0.8, 1.0),  # resolution .1, boundary .1
        ("a", "L2", True, 0.0, 0.7, 1.0),  # shifted .7, resolution .1, boundary .2
        ("a", "L3", True, 0.0, 0.0, 1.0),  # missed 1
        ("a", "L4", False, 0.0, 0.0, np.nan),  # absent 1
    )
    budget = steps(error_budget(scores, ceilings(scores, 0.9), config=CONFIG), "lumbar")
    expected = {"absent": 1, "cut": 0, "shifted": 0.7, "missed": 1, "resolution": 0.2, "boundary": 0.3}
    assert budget == pytest.approx({k: v / 4 for k, v in expected.items()})


def test_cut_is_the_excess_over_whole_vertebrae():
    scores = rows(("a", "L1", True, 0.8, 0.8, 1.0), ("a", "L2", True, 0.2, 0.6, 0.1))
    budget = steps(error_budget(scores, config=CONFIG), "lumbar")
    # whole lose .2, cut lose .8: .6 is the excess, and a quarter of the cut one's own steps stays
    assert budget == pytest.approx(
        {"absent": 0, "cut": 0.6 / 2, "shifted": 0.1 / 2, "missed": 0, "resolution": 0, "boundary": (0.2 + 0.1) / 2}
    )


def test_cut_vertebrae_that_lose_less_than_whole_ones_cost_nothing_extra():
    scores = rows(("a", "L1", True, 0.2, 0.2, 1.0), ("a", "L2", True, 0.8, 0.8, 0.1))
    budget = steps(error_budget(scores, config=CONFIG), "lumbar")
    assert budget["cut"] == 0 and budget["boundary"] == pytest.approx(0.5)


def test_a_region_with_cut_vertebrae_only_is_compared_with_all_whole_ones():
    scores = rows(("a", "L1", True, 0.9, 0.9, 1.0), ("a", "C1", True, 0.4, 0.4, 0.1))
    budget = error_budget(scores, config=CONFIG)
    assert steps(budget, "cervical") == pytest.approx(
        {"absent": 0, "cut": 0.5, "shifted": 0, "missed": 0, "resolution": 0, "boundary": 0.1}
    )


def test_without_whole_vertebrae_nothing_is_blamed_on_the_cut():
    assert steps(error_budget(rows(("a", "C1", True, 0.4, 0.4, 0.1)), config=CONFIG))["cut"] == 0


def test_a_prediction_above_its_ceiling_loses_to_the_grid_only_what_is_gone():
    scores = rows(("a", "L1", True, 0.95, 0.95, 1.0))
    budget = steps(error_budget(scores, ceilings(scores, 0.9), config=CONFIG))
    assert budget["resolution"] == pytest.approx(0.05) and budget["boundary"] == 0


@pytest.mark.parametrize("seed", range(5))
def test_steps_are_never_negative_and_add_up_to_what_was_lost(seed):
    scores = random_rows(seed)
    budget = error_budget(scores, ceilings(scores, 0.93), config=CONFIG)
    assert (budget.lost >= 0).all()
    for region in budget.region.unique():
        inside = scores if region == "all" else scores[scores.region == region]
        part = budget[budget.region == region]
        assert list(part.step) == list(STEPS)
        assert part.lost.sum() == pytest.approx(1 - inside.dice.mean(), abs=1e-12)
        assert part.after.iloc[-1] == pytest.approx(inside.dice.mean(), abs=1e-12)
        assert np.allclose(part.before - part.lost, part.after)


def test_all_is_the_average_of_the_regions_by_their_rows():
    scores = random_rows(7)
    budget = error_budget(scores, config=CONFIG).pivot(index="region", columns="step", values="lost")
    share = scores.groupby("region").size() / len(scores)
    assert np.allclose(budget.loc["all"], budget.drop("all").mul(share, axis=0).sum())


def test_intervals_hold_the_measured_loss_and_vanish_for_a_single_case():
    budget = error_budget(random_rows(1, cases=12), config=CONFIG)
    total = budget[budget.region == "all"]
    assert (total.low <= total.lost + 1e-12).all() and (total.high >= total.lost - 1e-12).all()
    assert error_budget(random_rows(1, cases=1), config=CONFIG)[["low", "high"]].isna().to_numpy().all()


def test_the_interval_is_that_of_budgets_of_redrawn_cases():
    scores = random_rows(2, cases=5)
    budget = error_budget(scores, ceilings(scores, 0.9), config=CONFIG)
    names = list(dict.fromkeys(scores.case))
    drawn = []
    for times in np.random.default_rng(CONFIG.seed).multinomial(5, [0.2] * 5, size=CONFIG.bootstrap_draws):
        parts = [
            scores[scores.case == n].assign(case=f"{n}-{k}")
            for n, t in zip(names, times, strict=True)
            for k in range(t)
        ]
        again = pd.concat(parts)
        drawn.append(steps(error_budget(again, ceilings(again, 0.9), config=EvaluationConfig(bootstrap_draws=2))))
    drawn = pd.DataFrame(drawn)
    for line in budget[budget.region == "all"].itertuples():
        low, high = np.percentile(drawn[line.step], [2.5, 97.5], method="nearest")
        assert (line.low, line.high) == (pytest.approx(low), pytest.approx(high))


def test_n_counts_the_rows_that_lost_something():
    scores = rows(
        ("a", "L1", True, 1.0, 1.0, 1.0),
        ("a", "L2", True, 0.0, 0.7, 1.0),
        ("b", "L2", False, 0.0, 0.0, np.nan),
        ("b", "L3", True, 0.1, 0.1, 0.2),
    )
    budget = error_budget(scores, config=CONFIG)
    n = budget[budget.region == "all"].set_index("step").n.to_dict()
    assert n == {"absent": 1, "cut": 1, "shifted": 1, "missed": 0, "resolution": 0, "boundary": 2}


def test_a_vertebra_without_a_ceiling_is_named():
    scores = rows(("a", "L1", True, 0.8, 0.8, 1.0), ("b", "L2", True, 0.8, 0.8, 1.0))
    with pytest.raises(ValueError, match="no ceiling for L2 of case b"):
        error_budget(scores, ceilings(scores[:1], 0.9), config=CONFIG)


def test_two_methods_in_one_table_are_refused():
    scores = rows(("a", "L1", True, 0.8, 0.8, 1.0), ("a", "L1", True, 0.9, 0.9, 1.0))
    with pytest.raises(ValueError, match="L1 of case a has several rows"):
        error_budget(scores, config=CONFIG)


def test_nothing_to_score_gives_an_empty_budget():
    assert error_budget(random_rows(0)[:0], config=CONFIG).empty


def test_names_confused_are_counted_in_voxels_over_all_cases():
    reference, prediction = np.zeros((3, 3, 3), np.uint8), np.zeros((3, 3, 3), np.uint8)
    reference[0], prediction[0] = IDS["L1"], IDS["T12"]
    table = confusion_of_names([(reference, prediction), (reference, reference)])
    assert table.loc["L1", "T12"] == 9 and table.loc["L1", "L1"] == 9 and table.loc["background", "background"] == 36
    assert table.to_numpy().sum() == 54 and table.shape == (26, 26)


def test_training_share_counts_cases_not_rows():
    presence = pd.DataFrame({"case": ["a", "a", "b", "x"], "vertebra": ["L1", "L1", "L2", "L1"]})
    share = training_share(presence, ["a", "b", "c"])
    assert share["L1"] == share["L2"] == pytest.approx(1 / 3) and share["C1"] == 0 and len(share) == 25
    voxels = presence.assign(voxels=[5, 5, 0, 5])
    assert training_share(voxels, ["a", "b", "c"])["L2"] == 0
    with pytest.raises(ValueError, match="no training case"):
        training_share(presence, [])


def test_factors_are_joined_to_the_vertebrae_of_the_reference():
    scores = rows(("a", "L1", True, 0.8, 0.8, np.nan), ("a", "L2", False, 0, 0, np.nan))
    truth = pd.DataFrame({"case": ["a"], "vertebra": ["L1"], "visible_share": [0.4]})
    table = factors(scores, truth, {"L1": 0.25})
    assert table[["vertebra", "visible_share", "training_share"]].values.tolist() == [["L1", 0.4, 0.25]]


def test_rank_correlation_is_that_of_scipy_with_ties_and_repeats():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 6, 30).astype(float), rng.random(30).round(1)
    weights = rng.integers(0, 3, (20, 30))
    expected = [spearmanr(np.repeat(x, w), np.repeat(y, w)).statistic for w in weights]
    assert np.allclose(spearman(x, y, weights), expected)


def test_a_factor_that_rises_with_dice_correlates_fully_and_a_constant_one_not_at_all():
    scores = rows(
        *[(case, name, True, d, d, d) for case in "ab" for name, d in (("L1", 0.1), ("L2", 0.5), ("L3", 0.9))]
    )
    table = correlates(scores, config=CONFIG).set_index(["region", "factor"])
    line = table.loc[("lumbar", "visible_share")]
    assert line.spearman == line.low == line.high == 1 and line["rows"] == 6
    assert np.isnan(table.loc[("all", "reference_ml")].spearman)  # all of one size
    assert table.loc[("all", "training_share")]["rows"] == 0


def block(shape=(24, 30, 18)):
    labels = np.zeros(shape, np.uint8)
    labels[4:16, 6:14, 5:13] = IDS["L2"]
    labels[4:16, 16:24, 5:13] = IDS["L1"]
    labels[20, 3, 3] = IDS["C1"]
    return labels


def oblique(spacing):
    angle = 0.3
    affine = np.eye(4)
    affine[:3, :3] = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    ) @ np.diag(spacing)
    return affine


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (-1.2, 0.8, 1.5)])
def test_the_ceiling_on_the_scans_own_voxel_size_is_one_and_falls_as_voxels_grow(spacing):
    affine = oblique(spacing)
    assert (resolution_ceiling(block(), oblique((1, 1, 1)), 1.0).ceiling == 1).all()
    means = [resolution_ceiling(block(), affine, mm).ceiling.mean() for mm in (1.0, 4.0, 9.0)]
    assert means[0] > means[1] > means[2]


def test_the_ceiling_has_a_row_for_each_vertebra_even_for_one_that_the_grid_loses():
    table = resolution_ceiling(block(), np.eye(4), 6.0, case="a")
    assert list(table.vertebra) == ["C1", "L1", "L2"] and table.ceiling.iloc[0] == 0 and set(table.case) == {"a"}
