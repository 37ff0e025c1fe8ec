import numpy as np
import pandas as pd
import pytest

from spineseg.anatomy.labels import IDS, REGION_OF, REGIONS, VERTEBRAE
from spineseg.config import EvaluationConfig
from spineseg.evaluation import bootstrap
from spineseg.evaluation.metrics import binary_dice, dice_per_class
from spineseg.evaluation.scores import case_scores, is_cut, score_case, score_cases, shift_histogram, summary
from spineseg.evaluation.surfaces import hd95_mm, nsd
from spineseg.evaluation.tables import case_summary

CONFIG = EvaluationConfig(bootstrap_draws=300)
SHAPE = (13, 18, 9)
AFFINE = np.diag([2.0, 3.0, 1.0, 1.0])


def empty():
    return np.zeros(SHAPE, np.uint8)


def slabs():
    """L1 to L4, each three voxels thick along J, none at the edge."""
    labels = empty()
    for n, name in enumerate(("L4", "L3", "L2", "L1")):
        labels[2:10, 2 + 3 * n : 5 + 3 * n, 2:7] = IDS[name]
    return labels


def row(scores, vertebra):
    return scores.set_index("vertebra").loc[vertebra]


def scored(reference, prediction, case="a", **options):
    return score_case(case, reference, prediction, AFFINE, config=CONFIG, **options)


def synthetic(seed=0, cases=6):
    """A table of scores as they come, without voxels."""
    rng = np.random.default_rng(seed)
    rows = []
    for case in range(cases):
        first, last = sorted(rng.choice(26, 2, replace=False))
        for i, name in enumerate(VERTEBRAE):
            present, predicted = first <= i < last, rng.random() < (0.9 if first <= i < last else 0.1)
            both, either = present and predicted, present or predicted
            rows.append(
                {
                    "case": f"c{case}",
                    "vertebra": name,
                    "region": REGION_OF[name],
                    "reference_voxels": int(present) * 100,
                    "prediction_voxels": int(predicted) * 100,
                    "dice": rng.random() * both if either else np.nan,
                    "hd95_mm": (rng.random() * 9 if both else np.inf) if either else np.nan,
                    "visible_share": rng.random() if present else np.nan,
                    "at_border": False,
                }
            )
    return pd.DataFrame(rows)


def test_a_case_has_one_row_for_each_vertebra_in_order():
    scores = scored(slabs(), slabs())
    assert list(scores.vertebra) == list(VERTEBRAE) and set(scores.case) == {"a"}


def test_a_perfect_prediction_scores_one_where_the_reference_is_and_nan_elsewhere():
    scores = scored(slabs(), slabs())
    inside = scores[scores.reference_voxels > 0]
    assert list(inside.vertebra) == ["L1", "L2", "L3", "L4"]
    assert (inside[["dice", "nsd", "identified", "best_match_dice"]] == 1).to_numpy().all()
    assert (inside[["hd95_mm", "centroid_mm", "shift"]] == 0).to_numpy().all()
    outside = scores[scores.reference_voxels == 0]
    assert (
        outside[["dice", "nsd", "hd95_mm", "identified", "centroid_mm", "best_match_dice", "shift"]]
        .isna()
        .to_numpy()
        .all()
    )


def test_volume_is_voxels_times_the_size_of_one():
    assert row(scored(slabs(), slabs()), "L2").reference_ml == pytest.approx(8 * 3 * 5 * 6 / 1000)


def test_a_missed_vertebra_has_dice_zero_and_an_infinite_distance():
    prediction = slabs()
    prediction[prediction == IDS["L2"]] = 0
    missed = row(scored(slabs(), prediction), "L2")
    assert missed.dice == missed.nsd == missed.identified == missed.best_match_dice == 0 and missed.hd95_mm == np.inf
    assert np.isnan(missed["shift"]) and pd.isna(missed.best_match) and np.isnan(missed.centroid_mm)


def test_a_false_positive_has_dice_zero_and_is_not_asked_for_identification():
    reference = slabs()
    reference[reference == IDS["L2"]] = 0
    extra = row(scored(reference, slabs()), "L2")
    assert extra.dice == 0 and extra.hd95_mm == np.inf and np.isnan(extra.identified) and pd.isna(extra.best_match)


def test_names_one_level_too_high_keep_their_best_match_dice():
    reference = slabs()
    prediction = np.where(reference > 0, reference - 1, 0)
    scores = scored(reference, prediction)
    l3 = row(scores, "L3")
    assert (
        l3.dice == 0 and l3.best_match_dice == 1 and l3.best_match == "L2" and l3["shift"] == -1 and l3.identified == 0
    )
    assert l3.found_voxels == l3.reference_voxels


def test_best_match_is_never_below_the_dice():
    rng = np.random.default_rng(3)
    scores = scored(rng.integers(0, 26, SHAPE), rng.integers(0, 26, SHAPE))
    assert (scores.best_match_dice >= scores.dice).all()


def test_scores_agree_with_the_metrics_on_an_anisotropic_grid():
    rng = np.random.default_rng(4)
    reference, prediction = slabs(), slabs()
    prediction[rng.random(SHAPE) < 0.3] = 0
    prediction = np.roll(prediction, 1, 0)
    scores = scored(reference, prediction)
    assert np.allclose(scores.dice, dice_per_class(reference, prediction)[1:], equal_nan=True)
    a, b = reference == IDS["L3"], prediction == IDS["L3"]
    assert row(scores, "L3").hd95_mm == hd95_mm(a, b, spacing=(2, 3, 1))
    assert row(scores, "L3").nsd == nsd(a, b, spacing=(2, 3, 1), tolerance_mm=CONFIG.nsd_tolerance_mm)


def test_scores_do_not_change_when_the_scan_is_turned_in_the_world():
    angle = np.deg2rad(25)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    prediction = np.roll(slabs(), 1, 1)
    turned = score_case("a", slabs(), prediction, turn @ AFFINE, config=CONFIG)
    pd.testing.assert_frame_equal(turned, scored(slabs(), prediction))


def test_a_reference_that_reaches_the_edge_of_the_scan_is_at_the_border():
    reference = slabs()
    reference[0, 3, 3] = IDS["L4"]
    reference[5, 13, 8] = IDS["L1"]
    scores = scored(reference, reference)
    assert list(scores.vertebra[scores.at_border]) == ["L1", "L4"]


def test_visible_shares_are_taken_from_the_truth():
    truth = pd.DataFrame({"case": ["a", "b"], "vertebra": ["L1", "L1"], "visible_share": [0.3, 0.9]})
    scores = score_cases([(c, slabs(), slabs(), AFFINE) for c in "ab"], config=CONFIG, truth=truth)
    assert scores[scores.vertebra == "L1"].visible_share.tolist() == [0.3, 0.9]
    assert np.isnan(row(scores[scores.case == "a"], "L2").visible_share)


def test_an_ignored_vertebra_counts_neither_as_miss_nor_as_false_positive():
    reference, prediction = slabs(), slabs()
    reference[reference == IDS["L1"]] = 0  # not labelled there, but found
    prediction[prediction == IDS["L4"]] = IDS["L3"]  # ignored in the reference, called L3
    scores = scored(reference, prediction, ignore=("L1", "L4"))
    assert len(scores) == 23 and not set(scores.vertebra) & {"L1", "L4"}
    assert row(scores, "L3").dice == 1
    assert case_scores(scores).binary_dice.item() == 1


def test_bone_under_an_ignored_name_is_a_wrong_name_and_not_a_hole():
    prediction = slabs()
    prediction[prediction == IDS["L2"]] = IDS["S1"]
    scores = scored(slabs(), prediction, ignore=("S1",))
    misnamed = row(scores, "L2")
    assert misnamed.dice == 0 and misnamed.best_match_dice == 1 and misnamed.best_match == "S1"
    assert case_scores(scores).binary_dice[0] == 1


def test_false_volumes_add_up_over_names_and_leave_wrong_names_on_bone_alone():
    reference, prediction = slabs(), slabs()
    prediction[prediction == IDS["L2"]] = IDS["C4"]  # a wrong name, but bone
    prediction[2:10, 14, 2:7] = IDS["L1"]  # one voxel of 3 mm beyond L1: 40 voxels, within the tolerance
    prediction[2:10, 15, 2:5] = IDS["T12"]  # 24 voxels, 6 mm from L1
    scores = scored(reference, prediction)
    assert row(scores, "C4").false_positive_ml == 0
    assert row(scores, "L1").false_positive_ml == pytest.approx(40 * 6 / 1000)
    assert row(scores, "L1").false_vertebra_ml == 0
    assert row(scores, "T12").false_vertebra_ml == pytest.approx(24 * 6 / 1000)
    case = case_scores(scores).iloc[0]
    assert case.false_positive_ml == pytest.approx(64 * 6 / 1000)
    assert case.false_vertebra_ml == pytest.approx(24 * 6 / 1000)


def test_what_lies_beside_a_vertebra_that_is_left_out_is_not_far_from_any():
    prediction = slabs()
    prediction[2:10, 14, 2:7] = IDS["L2"]  # beside L1, 40 voxels
    scores = scored(slabs(), prediction, ignore=("L1",))
    assert row(scores, "L2").false_positive_ml == pytest.approx(0.24) and row(scores, "L2").false_vertebra_ml == 0


def test_an_unknown_name_to_ignore_is_named():
    with pytest.raises(ValueError, match=r"unknown vertebrae to ignore: \['L9'\]"):
        scored(slabs(), slabs(), ignore=("L9",))


def test_no_case_is_an_error():
    with pytest.raises(ValueError, match="no case to score"):
        score_cases([], config=CONFIG)


def test_case_scores_agree_with_the_metrics():
    rng = np.random.default_rng(5)
    reference, prediction = slabs(), np.where(rng.random(SHAPE) < 0.4, rng.integers(0, 26, SHAPE), slabs())
    scores = scored(reference, prediction)
    case = case_scores(scores).iloc[0]
    assert case.binary_dice == pytest.approx(binary_dice(reference, prediction))
    dice = dice_per_class(reference, prediction)[1:]
    present = scores.reference_voxels.to_numpy() > 0
    assert case.mean_dice == pytest.approx(dice[present].mean())
    assert case_scores(scores, convention="all").mean_dice.item() == pytest.approx(np.nanmean(dice))
    assert case.identification == pytest.approx(scores.identified.mean())


def test_case_scores_keep_methods_apart():
    both = pd.concat([scored(slabs(), m).assign(method=n) for n, m in (("baseline", empty()), ("cascade", slabs()))])
    table = case_scores(both)
    assert table.method.tolist() == ["baseline", "cascade"] and table.mean_dice.tolist() == [0, 1]


def test_a_case_without_vertebrae_has_no_mean():
    case = case_scores(scored(empty(), empty())).iloc[0]
    assert np.isnan(case.binary_dice) and np.isnan(case.mean_dice) and np.isnan(case.identification)


def test_cut_is_told_by_the_share_where_known_and_by_the_edge_elsewhere():
    scores = pd.DataFrame(
        {
            "reference_voxels": [9, 9, 9, 9, 0],
            "visible_share": [0.2, 0.9, np.nan, np.nan, np.nan],
            "at_border": [True, True, True, False, False],
        }
    )
    assert is_cut(scores, below=0.5).tolist() == [True, False, True, False, False]


def test_both_conventions_are_solved_by_hand():
    reference = slabs()
    reference[reference == IDS["L1"]] = 0
    scores = scored(reference, slabs())  # three perfect, one false positive
    assert summary(scores, None, "present")["mean"].item() == 1
    assert summary(scores, None, "all")["mean"].item() == 0.75
    assert summary(scores, None, "all")["rows"].item() == 4


@pytest.mark.parametrize("convention", ["present", "all"])
@pytest.mark.parametrize("by", ["region", "vertebra", None])
def test_summary_equals_a_loop_over_rows(by, convention):
    scores = synthetic()
    table = summary(scores, by, convention, config=CONFIG)
    names = {"region": list(REGIONS), "vertebra": list(VERTEBRAE), None: ["all"]}[by]
    assert list(table[by or "region"]) == names
    for line, name in zip(table.itertuples(), names, strict=True):
        values, cases = [], set()
        for r in scores.itertuples():
            here = by is None or getattr(r, by) == name
            if here and (r.reference_voxels or (convention == "all" and r.prediction_voxels)):
                values.append(r.dice)
                cases.add(r.case)
        assert (line.rows, line.cases) == (len(values), len(cases))
        assert line.mean == pytest.approx(np.mean(values)) if values else np.isnan(line.mean)


def test_the_interval_is_that_of_a_loop_that_draws_whole_cases():
    scores = synthetic(cases=9)
    line = summary(scores, None, "present", config=CONFIG).iloc[0]
    kept = scores[scores.reference_voxels > 0]
    names = list(dict.fromkeys(kept.case))
    rng = np.random.default_rng(CONFIG.seed)
    means = []
    for times in rng.multinomial(len(names), [1 / len(names)] * len(names), size=CONFIG.bootstrap_draws):
        drawn = pd.concat([kept[kept.case == n] for n, k in zip(names, times, strict=True) for _ in range(k)])
        means.append(drawn.dice.mean())
    low, high = np.percentile(means, [2.5, 97.5], method="nearest")
    assert (line.low, line.high) == (pytest.approx(low), pytest.approx(high))
    assert low < line["mean"] < high


def test_one_case_has_no_interval():
    line = summary(scored(slabs(), slabs()), None).iloc[0]
    assert line["mean"] == 1 and np.isnan(line.low) and np.isnan(line.high) and line.cases == 1


def test_the_same_seed_gives_the_same_interval():
    scores = synthetic()
    pd.testing.assert_frame_equal(summary(scores, config=CONFIG), summary(scores, config=CONFIG))


def test_distances_are_summed_up_by_their_median_and_infinite_ones_are_counted():
    scores = pd.DataFrame(
        {
            "case": list("aabbc"), "vertebra": ["L1", "L2", "L1", "L2", "L1"], "region": "lumbar",
            "reference_voxels": 1, "prediction_voxels": [1, 1, 1, 1, 0], "hd95_mm": [1.0, 2.0, 3.0, 9.0, np.inf],
        }
    )  # fmt: skip
    line = summary(scores, value="hd95_mm", config=CONFIG).iloc[0]
    assert line["median"] == 3 and line.infinite == 1 and line.rows == 5 and line.low >= 1


def test_a_measure_per_case_is_summed_up_by_hand():
    cases = pd.DataFrame({"case": list("abcd"), "ml": [0.0, 1.0, 5.0, np.nan]})
    line = case_summary(cases, "ml", above=1.0, config=CONFIG)
    assert (line["mean"], line["median"], line["above"], line["cases"]) == (2, 1, 1, 3)
    assert line["low"] < 2 < line["high"] and {line["median_low"], line["median_high"]} <= {0, 1, 5}
    alone = case_summary(cases.head(1), "ml", above=1.0, config=CONFIG)
    assert alone["mean"] == 0 and np.isnan(alone["low"])
    assert np.isnan(case_summary(cases.tail(1), "ml", above=1.0, config=CONFIG)["median"])


def test_a_case_that_is_there_twice_and_an_unknown_measure_are_named():
    cases = pd.DataFrame({"case": ["a", "a"], "ml": 1.0})
    with pytest.raises(ValueError, match="case a has several rows"):
        case_summary(cases, "ml", above=1.0)
    with pytest.raises(ValueError, match="no column 'mm' to sum up; the cases have case, ml"):
        case_summary(cases, "mm", above=1.0)


def test_leaving_out_cut_vertebrae_drops_their_rows_only():
    scores = synthetic()
    table = summary(scores, None, without_cut=True, config=CONFIG).iloc[0]
    whole = scores[(scores.reference_voxels > 0) & (scores.visible_share >= CONFIG.sliver_share)]
    assert table["rows"] == len(whole) and table["mean"] == pytest.approx(whole.dice.mean())


def test_summary_groups_by_several_columns():
    scores = pd.concat([synthetic().assign(method=m) for m in ("cascade", "baseline")])
    table = summary(scores, ["method", "region"], config=CONFIG)
    assert list(zip(table.method, table.region, strict=True)) == [
        (m, r) for m in ("cascade", "baseline") for r in REGIONS
    ]


def test_unknown_conventions_and_columns_are_named():
    scores = synthetic()
    with pytest.raises(ValueError, match="convention must be 'present' or 'all', got 'some'"):
        summary(scores, convention="some")
    with pytest.raises(ValueError, match="no column 'dise'"):
        summary(scores, value="dise")
    with pytest.raises(ValueError, match=r"cannot group by \['sex'\]"):
        summary(scores, "sex")


def test_shift_histogram_counts_names_and_leaves_out_the_missed():
    reference = slabs()
    prediction = np.where(reference > 0, reference - 1, 0)
    prediction[reference == IDS["L4"]] = IDS["L4"]
    prediction[reference == IDS["L1"]] = 0
    table = shift_histogram(scored(reference, prediction))
    assert (
        table["shift"].tolist() == [-1, 0]
        and table.vertebrae.tolist() == [2, 1]
        and table.share.tolist() == [0.5, 0.25]
    )


def test_shift_histogram_per_region_keeps_the_columns():
    table = shift_histogram(scored(slabs(), slabs()), "region")
    assert table.to_dict("records") == [{"region": "lumbar", "shift": 0, "vertebrae": 4, "share": 1.0}]


def test_weighted_median_equals_the_median_of_the_repeated_rows():
    rng = np.random.default_rng(0)
    values, cases = rng.integers(0, 9, 40).astype(float), rng.integers(0, 7, 40)
    weights = bootstrap.case_weights(7, draws=50, seed=1)
    expected = [np.median(np.repeat(values, w[cases])) for w in weights]
    assert np.array_equal(bootstrap.weighted_median(values, cases, weights), expected)


def test_a_draw_without_rows_is_nan_and_left_out_of_the_interval():
    weights = np.array([[2, 0], [0, 2], [1, 1]])
    draws = bootstrap.weighted_mean(np.array([3.0]), np.array([0]), weights)
    assert draws[0] == draws[2] == 3 and np.isnan(draws[1])
    assert bootstrap.interval(draws, level=0.95) == (3, 3)
