import shutil
import warnings

import numpy as np
import pytest
from builders import LAYOUTS, generate, write_layout

from spineseg import limits
from spineseg.config import Config
from spineseg.data import cohort, layouts, nifti
from spineseg.data.case import Case
from spineseg.data.layouts import detect, list_cases, nnunet
from spineseg.data.reference import read_case
from spineseg.data.splits import split
from spineseg.errors import CaseError

OWN_NAMES = {"cohort.pseudonyms": False}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder in each layout with the same four cases, and the cases."""
    cases = {}
    for i in range(4):
        phantom = generate(i, spacing_mm=6.0)
        labels = phantom.labels.copy()
        labels[7:9, 6:8, 16:20] = 25  # an S1
        cases[i] = (phantom.ct_hu, labels, phantom.affine)
    folders = {name: tmp_path_factory.mktemp(name) for name in LAYOUTS}
    for name, folder in folders.items():
        write_layout(name, folder, cases)
    return folders, cases


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_is_detected_and_gives_the_same_cases(made, layout):
    folders, cases = made
    listing = list_cases(folders[layout])
    assert listing.layout == layout and len(listing.table) == 4 and listing.problems == ()
    assert f"layout {layout}, 4 cases" in str(listing)
    for row, (ct_hu, labels, affine) in zip(listing.table.itertuples(index=False), cases.values(), strict=True):
        ct, found = read_case(Case.of(row))
        assert np.array_equal(ct.array, ct_hu) and np.allclose(ct.affine, affine)
        if layout == "ct":
            assert found is None
        else:
            expected = np.where(labels == 25, 0, labels) if layout == "verse" else labels  # no S1 there
            assert np.array_equal(found.array, expected) and found.repairs == ()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_can_be_named_and_another_name_is_an_error(made, layout):
    folders, _ = made
    assert list_cases(folders[layout], layout).table.equals(list_cases(folders[layout]).table)
    with pytest.raises(CaseError, match="no case"):
        list_cases(folders[layout], "verse" if layout != "verse" else "kaggle")


def test_every_layout_is_one_that_the_configuration_knows():
    assert set(limits.LAYOUTS) == {"phantom", "auto", *layouts.LAYOUTS}


def test_the_only_subfolder_of_an_unpacked_archive_is_looked_into(made, tmp_path):
    folders, _ = made
    shutil.copytree(folders["kaggle"], tmp_path / "spine_segmentation_nnunet_v2")
    assert detect(tmp_path) == ("kaggle", tmp_path / "spine_segmentation_nnunet_v2")
    deep = tmp_path / "x" / "kaggle" / "datasets" / "owner" / "name" / "versions"
    deep.parent.mkdir(parents=True)
    (tmp_path / "spine_segmentation_nnunet_v2").rename(deep)
    assert list_cases(tmp_path / "x", "kaggle").folder == deep


def test_a_folder_that_may_be_two_things_is_not_guessed(made, tmp_path):
    folders, _ = made
    shutil.copytree(folders["kaggle"], tmp_path / "x")
    shutil.copytree(folders["nnunet"], tmp_path / "x", dirs_exist_ok=True)
    with pytest.raises(CaseError, match=r"kaggle or nnunet.*name the layout"):
        detect(tmp_path / "x")
    assert list_cases(tmp_path / "x", "nnunet").layout == "nnunet"


def test_an_unknown_folder_says_what_was_seen_and_what_is_known(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(CaseError, match=r"notes\.txt.*kaggle: volumes.*verse: "):
        detect(tmp_path)
    with pytest.raises(CaseError, match=r"no such folder.*spineseg fetch"):
        detect(tmp_path / "none")


def test_label_maps_alone_are_listed_for_an_audit(tmp_path):
    nifti.write(tmp_path / "a_seg.nii.gz", generate(0, spacing_mm=6.0).labels, np.eye(4))
    table = list_cases(tmp_path).table
    assert table["case"].tolist() == ["a"] and table["ct"].tolist() == [""]
    with pytest.raises(CaseError, match="a label map without a scan"):
        read_case(Case.of(next(table.itertuples(index=False))))


def test_a_scan_without_the_ending_is_the_partner_of_its_label_map(tmp_path):
    phantom = generate(0, spacing_mm=6.0)
    nifti.write(tmp_path / "a.nii.gz", phantom.ct_hu, np.eye(4))
    nifti.write(tmp_path / "a_seg.nii.gz", phantom.labels, np.eye(4))
    assert list_cases(tmp_path).layout == "pairs"


# --- TotalSegmentator


def test_the_official_split_is_kept(made):
    folders, _ = made
    config = Config.load(
        "smoke", **OWN_NAMES | {"cohort.layout": "auto", "cohort.folder": str(folders["totalsegmentator"])}
    )
    table = cohort.cases(config)
    assert split(table, config)["split"].tolist() == ["train", "validation", "test", "test"]
    drawn = Config.load("smoke", **{"cohort.layout": "auto", "cohort.official_split": False})
    assert split(table, drawn)["split"].tolist().count("train") == 2


def test_the_release_is_told_by_its_classes(made, tmp_path):
    folders, _ = made
    assert "release v2 (it has S1)" in str(list_cases(folders["totalsegmentator"]))
    shutil.copytree(folders["totalsegmentator"], tmp_path / "x")
    for file in (tmp_path / "x").rglob("vertebrae_S1.*"):  # of every subject, as in that release
        file.unlink()
    assert "release v1 (no S1): the first sacral vertebra is background here" in str(list_cases(tmp_path / "x"))
    shutil.copy(
        tmp_path / "x/s0000/segmentations/vertebrae_L5.nii.gz", tmp_path / "x/s0000/segmentations/vertebrae_L6.nii.gz"
    )
    assert "release v3 (L6, no S1)" in str(list_cases(tmp_path / "x"))


def test_a_subject_without_scan_or_masks_is_named(made, tmp_path):
    folders, _ = made
    shutil.copytree(folders["totalsegmentator"], tmp_path / "x")
    (tmp_path / "x/s0000/ct.nii.gz").unlink()
    shutil.rmtree(tmp_path / "x/s0001/segmentations")
    (tmp_path / "x/s0001/segmentations").mkdir()
    listing = list_cases(tmp_path / "x")
    assert [(case, e.code) for case, e in listing.problems] == [("s0000", "no-scan"), ("s0001", "no-segmentation")]
    assert len(listing.table) == 2


def test_a_subject_that_lacks_a_class_file_is_left_out(made, tmp_path):
    folders, _ = made
    shutil.copytree(folders["totalsegmentator"], tmp_path / "x")
    (tmp_path / "x/s0002/segmentations/vertebrae_S1.nii.gz").unlink()
    listing = list_cases(tmp_path / "x")
    assert [(case, error.code) for case, error in listing.problems] == [("s0002", "class-missing")]
    assert "no file of S1" in listing.problems[0][1].found and len(listing.table) == 3


def test_unknown_parts_of_the_official_split_are_refused(made, tmp_path):
    folders, _ = made
    shutil.copytree(folders["totalsegmentator"], tmp_path / "x")
    for word, works in (("Validation ", True), ("holdout", False)):
        (tmp_path / "x/meta.csv").write_text(f"image_id;split\ns0000;train\ns0001;{word}\n")
        if works:
            assert list_cases(tmp_path / "x").table["split"].tolist() == ["train", "validation", "", ""]
        else:
            with pytest.raises(CaseError, match="parts named holdout"):
                list_cases(tmp_path / "x")


def test_an_unusable_meta_csv_is_named(made, tmp_path):
    folders, _ = made
    shutil.copytree(folders["totalsegmentator"], tmp_path / "x")
    (tmp_path / "x/meta.csv").write_text("image_id,split\ns0000,train\n")
    with pytest.raises(CaseError, match=r"meta\.csv.*separated by semicolons"):
        list_cases(tmp_path / "x")


# --- VerSe


def test_patients_with_several_scans_stay_together(made, tmp_path):
    folders, cases = made
    ct, labels, affine = cases[0]
    for i in range(3):
        for part in ("a", "b"):
            name = f"sub-verse{i}_split-{part}"
            nifti.write(tmp_path / f"rawdata/sub-verse{i}/{name}_ct.nii.gz", ct, affine)
            nifti.write(tmp_path / f"derivatives/sub-verse{i}/{name}_seg-vert_msk.nii.gz", labels, affine)
    config = Config.load("smoke", **OWN_NAMES | {"cohort.layout": "verse", "cohort.folder": str(tmp_path)})
    table = cohort.cases(config)
    assert sorted(set(table["patient"])) == ["sub-verse0", "sub-verse1", "sub-verse2"]
    parts = table.assign(split=split(table, config)["split"]).groupby("patient")["split"].nunique()
    assert (parts == 1).all()


def test_vertebrae_that_verse_knows_and_we_do_not_are_said(made, tmp_path):
    _, cases = made
    ct, labels, affine = cases[0]
    nifti.write(tmp_path / "rawdata/sub-1/sub-1_ct.nii.gz", ct, affine)
    theirs = np.where(labels == 19, 28, labels).astype(np.uint8)
    nifti.write(tmp_path / "derivatives/sub-1/sub-1_seg-vert_msk.nii.gz", theirs, affine)
    _, found = read_case(Case.of(next(list_cases(tmp_path).table.itertuples(index=False))))
    assert [r.code for r in found.repairs] == ["variant"]
    assert f"L6 ({(theirs == 25).sum()} voxels) and T13 ({(theirs == 28).sum()} voxels)" in found.repairs[0].found
    assert set(np.unique(found.array)) == {0, 20}


@pytest.mark.parametrize(
    ("folder", "part"),
    [("dataset-03test", "test"), ("dataset-verse19training", "train"), ("latest", ""), ("my_validation", "validation")],
)
def test_the_official_part_is_the_end_of_a_folder_s_name(made, tmp_path, folder, part):
    _, cases = made
    ct, labels, affine = cases[0]
    nifti.write(tmp_path / folder / "rawdata/sub-1/sub-1_ct.nii.gz", ct, affine)
    nifti.write(tmp_path / folder / "derivatives/sub-1/sub-1_seg-vert_msk.nii.gz", labels, affine)
    table = list_cases(tmp_path, "verse").table
    assert table["split"].tolist() == [part]
    if part == "test":
        config = Config.load("smoke", **{"cohort.layout": "verse", "cohort.folder": str(tmp_path)})
        with pytest.raises(ValueError, match="leaves no case to train on"):
            split(table, config)


def test_verse_files_in_one_folder_are_verse(made, tmp_path):
    _, cases = made
    ct, labels, affine = cases[0]
    nifti.write(tmp_path / "sub-1_ct.nii.gz", ct, affine)
    nifti.write(tmp_path / "sub-1_seg-vert_msk.nii.gz", labels, affine)
    assert list_cases(tmp_path).layout == "verse" and len(list_cases(tmp_path).table) == 1


# --- nnU-Net


@pytest.mark.parametrize(
    ("text", "name"),
    [("C1", "C1"), ("vertebrae_C1", "C1"), ("vertebra l5", "L5"), ("Vertebrae-S1", "S1"), ("sacrum", ""), ("20", "")],
)
def test_names_of_vertebrae_are_read_in_their_common_spellings(text, name):
    assert nnunet.vertebra_name(text) == name


def test_labels_of_nnunet_without_names_need_a_scheme(made, tmp_path):
    folders, _ = made
    shutil.copytree(folders["nnunet"], tmp_path / "x")
    (tmp_path / "x/dataset.json").write_text('{"labels": {"background": 0, "class_1": 1}}')
    with pytest.raises(CaseError, match=r"labels named background, class_1.*cohort\.scheme"):
        list_cases(tmp_path / "x")
    (tmp_path / "x/dataset.json").unlink()
    with pytest.raises(CaseError, match="no readable list of labels"):
        list_cases(tmp_path / "x")
    assert list_cases(tmp_path / "x", scheme="verse").table["scheme"].unique().tolist() == ["verse"]


def test_a_region_is_not_a_vertebra_and_a_list_of_one_is(made, tmp_path):
    folders, _ = made
    shutil.copytree(folders["nnunet"], tmp_path / "x")
    (tmp_path / "x/dataset.json").write_text('{"labels": {"background": 0, "spine": [19, 20], "T12": 19, "L1": [20]}}')
    listing = list_cases(tmp_path / "x")
    assert listing.table["scheme"][0] == "19=T12 20=L1" and "1 other classes become background (spine" in str(listing)
    (tmp_path / "x/dataset.json").write_text('{"labels": {"background": 0, "T12": [19, 20]}}')
    with pytest.raises(CaseError, match="a region for T12"):
        list_cases(tmp_path / "x")


def test_two_cases_of_one_name_are_both_left_out(made, tmp_path):
    folders, cases = made
    shutil.copytree(folders["nnunet"], tmp_path / "x")
    nifti.write(tmp_path / "x/imagesTs/spine_000_0000.nii.gz", cases[0][0], cases[0][2])
    nifti.write(tmp_path / "x/labelsTs/spine_000.nii.gz", cases[0][1], cases[0][2])
    listing = list_cases(tmp_path / "x")
    assert len(listing.table) == 3 and [(case, e.code) for case, e in listing.problems] == [("spine_000", "two-files")]


def test_upper_case_suffixes_are_read(made, tmp_path):
    folders, _ = made
    shutil.copytree(folders["pairs"], tmp_path / "x")
    for name in ("ct", "seg"):
        (tmp_path / f"x/p0_{name}.nii.gz").rename(tmp_path / f"x/p0_{name}.NII.GZ")
    assert list_cases(tmp_path / "x").table["case"].tolist() == ["p0", "p1", "p2", "p3"]


def test_nnunet_version_1_lists_names_by_number(made, tmp_path):
    folders, _ = made
    shutil.copytree(folders["nnunet"], tmp_path / "x")
    (tmp_path / "x/dataset.json").write_text('{"labels": {"0": "background", "6": "L1", "7": "T12", "9": "liver"}}')
    listing = list_cases(tmp_path / "x")
    assert listing.table["scheme"][0] == "6=L1 7=T12" and "1 other classes become background (liver" in str(listing)


def test_test_images_with_labels_are_the_test_part(made, tmp_path):
    folders, cases = made
    shutil.copytree(folders["nnunet"], tmp_path / "x")
    config = Config.load("smoke", **OWN_NAMES | {"cohort.layout": "nnunet", "cohort.folder": str(tmp_path / "x")})
    (tmp_path / "x/imagesTs").mkdir()
    nifti.write(tmp_path / "x/imagesTs/new_0000.nii.gz", cases[0][0], cases[0][2])
    assert "1 scans in imagesTs have no label maps" in str(list_cases(tmp_path / "x"))
    nifti.write(tmp_path / "x/labelsTs/new.nii.gz", cases[0][1], cases[0][2])
    table = cohort.cases(config)
    parts = dict(zip(table["case"], split(table, config)["split"], strict=True))
    assert parts["new"] == "test" and sorted(parts.values()) == ["test", "train", "train", "train", "validation"]


def test_a_cohort_says_which_cases_it_left_out(made, tmp_path):
    folders, _ = made
    shutil.copytree(folders["pairs"], tmp_path / "x")
    (tmp_path / "x/p0_seg.nii.gz").unlink()
    (tmp_path / "x/._p1_ct.nii.gz").write_bytes(b"resource fork")
    config = Config.load("smoke", **OWN_NAMES | {"cohort.layout": "auto", "cohort.folder": str(tmp_path / "x")})
    with pytest.warns(UserWarning, match=r"1 cases left out: .*p0_ct\.nii\.gz: a scan alone"):
        assert cohort.cases(config)["case"].tolist() == ["p1", "p2", "p3"]
    assert "1 files of macOS metadata" in str(cohort.listing(config))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cohort.cases(
            Config.load("smoke", **OWN_NAMES | {"cohort.layout": "auto", "cohort.folder": str(folders["pairs"])})
        )
