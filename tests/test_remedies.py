import numpy as np
import pandas as pd
import pytest

from spineseg.anatomy.labels import REGION_OF, VERTEBRAE
from spineseg.config import EvaluationConfig
from spineseg.evaluation.errors import STEPS, error_budget, paired_budgets
from spineseg.evaluation.remedies import remedy_steps

CONFIG = EvaluationConfig(bootstrap_draws=200)


def rows(*lines):
    """Score rows from (case, vertebra, present, dice, best)."""
    table = pd.DataFrame(lines, columns=["case", "vertebra", "present", "dice", "best_match_dice"])
    table["region"] = table["vertebra"].map(REGION_OF)
    table["reference_voxels"] = 10 * table.pop("present")
    return table.assign(prediction_voxels=10, visible_share=1.0, at_border=False)


def random_pair(seed=0, cases=9):
    rng = np.random.default_rng(seed)
    before, after = [], []
    for case in range(cases):
        for name in VERTEBRAE:
            present = rng.random() < 0.6
            for lines, right in ((before, 0.4), (after, 0.8)):
                best = rng.random() * (rng.random() < 0.9) * present
                if present or rng.random() < 0.2:
                    lines.append((f"c{case}", name, present, best * (rng.random() < right), best))
    return rows(*before), rows(*after)


def lines(table, remedy):
    return table[table["remedy"] == remedy].set_index("measure")


def test_a_mended_name_is_solved_by_hand():
    before = rows(("a", "C1", True, 0.0, 0.8), ("b", "C2", True, 0.6, 0.6), ("b", "L1", True, 0.0, 0.0))
    after = rows(("a", "C1", True, 0.8, 0.8), ("b", "C2", True, 0.6, 0.6), ("b", "L1", True, 0.9, 0.9))
    table = remedy_steps({"one": before, "two": after}, region="cervical", config=CONFIG)
    found = lines(table, "two")
    assert found.loc["Dice", ["before", "after", "change"]].tolist() == pytest.approx([0.3, 0.7, 0.4])
    assert found.loc["shifted", ["before", "after", "change"]].tolist() == pytest.approx([0.4, 0.0, -0.4])
    assert found.loc["boundary", "change"] == pytest.approx(0) and found.loc["missed", "change"] == 0
    assert found["n"].tolist() == [2] * 8


def test_a_false_neck_that_goes_away_counts_under_all_and_not_under_present():
    before = rows(("a", "C1", True, 0.5, 0.5), ("a", "C2", False, 0.0, 0.0))
    after = rows(("a", "C1", True, 0.5, 0.5))
    found = lines(remedy_steps({"one": before, "two": after}, config=CONFIG), "two")
    assert found.loc["Dice", "change"] == 0
    assert found.loc["Dice, all", ["before", "after"]].tolist() == pytest.approx([0.25, 0.5])
    assert found.loc["absent", "change"] == pytest.approx(-0.5)


@pytest.mark.parametrize("region", ["cervical", "thoracic", "all"])
def test_the_changes_of_the_steps_add_up_to_the_change_of_the_dice(region):
    table = remedy_steps(dict(zip(("one", "two"), random_pair(), strict=True)), region=region, config=CONFIG)
    found = lines(table, "two")
    assert found.loc[list(STEPS), "change"].sum() == pytest.approx(-found.loc["Dice, all", "change"])


def test_steps_before_and_after_are_those_of_the_error_budget():
    before, after = random_pair(1)
    found = lines(remedy_steps({"one": before, "two": after}, config=CONFIG), "two")
    for column, scores in (("before", before), ("after", after)):
        budget = error_budget(scores, config=CONFIG)
        expected = budget[budget["region"] == "cervical"].set_index("step")["lost"]
        assert np.allclose(found.loc[list(STEPS), column], expected)


def test_the_same_method_twice_has_changed_nothing_for_certain():
    before, _ = random_pair(2)
    table = remedy_steps({"one": before, "two": before}, config=CONFIG)
    assert (table[["change", "low", "high"]] == 0).all(axis=None)


def test_the_same_cases_are_drawn_before_and_after():
    before, after = random_pair(3)
    cases, names = list(dict.fromkeys([*before.case, *after.case])), ["one", "two"]
    rng = np.random.default_rng(CONFIG.seed)
    changes = []
    for times in rng.multinomial(len(cases), [1 / len(cases)] * len(cases), size=20):
        copies = [(case, k) for case, n in zip(cases, times, strict=True) for k in range(n)]
        lost = []
        for scores in (before, after):
            drawn = pd.concat([scores[scores.case == c].assign(case=f"{c}-{k}") for c, k in copies])
            budget = error_budget(drawn, config=EvaluationConfig(bootstrap_draws=1))
            lost.append(budget[budget.region == "cervical"].set_index("step").lost)
        changes.append((lost[1] - lost[0]).to_numpy())
    few = EvaluationConfig(bootstrap_draws=20)
    regions, _, drawn = paired_budgets(dict(zip(names, (before, after), strict=True)), config=few)
    assert np.allclose(drawn[1, :, regions.index("cervical")] - drawn[0, :, regions.index("cervical")], changes)


def test_three_methods_give_two_remedies_in_their_order():
    before, after = random_pair(4)
    table = remedy_steps({"one": before, "two": after, "three": after}, config=CONFIG)
    assert list(dict.fromkeys(table["remedy"])) == ["two", "three"]
    assert (lines(table, "three")["change"] == 0).all()


def test_a_region_that_only_predictions_have_keeps_its_steps_and_has_no_dice():
    before, after = rows(("a", "C1", False, 0.0, 0.0), ("a", "L1", True, 1.0, 1.0)), rows(("a", "L1", True, 1.0, 1.0))
    found = lines(remedy_steps({"one": before, "two": after}, config=CONFIG), "two")
    assert np.isnan(found.loc["Dice", "change"]) and found.loc["absent", "before"] == 1
    assert len(remedy_steps({"one": after, "two": after}, config=CONFIG)) == 0


def test_one_case_has_no_interval():
    table = remedy_steps({n: rows(("a", "C1", True, 0.5, 0.5)) for n in ("one", "two")}, config=CONFIG)
    assert np.isnan(table[["low", "high"]]).all(axis=None) and (table["change"] == 0).all()


def test_too_few_methods_and_unlike_cases_are_refused():
    before, _ = random_pair(5)
    with pytest.raises(ValueError, match=r"two methods or more to compare, got \['one'\]"):
        remedy_steps({"one": before})
    fewer = before.drop(before.index[(before.case == "c3") & (before.reference_voxels > 0)][0])
    with pytest.raises(ValueError, match="must be scored on the same cases; 1 vertebrae differ, such as c3"):
        remedy_steps({"one": before, "two": fewer})
