import gzip
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from spineseg.config import CohortConfig, Config
from spineseg.data import cohort, nifti, parallel
from spineseg.errors import CaseError
from spineseg.paths import real_ct_folder

AFFINE = np.diag([-3.0, -3.0, 3.0, 1.0])


def generate(seed, *, spacing_mm, needs=None, bone_only=None):
    """A trunk with two vertebrae, in the shape that the project's generator returns."""
    rng = np.random.default_rng(seed)
    ct = rng.normal(-1000, 10, (16, 18, 20))
    ct[2:14, 2:16] = rng.normal(40, 12, (12, 14, 20))
    labels = np.zeros(ct.shape, np.uint8)
    labels[6:10, 5:9, 0:8], labels[6:10, 5:9, 9:15] = 19, 20
    ct[labels > 0] = rng.normal(220, 20, np.count_nonzero(labels))
    row = {"full_ml": 40.0, "visible_ml": 30.0, "visible_share": 0.75, "centroid_mm": [0, 1, 2]}
    truth = {"view": {"kind": "trunk"}, "screws": [], "vertebrae": [row | {"vertebra": name} for name in ("T12", "L1")]}
    affine = np.diag([-spacing_mm, -spacing_mm, spacing_mm, 1])
    return SimpleNamespace(ct_hu=ct.astype(np.int16), labels=labels, affine=affine, truth=truth)


def dying_once(folder):
    """Kill the first worker that takes the third case."""
    import os
    from pathlib import Path

    folder, index = Path(folder[0]), folder[1]
    if index == 3 and not (folder / "died").exists():
        (folder / "died").touch()
        os._exit(9)
    return index * 2


def failing_on_one(index):
    if index == 1:
        raise CaseError("bad", f"case {index}", "this", "that", "do something")
    return index


@pytest.fixture
def smoke(tmp_path, monkeypatch):
    monkeypatch.setenv("SPINESEG_HOME", str(tmp_path))
    return Config.load("smoke")


def make(config):
    return cohort.make_phantoms(config, generate=generate, progress=False)


def kaggle(config, folder):
    return Config.load(config.profile, **{"cohort.layout": "kaggle", "cohort.folder": str(folder)})


def times(folder):
    return {p.name: p.stat().st_mtime_ns for p in sorted((folder / "volumes").iterdir())}


def test_a_cohort_holds_scan_segmentation_and_truth_of_every_case(smoke):
    folder = make(smoke)
    assert folder.name == "phantom-smoke"
    assert [p.name for p in sorted((folder / "volumes").iterdir())] == [f"case_{i:04d}.nii" for i in range(9)]
    scan, labels = nifti.read_pair(folder / "volumes/case_0002.nii", folder / "segmentations/case_0002.nii")
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
    assert len(cohort.cases(kaggle(smoke, cohort.cohort_folder(smoke)))) == 11


@pytest.mark.parametrize("change", [{"cohort.seed": 5}, {"cohort.spacing_mm": 5.0}, {"cohort.neck_share": 1.0}])
def test_another_seed_or_voxel_size_makes_the_cohort_again(smoke, change):
    before = times(make(smoke))
    after = times(make(Config.load("smoke", **change)))
    assert all(after[name] != before[name] for name in before)


def test_more_bone_alone_makes_the_training_phantoms_again_and_no_other(smoke):
    before = times(make(smoke))
    after = times(make(Config.load("smoke", **{"cohort.bone_only_share": 1.0})))
    changed = {name for name in before if after[name] != before[name]}
    assert {name.split(".")[0] for name in changed} == {cohort.case_name(i) for i in range(smoke.cohort.train)}


def test_a_changed_generator_makes_the_cohort_again(smoke, monkeypatch):
    before = times(make(smoke))
    monkeypatch.setattr(cohort, "source_hash", lambda _: "another")
    after = times(make(smoke))
    assert all(after[name] != before[name] for name in before)
    assert json.loads((cohort.cohort_folder(smoke) / "cohort.json").read_text())["code"] == "another"


def test_the_phantom_layout_makes_its_cohort_on_first_use(smoke, monkeypatch):
    made = cohort.make_phantoms
    monkeypatch.setattr(cohort, "make_phantoms", lambda c, **k: made(c, **(k | {"generate": generate})))
    table = cohort.cases(smoke, progress=False)
    assert list(table) == ["case", "ct", "segmentation"] and len(table) == 9
    assert len(cohort.truth(smoke)) == 18


def test_worker_processes_make_the_same_cohort(smoke, monkeypatch):
    here = {p.name: p.read_bytes() for p in (make(smoke) / "volumes").iterdir()}
    monkeypatch.setattr(parallel, "WORTH_A_POOL_S", 0.0)
    folder = Config.load("smoke", **{"cohort.folder": "elsewhere"})
    there = {p.name: p.read_bytes() for p in (make(folder) / "volumes").iterdir()}
    assert here == there


def test_a_killed_worker_loses_no_case(tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "WORTH_A_POOL_S", 0.0)
    jobs = [(str(tmp_path), i) for i in range(8)]
    results = parallel.map_cases(dying_once, jobs, workers=2, title="", progress=False)
    assert results == [2 * i for i in range(8)] and (tmp_path / "died").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bad_case_is_returned_as_its_error_and_the_others_go_on(monkeypatch, workers):
    monkeypatch.setattr(parallel, "WORTH_A_POOL_S", 0.0)
    first, second, third = parallel.map_cases(failing_on_one, range(3), workers=workers, title="", progress=False)
    assert (first, third) == (0, 2) and isinstance(second, CaseError) and second.remedy == "do something"


def test_a_misnamed_kaggle_copy_and_stray_files_are_handled(smoke, tmp_path):
    folder = make(smoke)
    for part in ("volumes", "segmentations"):
        path = folder / part / "case_0004.nii"
        path.rename(path.with_suffix(".nii.gz"))  # not compressed
        path = folder / part / "case_0005.nii"
        (folder / part / "case_0005.nii.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
        (folder / part / "._case_0000.nii").write_bytes(b"resource fork")
        (folder / part / "notes.txt").write_text("x")
    table = cohort.cases(kaggle(smoke, folder))
    assert table["case"].tolist() == [f"case_{i:04d}" for i in range(9)]
    assert nifti.read_ct(table["ct"][4]).array.shape == nifti.read_ct(table["ct"][5]).array.shape


def test_a_scan_without_its_partner_is_left_out_and_named(smoke):
    folder = make(smoke)
    (folder / "segmentations/case_0006.nii").unlink()
    (folder / "volumes/case_0007.nii").unlink()
    with pytest.warns(UserWarning, match=r"no segmentation: case_0006|no scan: case_0007"):
        table = cohort.cases(kaggle(smoke, folder))
    assert len(table) == 7


def test_two_files_of_one_case_are_refused(smoke):
    folder = make(smoke)
    (folder / "volumes/case_0000.nii.gz").write_bytes(b"x")
    with pytest.raises(CaseError, match="a second file of case_0000"):
        cohort.cases(kaggle(smoke, folder))


@pytest.mark.parametrize("layout", ["kaggle", "pairs"])
def test_a_missing_or_empty_folder_says_what_to_do(smoke, tmp_path, layout):
    config = Config.load("smoke", **{"cohort.layout": layout, "cohort.folder": str(tmp_path / "none")})
    with pytest.raises(CaseError, match="no such folder.*download.*cohort.folder"):
        cohort.cases(config)
    (tmp_path / "none").mkdir()
    with pytest.raises(CaseError, match="0 scans and 0 segmentations"):
        cohort.cases(config)


def test_pairs_are_matched_by_name(smoke, tmp_path):
    phantom = generate(0, spacing_mm=3.0)
    for name in ("b", "a"):
        nifti.write(tmp_path / "p" / f"{name}_ct.nii.gz", phantom.ct_hu, AFFINE)
        nifti.write(tmp_path / "p" / f"{name}_seg.nii.gz", phantom.labels, AFFINE)
    config = Config.load("smoke", **{"cohort.layout": "pairs", "cohort.folder": str(tmp_path / "p")})
    table = cohort.cases(config)
    assert table["case"].tolist() == ["a", "b"] and table["segmentation"][0].endswith("a_seg.nii.gz")


def test_headers_are_listed_and_a_bad_file_has_its_error(smoke):
    folder = make(smoke)
    (folder / "volumes/case_0003.nii").write_bytes(b"<html>")
    table = cohort.headers(cohort.cases(kaggle(smoke, folder)))
    assert len(table) == 9 and (table["error"] != "").sum() == 1 and "a web page" in table["error"][3]
    assert table["orientation"][0] == "LPS" and table["shape"][0] == (16, 18, 20)
    assert table["spacing"][0] == (6.0, 6.0, 6.0) and table["extent_mm"][0] == (96.0, 108.0, 120.0)


def test_presence_counts_every_vertebra_of_every_case(smoke):
    table = cohort.cases(kaggle(smoke, make(smoke)))
    found = cohort.presence(table, workers=1, progress=False)
    assert len(found) == 9 * 25
    rows = found[found["case"] == "case_0000"].set_index("vertebra")
    assert rows.loc["T12", "voxels"] == 4 * 4 * 8 and rows.loc["T12", "at_border"] and not rows.loc["L1", "at_border"]
    assert rows.loc["L1", "ml"] == pytest.approx(4 * 4 * 6 * 0.216) and 200 < rows.loc["L1", "median_hu"] < 240
    assert rows.loc["C1", "voxels"] == 0 and np.isnan(rows.loc["C1", "median_hu"])


def test_presence_is_remembered_until_a_file_changes(smoke, monkeypatch):
    table = cohort.cases(kaggle(smoke, make(smoke)))
    first = cohort.presence(table, workers=1, progress=False)
    reads = []
    read_pair = nifti.read_pair
    monkeypatch.setattr(nifti, "read_pair", lambda *paths: reads.append(paths) or read_pair(*paths))
    pd.testing.assert_frame_equal(cohort.presence(table, workers=1, progress=False), first)
    assert reads == []
    nifti.write(table["segmentation"][2], np.zeros((16, 18, 20), np.uint8), np.diag([-6.0, -6.0, 6.0, 1.0]))
    changed = cohort.presence(table, workers=1, progress=False)
    assert len(reads) == 1 and changed[changed["case"] == "case_0002"]["voxels"].sum() == 0


def test_presence_leaves_out_a_bad_case_by_name(smoke):
    table = cohort.cases(kaggle(smoke, make(smoke)))
    with open(table["ct"][1], "wb") as file:
        file.write(b"")
    with pytest.warns(UserWarning, match="case_0001.*0 bytes"):
        assert len(cohort.presence(table, workers=1, progress=False)) == 8 * 25


def test_the_real_pairs_are_listed():
    folder = real_ct_folder() / "pairs"
    if not folder.is_dir():
        pytest.skip(f"no real scans in {folder}")
    config = Config.load("smoke", **{"cohort.layout": "pairs", "cohort.folder": str(folder)})
    table = cohort.headers(cohort.cases(config))
    assert len(table) >= 5 and (table["error"] == "").all()


def test_every_other_case_shows_a_neck_where_half_must():
    half, none = (CohortConfig(train=6, neck_share=share) for share in (0.5, 0.0))
    assert [bool(cohort._wish(i, half)["needs"]) for i in range(6)] == [False, True, False, True, False, True]
    assert not any(cohort._wish(i, none)["needs"] for i in range(50))


def test_bone_alone_is_asked_of_training_phantoms_and_left_to_chance_elsewhere():
    config = CohortConfig(train=96, validation=8, test=20, neck_share=0.5, bone_only_share=0.13)
    wishes = [cohort._wish(i, config) for i in range(124)]
    bone = [i for i, wish in enumerate(wishes) if wish["bone_only"]]
    assert len(bone) == 12 and max(bone) < 96
    assert 4 <= sum(bool(wishes[i]["needs"]) for i in bone) <= 8  # as many with a neck as without
    assert {wish["bone_only"] for wish in wishes} == {True, None}
