import pandas as pd
import pytest

from spineseg.config import Config
from spineseg.data.splits import refuse_leaks, split


def table(count, **columns):
    return pd.DataFrame({"case": [f"case_{i:04d}" for i in range(count)], **columns})


REAL = Config.load("full")


def test_phantoms_are_split_by_index():
    parts = split(table(9), Config.load("smoke"))["split"].tolist()
    assert parts == ["train"] * 4 + ["validation"] * 2 + ["test"] * 3


def test_a_phantom_cohort_of_another_size_is_refused():
    with pytest.raises(ValueError, match="all 9 phantoms, got 8"):
        split(table(8), Config.load("smoke"))


def test_real_cases_are_cut_at_the_shares():
    counts = split(table(200), REAL)["split"].value_counts().to_dict()
    assert counts == {"train": 160, "validation": 10, "test": 30}


def test_the_split_depends_on_seed_and_name_and_not_on_row_order():
    cases = table(60)
    first = split(cases, REAL).set_index("case")["split"]
    shuffled = split(cases.sample(frac=1, random_state=1), REAL).set_index("case")["split"]
    assert (shuffled.sort_index() == first.sort_index()).all()
    other = split(cases, Config.load("full", **{"cohort.seed": 1})).set_index("case")["split"]
    assert (other != first).any()


def test_dropping_a_case_moves_few_others():
    whole = split(table(200), REAL).set_index("case")["split"]
    fewer = split(table(200).drop(index=17), REAL).set_index("case")["split"]
    assert (whole.loc[fewer.index] != fewer).sum() <= 3


def test_a_patient_is_in_one_part_only():
    cases = table(60, patient=[i // 3 for i in range(60)])
    parts = split(cases, REAL).merge(cases).groupby("patient")["split"].nunique()
    assert (parts == 1).all()


@pytest.mark.parametrize("count", [3, 4, 5])
def test_the_smallest_cohorts_have_all_three_parts(count):
    assert set(split(table(count), REAL)["split"]) == {"train", "validation", "test"}


def test_too_few_cases_are_refused():
    with pytest.raises(ValueError, match="3 patients or more"):
        split(table(2), REAL)


def test_a_case_listed_twice_is_refused():
    with pytest.raises(ValueError, match="'case_0001' is there twice"):
        split(pd.concat([table(5), table(2).tail(1)]), REAL)


def test_the_same_scan_in_two_parts_is_refused():
    parts = pd.DataFrame({"case": ["a", "b", "c"], "split": ["train", "train", "test"]})
    refuse_leaks(parts, {"a": "1", "b": "1", "c": "2"})
    with pytest.raises(ValueError, match=r"'a' \(train\) and 'c' \(test\)"):
        refuse_leaks(parts, {"a": "1", "b": "3", "c": "1"})
