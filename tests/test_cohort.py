import gzip

import numpy as np
import pandas as pd
import pytest
from builders import generate

from spineseg.config import ClusterConfig, Config
from spineseg.data import cohort, nifti, parallel, phantom_cohort, presence
from spineseg.errors import CaseError
from spineseg.paths import real_ct_folder

AFFINE = np.diag([-3.0, -3.0, 3.0, 1.0])
HERE = ClusterConfig(workers=1)


@pytest.fixture
def smoke(tmp_path, monkeypatch):
    monkeypatch.setenv("SPINESEG_HOME", str(tmp_path))
    return Config.load("smoke")


def make(config):
    return phantom_cohort.make_phantoms(config, generate=generate, progress=False)


def kaggle(config, folder):
    return under_own_names(config, "kaggle", folder)


def under_own_names(config, layout, folder):
    values = {"cohort.layout": layout, "cohort.folder": str(folder), "cohort.pseudonyms": False}
    return Config.load(config.profile, **values)


def times(folder):
    return {p.name: p.stat().st_mtime_ns for p in sorted((folder / "volumes").iterdir())}


def test_the_phantom_layout_makes_its_cohort_on_first_use(smoke, monkeypatch):
    made = cohort.make_phantoms
    monkeypatch.setattr(cohort, "make_phantoms", lambda c, **k: made(c, **(k | {"generate": generate})))
    table = cohort.cases(smoke, progress=False)
    assert list(table) == ["case", "ct", "segmentation", "scheme", "patient", "split"] and len(table) == 9


def test_worker_processes_make_the_same_cohort(smoke, monkeypatch):
    here = {p.name: p.read_bytes() for p in (make(smoke) / "volumes").iterdir()}
    monkeypatch.setattr(parallel, "WORTH_A_POOL_S", 0.0)
    folder = Config.load("smoke", **{"cohort.folder": "elsewhere"})
    there = {p.name: p.read_bytes() for p in (make(folder) / "volumes").iterdir()}
    assert here == there


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
    with pytest.warns(UserWarning, match=r"2 cases left out: .*0006.*a scan alone.*0007.*a segmentation alone"):
        table = cohort.cases(kaggle(smoke, folder))
    assert len(table) == 7


def test_a_case_with_two_files_is_left_out_and_named(smoke):
    folder = make(smoke)
    (folder / "volumes/case_0000.nii.gz").write_bytes(b"x")
    with pytest.warns(UserWarning, match="a second file of case_0000 beside"):
        table = cohort.cases(kaggle(smoke, folder))
    assert table["case"].tolist() == [f"case_{i:04d}" for i in range(1, 9)]


@pytest.mark.parametrize("layout", ["kaggle", "pairs"])
def test_a_missing_or_empty_folder_says_what_to_do(smoke, tmp_path, layout):
    config = under_own_names(smoke, layout, tmp_path / "none")
    with pytest.raises(CaseError, match="no such folder.*download.*cohort.folder"):
        cohort.cases(config)
    (tmp_path / "none").mkdir()
    with pytest.raises(CaseError, match="no case, 0 unusable files"):
        cohort.cases(config)


def test_pairs_are_matched_by_name(smoke, tmp_path):
    phantom = generate(0, spacing_mm=3.0)
    for name in ("b", "a"):
        nifti.write(tmp_path / "p" / f"{name}_ct.nii.gz", phantom.ct_hu, AFFINE)
        nifti.write(tmp_path / "p" / f"{name}_seg.nii.gz", phantom.labels, AFFINE)
    config = under_own_names(smoke, "pairs", tmp_path / "p")
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
    found = cohort.presence(table, cluster=HERE, progress=False)
    assert len(found) == 9 * 25
    rows = found[found["case"] == "case_0000"].set_index("vertebra")
    assert rows.loc["T12", "voxels"] == 4 * 4 * 8 and rows.loc["T12", "at_border"] and not rows.loc["L1", "at_border"]
    assert rows.loc["L1", "ml"] == pytest.approx(4 * 4 * 6 * 0.216) and 200 < rows.loc["L1", "median_hu"] < 240
    assert rows.loc["C1", "voxels"] == 0 and np.isnan(rows.loc["C1", "median_hu"])


def test_presence_is_remembered_until_a_file_changes(smoke, monkeypatch):
    table = cohort.cases(kaggle(smoke, make(smoke)))
    first = cohort.presence(table, cluster=HERE, progress=False)
    reads, read_case = [], presence.read_case
    monkeypatch.setattr(presence, "read_case", lambda case: reads.append(case) or read_case(case))
    pd.testing.assert_frame_equal(cohort.presence(table, cluster=HERE, progress=False), first)
    assert reads == []
    nifti.write(table["segmentation"][2], np.zeros((16, 18, 20), np.uint8), np.diag([-6.0, -6.0, 6.0, 1.0]))
    changed = cohort.presence(table, cluster=HERE, progress=False)
    assert len(reads) == 1 and changed[changed["case"] == "case_0002"]["voxels"].sum() == 0


def test_presence_leaves_out_a_bad_case_by_name(smoke):
    table = cohort.cases(kaggle(smoke, make(smoke)))
    with open(table["ct"][1], "wb") as file:
        file.write(b"")
    with pytest.warns(UserWarning, match="case_0001.*0 bytes"):
        assert len(cohort.presence(table, cluster=HERE, progress=False)) == 8 * 25


def test_the_real_pairs_are_listed():
    folder = real_ct_folder() / "pairs"
    if not folder.is_dir():
        pytest.skip(f"no real scans in {folder}")
    config = Config.load("smoke", **{"cohort.layout": "pairs", "cohort.folder": str(folder)})
    table = cohort.headers(cohort.cases(config))
    assert len(table) >= 5 and (table["error"] == "").all()
