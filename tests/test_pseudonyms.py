import dataclasses
import json
import os
import stat

import numpy as np
import pytest
from builders import generate, write_layout
from made_files import error_of

from spineseg.cli import main
from spineseg.config import ClusterConfig, Config
from spineseg.data import checksum, cohort, nifti, pseudonyms
from spineseg.data.audit import audit
from spineseg.data.case import Case
from spineseg.data.fetched import LEDGER
from spineseg.data.layouts import Listing, list_cases
from spineseg.data.reference import read_case
from spineseg.data.splits import split
from spineseg.learning import runs
from spineseg.learning.predicting import predict_cohort
from spineseg.paths import pseudonyms_folder, run_folder

NAMES = ("Meier_Hans", "Mueller_Erika", "Schulze_Eva")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SPINESEG_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def pairs(folder, names=NAMES, seeds=None):
    """Pairs of small scans, one seed each."""
    for name, seed in zip(names, seeds or range(len(names)), strict=True):
        made = generate(seed, spacing_mm=6.0)
        nifti.write(folder / f"{name}_ct.nii.gz", made.ct_hu, made.affine)
        nifti.write(folder / f"{name}_seg.nii.gz", made.labels, made.affine)
    return folder


def config(folder, layout="pairs", run="", **values):
    return Config.load(
        "smoke", run, **{"cohort.layout": layout, "cohort.folder": str(folder), "cluster.workers": 1} | values
    )


def called(folder, **values):
    """Pseudonym by own name."""
    names = cohort.listing(config(folder, **values)).names
    return {name: pseudonym for pseudonym, name in names.items()}


def holds_no_name(text, names=NAMES):
    return not any(part in text for name in names for part in name.split("_"))


# --- the names


def test_a_case_is_called_after_its_scan_whatever_file_folder_or_other_cases_are_named(tmp_path):
    here = called(pairs(tmp_path / "a"))
    there = called(pairs(tmp_path / "b", ("x", "y", "w", "z"), (2, 0, 3, 1)))
    assert [here[name] for name in NAMES] == [there[name] for name in ("y", "z", "x")]
    assert len(set(here.values())) == 3 and all(name.startswith("case-") for name in there.values())
    assert holds_no_name(" ".join(here.values()))


def test_copies_of_one_scan_are_numbered_in_the_order_of_their_names(tmp_path):
    names = called(pairs(tmp_path / "a", ("c", "a", "b"), (0, 0, 0)))
    assert names["b"] == f"{names['a']}-2" and names["c"] == f"{names['a']}-3"


def test_scans_that_differ_in_a_few_slices_of_an_uncompressed_file_have_other_names(tmp_path):
    ct, labels = np.zeros((64, 64, 200), np.int16), np.zeros((64, 64, 200), np.uint8)
    for name, start in (("a", 90), ("b", 110)):
        ct[:] = 0
        ct[20:40, 20:40, start : start + 30] = 300  # bone alone: the rest is zeros
        nifti.write(tmp_path / "x" / f"{name}_ct.nii", ct, np.eye(4))
        nifti.write(tmp_path / "x" / f"{name}_seg.nii", labels, np.eye(4))
    names = called(tmp_path / "x")
    assert names["b"] != names["a"] and names["b"] != f"{names['a']}-2"


def test_a_scan_that_cannot_be_read_has_a_name_too(tmp_path):
    table = Listing("ct", tmp_path, list_cases(pairs(tmp_path / "a")).table)
    table.table["ct"] = [str(tmp_path / f"none{i}.nii") for i in range(3)]
    assert len(set(pseudonyms.pseudonymised(table).table["case"])) == 3


def test_phantoms_keep_their_names_and_leave_no_table(home, monkeypatch):
    made = cohort.make_phantoms
    monkeypatch.setattr(cohort, "make_phantoms", lambda c, **k: made(c, **(k | {"generate": generate})))
    assert cohort.cases(Config.load("smoke"), progress=False)["case"][0] == "case_0000"
    assert not pseudonyms_folder().exists()


def test_names_are_kept_where_the_reader_wants_them(tmp_path):
    table = cohort.cases(config(pairs(tmp_path / "a"), **{"cohort.pseudonyms": False}))
    assert table["case"].tolist() == list(NAMES) and not pseudonyms_folder().exists()


# --- patients and the split


def test_scans_of_one_patient_stay_together_under_the_name_of_the_first(tmp_path):
    names = [f"{p}_{i}" for p in NAMES for i in (1, 2)]
    pairs(tmp_path / "a", names)
    rows = [f"{name},{name[:-2]}," for name in names]
    (tmp_path / "a" / "cases.csv").write_text("\n".join(["case,patient,split", *rows]) + "\n")
    found = cohort.listing(config(tmp_path / "a"))
    own = found.table["case"].map(found.names).str[:-2]
    assert found.table["patient"].nunique() == 3 and (found.table.groupby("patient")["case"].count() == 2).all()
    assert (own.groupby(found.table["patient"]).nunique() == 1).all()
    firsts = {found.names[p] for p in found.table["patient"]}
    assert firsts == {f"{p}_1" for p in NAMES} and holds_no_name(found.table.drop(columns="scheme").to_csv())
    parts = split(found.table, config(tmp_path / "a")).merge(found.table[["case", "patient"]])
    assert (parts.groupby("patient")["split"].nunique() == 1).all() and parts["split"].nunique() == 3


def test_the_split_is_the_same_wherever_the_scans_lie(tmp_path, monkeypatch):
    def parts(folder):
        return split(cohort.cases(config(folder)), config(folder))

    first = parts(pairs(tmp_path / "a"))
    monkeypatch.setenv("SPINESEG_HOME", str(tmp_path / "other"))
    assert parts(pairs(tmp_path / "b", ("x", "y", "z"))).equals(first)


# --- the links


@pytest.mark.parametrize("layout", ["kaggle", "totalsegmentator", "verse", "nnunet", "pairs", "ct"])
def test_the_files_of_every_layout_are_read_through_links(tmp_path, layout):
    made = {i: generate(i, spacing_mm=6.0) for i in range(3)}
    cases = {i: (m.ct_hu, m.labels, m.affine) for i, m in made.items()}
    write_layout(layout, tmp_path / "set", cases)
    own = {row.case: row for row in list_cases(tmp_path / "set").table.itertuples(index=False)}
    found = cohort.listing(config(tmp_path / "set", "auto"))
    for row in found.table.itertuples(index=False):
        assert row.ct.startswith(str(pseudonyms_folder())) and row.split == own[found.names[row.case]].split
        for read, wanted in zip(read_case(Case.of(row)), read_case(Case.of(own[found.names[row.case]])), strict=True):
            assert (read is None and wanted is None) or np.array_equal(read.array, wanted.array)


def test_a_link_keeps_the_suffix_and_follows_the_file_to_another_folder(tmp_path):
    pairs(tmp_path / "a")
    (tmp_path / "a" / f"{NAMES[0]}_ct.nii.gz").rename(tmp_path / "a" / f"{NAMES[0]}_ct.NII.GZ")
    path = cohort.cases(config(tmp_path / "a")).set_index("case")["ct"][called(tmp_path / "a")[NAMES[0]]]
    assert path.endswith("_ct.NII.GZ") and os.readlink(path) == str(tmp_path / "a" / f"{NAMES[0]}_ct.NII.GZ")


def test_a_hash_beside_the_file_is_asked_through_the_link_and_the_error_tells_no_name(tmp_path):
    folder = pairs(tmp_path / "a")
    path = folder / f"{NAMES[0]}_ct.nii.gz"
    link = cohort.cases(config(folder)).set_index("case")["ct"][called(folder)[NAMES[0]]]
    assert checksum.recorded(link) == (checksum.hash_of(path), ())
    checksum.beside(path).write_bytes(checksum.line(path, "0" * 64))
    error = error_of(nifti.read_ct, link)
    assert error.code == "hash" and holds_no_name(str(error)) and "delete the .sha256 beside it" in error.remedy


def test_the_ledger_of_a_fetched_folder_is_asked_through_the_link(tmp_path):
    folder = pairs(tmp_path / "a")
    for file in folder.glob("*.sha256"):
        file.unlink()
    entry = {"name": f"{NAMES[0]}_ct.nii.gz", "size": 1, "sha256": "0" * 64}
    (folder / LEDGER).write_text("\n".join(map(json.dumps, ({"origin": "x"}, entry))) + "\n")
    link = cohort.cases(config(folder)).set_index("case")["ct"][called(folder)[NAMES[0]]]
    assert checksum.recorded(link)[0] == "0" * 64 and error_of(nifti.read_ct, link).code == "hash"


def test_a_home_that_takes_no_links_is_one_clear_error(tmp_path, home):
    (home / "data").mkdir(parents=True)
    (home / "data" / "pseudonyms").write_text("a file in the way")
    error = error_of(cohort.cases, config(pairs(tmp_path / "a")))
    assert error.code == "pseudonyms" and "cohort.pseudonyms off" in error.remedy


# --- who is who


def test_the_table_of_names_is_for_the_owner_alone_and_remembers_older_cases(tmp_path):
    folder = pairs(tmp_path / "a")
    before = called(folder)
    tables = list(pseudonyms_folder().glob("*/names.csv"))
    assert [stat.S_IMODE(p.stat().st_mode) for p in tables] == [0o600]
    assert stat.S_IMODE(tables[0].parent.stat().st_mode) == 0o700
    for file in folder.glob(f"{NAMES[0]}*"):
        file.unlink()
    cohort.listing(config(folder))
    assert {row["name"]: row["case"] for row in pseudonyms.known()} == before


def test_who_says_which_file_a_pseudonym_stands_for(tmp_path, capsys):
    names = called(pairs(tmp_path / "a"))
    assert main(["who", names[NAMES[1]]]) == 0
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and f"{NAMES[1]} of {NAMES[1]}, {tmp_path / 'a' / NAMES[1]}_ct.nii.gz" in said
    assert main(["who"]) == 0 and capsys.readouterr().out.count("\n") == 3
    assert main(["who", "case-0"]) == 2 and "no case is called 'case-0' here" in capsys.readouterr().err


# --- what is said of cases


def faulty(folder):
    """A set in which each listed fault occurs, and a scan that is damaged."""
    pairs(folder)
    pairs(folder, ("Lehmann_Otto", "Krause_Ida", "Vogel_Max"), (3, 4, 5))
    (folder / "Lehmann_Otto_seg.nii.gz").unlink()
    (folder / "Krause_Ida_ct.nii.gz").unlink()
    (folder / "Vogel_Max_ct.nii").write_bytes(b"a second file")
    path = folder / f"{NAMES[2]}_ct.nii.gz"
    path.write_bytes(path.read_bytes()[:-400])
    return folder


ALL = (*NAMES, "Lehmann_Otto", "Krause_Ida", "Vogel_Max")


def test_what_a_notebook_says_of_faults_tells_no_name_and_what_the_audit_says_does(tmp_path):
    folder = faulty(tmp_path / "a")
    with pytest.warns(
        UserWarning, match="3 cases left out: two-files 1, no-segmentation 1, no-scan 1; `spineseg audit`"
    ) as said:
        table = cohort.cases(config(folder))
    assert len(table) == 3 and holds_no_name(str(said[0].message), ALL)
    found = audit(cohort.listing(config(folder)), ClusterConfig(workers=1), progress=False)
    codes = {f.code for f in found.findings}
    assert {"no-scan", "no-segmentation", "two-files"} < codes
    assert holds_no_name(found.table().to_csv(), ALL) and holds_no_name(repr(found), ALL)
    own = audit(list_cases(folder), ClusterConfig(workers=1), progress=False)
    assert all(name in own.table().to_csv() for name in ALL[2:])
    assert len(own.findings) == len(found.findings)


def test_the_console_still_names_files(tmp_path, capsys):
    options = ["--cohort.layout", "pairs", "--cohort.folder", str(faulty(tmp_path / "a")), "--workers", "1"]
    assert main(["prepare", *options]) == 1
    said = capsys.readouterr().err
    for name in ("Lehmann_Otto_ct.nii.gz: a scan alone", "Krause_Ida_seg.nii.gz", "Vogel_Max_ct.nii", NAMES[2]):
        assert f"{tmp_path / 'a'}/{name}" in said, name


def test_an_error_of_a_link_names_the_file_on_the_console_alone(tmp_path):
    folder = pairs(tmp_path / "a")
    link = cohort.cases(config(folder))["ct"][0]
    assert holds_no_name(link) and pseudonyms.reveal(f"see {link}: bad") == f"see {os.readlink(link)}: bad"
    case = called(folder)[NAMES[1]]
    assert (
        pseudonyms.reveal(f"cases '{case}' and 'case-00000000'") == f"cases '{case} ({NAMES[1]})' and 'case-00000000'"
    )
    assert pseudonyms.reveal(f"/runs/x/{case}.nii.gz") == f"/runs/x/{case}.nii.gz"
    inside = pseudonyms.reveal(f"{pseudonyms_folder()}/0123456789ab/none_ct.nii")
    assert inside == f"{pseudonyms_folder()}/0123456789ab/none_ct.nii"


def test_a_folder_that_makes_no_cohort_is_refused_without_a_name(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "Meier_Hans.pdf").write_text("x")
    error = error_of(cohort.cases, config(tmp_path / "a", "auto"))
    assert error.code == "layout-unknown" and holds_no_name(str(error)) and "spineseg audit" in error.remedy
    assert "Meier_Hans.pdf" in str(
        error_of(cohort.cases, config(tmp_path / "a", "auto", **{"cohort.pseudonyms": False}))
    )


def test_a_case_that_is_known_to_be_bad_is_known_under_its_pseudonym(tmp_path):
    made = generate(0, spacing_mm=6.0)
    write_layout("totalsegmentator", tmp_path / "a", {i: (made.ct_hu, made.labels, made.affine) for i in (69, 70)})
    found = cohort.listing(config(tmp_path / "a", "auto"))
    bad = [f for f in audit(found, ClusterConfig(workers=1), progress=False).findings if f.code == "known-bad"]
    assert [found.names[f.case] for f in bad] == ["s0070"] and "s0070" not in str(bad)


# --- runs of before


def old(values):
    """A configuration as a version before pseudonyms wrote it."""
    known = values.to_dict()
    del known["cohort"]["pseudonyms"]
    return known


def test_a_run_of_before_keeps_the_names_of_its_cases(tmp_path):
    assert not Config.from_dict(old(config(tmp_path))).cohort.pseudonyms
    assert Config.from_dict(old(Config.load("demo"))) == Config.load("demo")


def test_a_run_of_before_is_refused_with_the_value_to_set(tmp_path):
    asked = config(tmp_path, run="before")
    run_folder("before").mkdir(parents=True)
    (run_folder("before") / "config.json").write_text(json.dumps(old(asked)))
    with pytest.raises(ValueError, match="other values: cohort.pseudonyms: False -> True; choose another run"):
        runs.check(asked)
    runs.check(dataclasses.replace(asked, cohort=dataclasses.replace(asked.cohort, pseudonyms=False)))


def test_predictions_of_a_run_with_other_names_are_refused(tmp_path):
    asked = config(pairs(tmp_path / "a"), run="before")
    run_folder("before").mkdir(parents=True)
    (run_folder("before") / "splits.csv").write_text(f"case,split,content\n{NAMES[0]},test,0\n")
    error = error_of(predict_cohort, asked, "baseline", cohort.cases(asked))
    assert error.code == "other-cases" and "cohort.pseudonyms" in error.remedy and holds_no_name(str(error))
