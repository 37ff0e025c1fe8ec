import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from builders import generate

from spineseg.config import CohortConfig, Config
from spineseg.data import cohort, phantom_cohort
from spineseg.data.case import Case
from spineseg.data.reference import read_case
from spineseg.errors import CaseError


@pytest.fixture
def smoke(tmp_path, monkeypatch):
    monkeypatch.setenv("SPINESEG_HOME", str(tmp_path))
    return Config.load("smoke")


def make(config):
    return phantom_cohort.make_phantoms(config, generate=generate, progress=False)


def times(folder):
    return {p.name: p.stat().st_mtime_ns for p in sorted((folder / "volumes").glob("*.nii"))}


def test_a_cohort_holds_scan_segmentation_and_truth_of_every_case(smoke):
    folder = make(smoke)
    assert folder.name == "phantom-smoke"
    assert list(times(folder)) == [f"case_{i:04d}.nii" for i in range(9)]
    scan, labels = read_case(Case.of(("", folder / "volumes/case_0002.nii", folder / "segmentations/case_0002.nii")))
    assert scan.array.dtype == np.int16 and labels.array.dtype == np.uint8
    assert np.array_equal(scan.array, generate(smoke.cohort.seed + 2, spacing_mm=6.0).ct_hu)
    truth, cases = pd.read_csv(folder / "truth.csv"), pd.read_csv(folder / "cases.csv")
    assert list(truth) == ["case", "vertebra", "full_ml", "visible_ml", "visible_share"] and len(truth) == 18
    assert cases["seed"].tolist() == [smoke.cohort.seed + i for i in range(9)]
    assert cases["split"].tolist() == ["train"] * 4 + ["validation"] * 2 + ["test"] * 3
    assert (cases["view.kind"] == "trunk").all()


def test_what_exists_is_not_made_again(smoke):
    before = times(make(smoke))
    assert times(make(smoke)) == before


def test_the_truth_is_listed_for_the_configured_cases(smoke, monkeypatch):
    folder = make(Config.load("smoke", **{"cohort.test": 5}))
    monkeypatch.setattr(phantom_cohort, "make_phantoms", lambda _: folder)
    assert len(phantom_cohort.truth(smoke)) == 18


def test_a_missing_or_half_made_case_is_made_again_and_no_other(smoke):
    folder = make(smoke)
    before = times(folder)
    (folder / "volumes/case_0001.nii").unlink()
    (folder / "truth/case_0003.json").unlink()
    after = times(make(smoke))
    assert {name for name in after if after[name] != before[name]} == {"case_0001.nii", "case_0003.nii"}


def test_a_larger_cohort_adds_cases_and_a_smaller_one_ignores_them(smoke):
    before = times(make(smoke))
    larger = Config.load("smoke", **{"cohort.test": 5})
    after = times(make(larger))
    assert len(after) == 11 and all(after[name] == before[name] for name in before)
    make(smoke)
    folder = str(phantom_cohort.cohort_folder(smoke))
    assert len(cohort.cases(Config.load("smoke", **{"cohort.layout": "kaggle", "cohort.folder": folder}))) == 11


@pytest.mark.parametrize("change", [{"cohort.seed": 5}, {"cohort.spacing_mm": 5.0}, {"cohort.neck_share": 1.0}])
def test_another_seed_or_voxel_size_makes_the_cohort_again(smoke, change):
    before = times(make(smoke))
    after = times(make(Config.load("smoke", **change)))
    assert all(after[name] != before[name] for name in before)


def test_more_bone_alone_makes_the_training_phantoms_again_and_no_other(smoke):
    before = times(make(smoke))
    after = times(make(Config.load("smoke", **{"cohort.bone_only_share": 1.0})))
    changed = {name for name in before if after[name] != before[name]}
    assert {name.split(".")[0] for name in changed} == {phantom_cohort.case_name(i) for i in range(smoke.cohort.train)}


def test_a_changed_generator_makes_the_cohort_again(smoke, monkeypatch):
    before = times(make(smoke))
    monkeypatch.setattr(phantom_cohort, "source_hash", lambda _: "another")
    after = times(make(smoke))
    assert all(after[name] != before[name] for name in before)
    assert json.loads((phantom_cohort.cohort_folder(smoke) / "cohort.json").read_text())["code"] == "another"


def test_another_spread_makes_the_cohort_again(smoke):
    before = times(make(smoke))
    after = times(make(dataclasses.replace(smoke, cohort=dataclasses.replace(smoke.cohort, spread=0.5))))
    assert all(after[name] != before[name] for name in before)


def test_every_other_case_shows_a_neck_where_half_must():
    half, none = (CohortConfig(train=6, neck_share=share) for share in (0.5, 0.0))
    assert [bool(phantom_cohort.wish(i, half)["needs"]) for i in range(6)] == [False, True, False, True, False, True]
    assert not any(phantom_cohort.wish(i, none)["needs"] for i in range(50))


def test_bone_alone_is_asked_of_training_phantoms_and_left_to_chance_elsewhere():
    config = CohortConfig(train=96, validation=8, test=20, neck_share=0.5, bone_only_share=0.13)
    wishes = [phantom_cohort.wish(i, config) for i in range(124)]
    bone = [i for i, wish in enumerate(wishes) if wish["bone_only"]]
    assert len(bone) == 12 and max(bone) < 96
    assert 4 <= sum(bool(wishes[i]["needs"]) for i in bone) <= 8  # as many with a neck as without
    assert {wish["bone_only"] for wish in wishes} == {True, None}


def test_phantoms_are_never_written_into_a_folder_of_something_else(smoke):
    scan = phantom_cohort.cohort_folder(smoke) / "volumes" / "case_0000.nii"
    scan.parent.mkdir(parents=True)
    scan.write_bytes(b"a patient's scan")
    with pytest.raises(CaseError, match=r"other files.*cohort\.layout"):
        make(smoke)
    assert scan.read_bytes() == b"a patient's scan" and list(scan.parent.iterdir()) == [scan]
