import json
import shutil

import numpy as np
import pandas as pd
import pytest
from builders import generate as small
from builders import write_layout
from defects import DEFECTS, Pair

from spineseg.anatomy.labels import IDS, VERTEBRAE
from spineseg.anatomy.phantom import generate
from spineseg.anatomy.phantom.levels import VOLUME_ML
from spineseg.cli import main
from spineseg.config import ClusterConfig
from spineseg.data import nifti
from spineseg.data.audit import Severity, across, audit
from spineseg.data.audit.chain import check_chain, expected_step_mm
from spineseg.data.audit.measures import components
from spineseg.data.case import Case
from spineseg.data.layouts import Listing, list_cases
from spineseg.data.reference import read_case
from spineseg.paths import real_ct_folder
from spineseg.report.audit_page import page, write_audit

HERE = ClusterConfig(workers=1)


def column(first, last, spacing=2.0):
    """Boxes of each level's median volume at each level's distance, and their affine (axes L, P, S)."""
    names = VERTEBRAE[IDS[first] - 1 : IDS[last]]
    steps = expected_step_mm()[IDS[first] - 1 : IDS[last] - 1]
    places = np.cumsum([20.0, *steps])
    shape = (60, 60, int((places[-1] + 20) / spacing) + 1)
    labels = np.zeros(shape, np.uint8)
    for name, place in zip(names, places, strict=True):
        height = 0.6 * min([*steps, 30.0])
        side = np.sqrt(VOLUME_ML[name][1] * 1000 / height)
        half = [round(side / 2 / spacing), round(side / 2 / spacing)]
        low, high = (round((place + sign * height / 2) / spacing) for sign in (-1, 1))
        labels[30 - half[0] : 30 + half[0], 30 - half[1] : 30 + half[1], shape[2] - high : shape[2] - low] = IDS[name]
    return labels, np.diag([-spacing, -spacing, spacing, 1.0])


def codes(labels, affine):
    return {code for code, _ in check_chain(components(labels, affine))}


@pytest.mark.parametrize(("first", "last"), [("C1", "C7"), ("T1", "T12"), ("T9", "S1"), ("C3", "L5"), ("L3", "L3")])
def test_a_spine_of_usual_size_has_no_findings(first, last):
    assert codes(*column(first, last)) == set()


def test_components_say_volume_centre_and_faces():
    labels = np.zeros((10, 12, 14), np.uint8)
    labels[0:2, 3:5, 4:8], labels[6:8, 6:8, 12:14] = 20, 20
    table = components(labels, np.diag([-2.0, -3.0, 4.0, 1.0]))
    assert table["vertebra"].tolist() == ["L1", "L1"] and table["component"].tolist() == [0, 1]
    assert table["voxels"].tolist() == [16, 8] and table["ml"].tolist() == pytest.approx([16 * 0.024, 8 * 0.024])
    assert table["faces"].tolist() == ["R", "S"]
    assert table[["r_mm", "a_mm", "s_mm"]].to_numpy()[0].tolist() == [-1.0, -10.5, 22.0]
    assert components(np.zeros((3, 3, 3), np.uint8), np.eye(4)).empty


def test_a_patient_half_as_tall_is_not_a_finding():
    labels, affine = column("T5", "L5")
    assert codes(labels, affine @ np.diag([0.75, 0.75, 0.75, 1])) <= {"label-small"}


# --- every planted defect on a phantom


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    """Two trunks from the generator, in the Kaggle layout."""
    folder = tmp_path_factory.mktemp("clean")
    for i, seed in enumerate((21, 30)):
        made = generate(seed, spacing_mm=5.0, anisotropic=False)
        nifti.write(folder / "volumes" / f"case_{i:04d}.nii", made.ct_hu, made.affine)
        nifti.write(folder / "segmentations" / f"case_{i:04d}.nii", made.labels, made.affine)
    return folder


@pytest.fixture
def copy(phantoms, tmp_path, monkeypatch):
    monkeypatch.setenv("SPINESEG_HOME", str(tmp_path / "home"))
    return shutil.copytree(phantoms, tmp_path / "set")


def suspects(folder):
    return {(f.case, f.code) for f in audit(list_cases(folder), HERE, progress=False).findings if f.case}


def test_two_clean_phantoms_have_no_findings_but_slivers(copy):
    assert {code for _, code in suspects(copy)} <= {"label-sliver"}


@pytest.mark.parametrize("name", DEFECTS)
def test_each_planted_defect_is_found_in_its_case_alone(copy, name):
    before = suspects(copy)
    files = [copy / part / f"case_{i:04d}.nii" for i in (0, 1) for part in ("volumes", "segmentations")]
    DEFECTS[name].plant(Pair(*files))
    after = suspects(copy) - before
    found = {code for case, code in after if case == "case_0000" or code.startswith("duplicate")}
    others = {code for case, code in after if case != "case_0000" and not code.startswith("duplicate")}
    assert found & set(DEFECTS[name].codes) and not others, after


# --- across cases


def listing(parts=("train", "train", "test"), patients=("a", "b", "c"), layout="verse", cases=("x", "y", "z")):
    rows = [{"case": c, "patient": p, "split": s} for c, p, s in zip(cases, patients, parts, strict=True)]
    return Listing(layout, real_ct_folder(), pd.DataFrame(rows))


def facts(**columns):
    return pd.DataFrame({"case": ["x", "y", "z"], "ct_hash": "", "values_hash": "", "labels_hash": ""} | columns)


def test_a_copy_in_another_part_of_the_split_is_an_error():
    same = facts(ct_hash=["1", "2", "1"], values_hash=["1", "2", "1"], labels_hash=["1", "2", "1"])
    found = across.check_across(listing(), same)
    assert [(f.case, f.code, f.severity) for f in found] == [
        ("z", "duplicate-scan", Severity.WARNING),
        ("x", "scan-in-two-parts", Severity.ERROR),
    ]
    assert "x (train), z (test)" in found[1].what
    assert [f.code for f in across.check_across(listing(("train",) * 3), same)] == ["duplicate-scan"]


def test_a_patient_in_two_parts_is_an_error():
    found = across.check_across(listing(patients=("a", "b", "a")), facts())
    assert [(f.code, f.severity) for f in found] == [("patient-in-two-parts", Severity.ERROR)]
    parts = pd.Series({"x": "train", "y": "test", "z": "train"})
    assert across.check_across(listing(patients=("a", "b", "a")), facts(), parts) == []


def test_the_published_known_bad_cases_are_named():
    found = across.check_across(listing(layout="totalsegmentator", cases=("s0864", "s0001", "s0070")), facts())
    assert [f.case for f in found if f.code == "known-bad"] == ["s0070", "s0864"]
    assert "checksum" in next(f.what for f in found if f.case == "s0864")


def test_gaps_in_the_numbering_are_noted():
    found = across.check_across(listing(cases=("case_0001", "case_0002", "case_0005")), facts())
    assert [(f.code, f.severity) for f in found] == [("numbering", Severity.NOTE)]
    assert "2 of the numbers 1 to 5 are missing (3, 4)" in found[0].what


# --- the command


def test_the_command_prints_a_line_per_finding_and_a_page(copy, capsys, tmp_path):
    DEFECTS["swapped"].plant(Pair(*(copy / p / "case_0000.nii" for p in ("volumes", "segmentations")), None, None))
    (copy / "volumes/case_0001.nii").write_bytes(b"<html>")
    (copy / "volumes/case_0001.nii.sha256").unlink()
    arguments = ["audit", str(copy), "--to", str(tmp_path / "page"), "--workers", "1"]
    assert main(arguments) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("case_0001 error not-nifti: a web page")
    assert any(line.startswith("case_0000 warning label-order: ") for line in lines)
    assert main([*arguments, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [f"{f['case']} {f['severity']} {f['code']}: {f['what']}; {f['remedy']}" for f in found] == lines
    text = (tmp_path / "page" / "index.html").read_text()
    assert text.count("data:image/webp;base64,") == 2  # of the unreadable scan, its label map
    assert "http" not in text and "<script" not in text
    assert len(pd.read_csv(tmp_path / "page" / "findings.csv")) == len(lines)
    assert pd.read_csv(tmp_path / "page" / "cases.csv")["case"].tolist() == ["case_0000", "case_0001"]


def test_the_exit_status_tells_clean_suspect_and_impossible(copy, tmp_path, capsys):
    options = ["--to", str(tmp_path / "page"), "--workers", "1"]
    assert main(["audit", str(copy), *options]) == 0
    assert main(["audit", str(tmp_path / "none"), *options]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_names_cannot_act_as_markup(copy, tmp_path):
    odd = tmp_path / "<img src=x onerror=alert(1)>"
    ct = nifti.read(copy / "volumes/case_0000.nii")
    nifti.write(odd / "<b>x_ct.nii", ct.array, ct.affine)
    nifti.write(odd / "<b>x_seg.nii", np.zeros(ct.array.shape, np.uint8), ct.affine)
    found = audit(list_cases(odd), HERE, progress=False)
    text = page(found, {})
    assert "<b>x" not in text and "<img src=x" not in text and "&lt;b&gt;x" in text


def test_what_was_looked_at_is_not_looked_at_again(copy, monkeypatch):
    first = audit(list_cases(copy), HERE, progress=False)
    monkeypatch.setattr("spineseg.data.audit.run._look", lambda _: pytest.fail("looked again"))
    again = audit(list_cases(copy), HERE, progress=False)
    assert again.findings == first.findings and again.cases.equals(first.cases)


def test_label_maps_alone_are_audited(tmp_path, monkeypatch):
    monkeypatch.setenv("SPINESEG_HOME", str(tmp_path / "home"))
    labels, affine = column("T9", "L3")
    swapped = np.where(labels == 18, 19, np.where(labels == 19, 18, labels)).astype(np.uint8)
    nifti.write(tmp_path / "m" / "a_seg.nii.gz", swapped, affine)
    found = audit(list_cases(tmp_path / "m"), HERE, progress=False)
    assert {f.code for f in found.findings} == {"label-order"}
    assert write_audit(found, tmp_path / "page", HERE, progress=False).is_file()


# --- writing anew


def test_fix_mends_what_can_be_mended_and_keeps_a_ledger(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SPINESEG_HOME", str(tmp_path / "home"))
    source, target = tmp_path / "ts", tmp_path / "fixed"
    made = [small(i, spacing_mm=4.0) for i in range(3)]
    cases = {i: (phantom.ct_hu, phantom.labels, phantom.affine) for i, phantom in enumerate(made)}
    write_layout("totalsegmentator", source, cases)
    with_nan = cases[1][0].astype(np.float32)
    with_nan[0, 0, 0] = np.nan
    nifti.write(source / "s0001/ct.nii.gz", with_nan, cases[1][2])
    (source / "s0002/ct.nii.gz").write_bytes(b"")
    before = {p: p.read_bytes() for p in source.rglob("*") if p.is_file()}
    options = ["--to", str(tmp_path / "page"), "--workers", "1"]
    assert main(["audit", str(source), "--fix", str(target), "--nan", "air", *options]) == 1
    assert "2 cases written with 3 changes, 1 refused" in capsys.readouterr().err  # two are merged, one is filled
    assert {p: p.read_bytes() for p in source.rglob("*") if p.is_file()} == before
    ct, labels = read_case(Case.of(("", target / "s0001_ct.nii.gz", target / "s0001_seg.nii.gz")))
    assert ct.array[0, 0, 0] == -1000 and np.array_equal(labels.array, cases[1][1]) and ct.repairs == ()
    ledger = pd.read_csv(target / "ledger.csv", keep_default_na=False)
    assert ledger[ledger["code"] == "nan"]["case"].tolist() == ["s0001"]
    refused = ledger[ledger["written"] == ""]
    assert refused["case"].tolist() == ["s0002"] and refused["found"].str.contains("0 bytes").all()
    again = list_cases(target)
    assert again.layout == "pairs" and again.table["split"].tolist() == ["train", "validation"]
    assert "patients and parts of the split are read from cases.csv" in str(again)


def test_numbers_that_are_no_count_are_not_counted():
    assert across.check_across(listing(cases=("1000123456", "2000000001", "4711999999")), facts()) == []


def test_an_unknown_layout_is_not_a_finding(copy, capsys):
    assert main(["audit", str(copy), "--layout", "bids"]) == 2
    assert "unknown layout 'bids'; known: auto, kaggle" in capsys.readouterr().err


def test_the_same_bytes_under_a_wrong_checksum_or_suffix_are_looked_at_again(copy, tmp_path):
    clean = suspects(copy)
    other = shutil.copytree(copy, tmp_path / "other")
    (other / "volumes/case_0000.nii.sha256").write_text("0" * 64 + "  case_0000.nii\n")
    (other / "volumes/case_0001.nii").rename(other / "volumes/case_0001.nii.gz")
    assert suspects(other) - clean == {("case_0000", "hash"), ("case_0001", "suffix")}


def test_a_store_that_cannot_be_written_does_not_stop_an_audit(copy, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("SPINESEG_HOME", str(tmp_path / "file"))
    assert len(audit(list_cases(copy), HERE, progress=False).cases) == 2


def test_a_name_that_is_no_text_does_not_stop_an_audit(copy, tmp_path):
    import os

    pairs = tmp_path / "pairs"
    ct, labels = (nifti.read(copy / part / "case_0000.nii") for part in ("volumes", "segmentations"))
    for ending, volume in (("ct", ct), ("seg", labels)):
        nifti.write(pairs / f"x_{ending}.nii", volume.array, volume.affine)
        os.rename(pairs / f"x_{ending}.nii", os.fsencode(pairs) + f"/x\xe9_{ending}.nii".encode("latin-1"))
        (pairs / f"x_{ending}.nii.sha256").unlink()
    found = audit(list_cases(pairs), HERE, progress=False)
    assert len(found.cases) == 1 and not [f for f in found.findings if f.severity is Severity.ERROR]
    assert "\\udce9" in write_audit(found, tmp_path / "page", HERE, progress=False).read_text()


@pytest.mark.parametrize(("where", "code"), [("set/inside", "inside-source"), ("full", "not-empty")])
def test_fix_refuses_a_folder_that_is_not_new(copy, tmp_path, capsys, where, code):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    options = ["--to", str(tmp_path / "page"), "--workers", "1"]
    assert main(["audit", str(copy), "--fix", str(tmp_path / where), *options]) == 2
    assert code in capsys.readouterr().err


def test_the_real_masks_are_spines(tmp_path, monkeypatch):
    folder = real_ct_folder() / "masks"
    if not folder.is_dir():
        pytest.skip(f"no real masks in {folder}")
    monkeypatch.setenv("SPINESEG_HOME", str(tmp_path))
    found = audit(list_cases(folder), HERE, progress=False).findings
    assert {f.code for f in found} <= {"label-sliver", "label-cut-sideways"}
