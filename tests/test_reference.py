import numpy as np
import pytest

from spineseg.anatomy.labels import IDS
from spineseg.data import nifti
from spineseg.data.case import Case
from spineseg.data.reference import class_files, read_reference, reference_hash
from spineseg.errors import CaseError

SHAPE, AFFINE = (9, 8, 12), np.diag([-1.5, -1.5, 2.0, 1.0])


def block(low, high):
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:6, 3:6, low:high] = 1
    return mask


def class_folder(folder, masks, affine=AFFINE):
    for name, mask in masks.items():
        nifti.write(folder / f"vertebrae_{name}.nii.gz", mask, affine)
    return folder


def test_class_files_are_merged_by_name_and_not_by_place(tmp_path):
    volume = read_reference(class_folder(tmp_path, {"L5": block(0, 3), "C7": block(8, 11), "T12": block(4, 6)}))
    assert {int(volume.array[3, 4, k]) for k in (1, 5, 9)} == {IDS["L5"], IDS["T12"], IDS["C7"]}
    assert volume.array[3, 4, 1] == IDS["L5"] and volume.array.sum() == 12 * (3 * 24 + 2 * 19 + 3 * 7)
    assert volume.repairs == () and np.allclose(volume.affine, AFFINE)


def test_overlaps_go_to_the_upper_vertebra_and_are_counted(tmp_path):
    volume = read_reference(class_folder(tmp_path, {"L2": block(0, 6), "L1": block(4, 9)}))
    assert (volume.array[3, 4, 4:9] == IDS["L1"]).all() and (volume.array[3, 4, :4] == IDS["L2"]).all()
    assert [(r.code, r.found) for r in volume.repairs] == [("class-overlap", "24 voxels claimed twice")]


def test_empty_class_files_are_fine_and_a_scan_without_any_vertebra_is_said(tmp_path):
    volume = read_reference(class_folder(tmp_path, {"L2": block(0, 0), "L1": block(0, 0)}))
    assert not volume.array.any() and [r.code for r in volume.repairs] == ["labels-empty"]


@pytest.mark.parametrize(
    "mask", [block(0, 3) * 2, block(0, 3) + block(1, 2), np.ones(SHAPE, np.uint8), block(0, 3) * 0.5]
)
def test_a_class_file_that_holds_more_than_one_class_is_refused(tmp_path, mask):
    with pytest.raises(CaseError, match=r"vertebrae_L1.*0 and 1") as caught:
        read_reference(class_folder(tmp_path, {"L1": mask}))
    assert caught.value.code == "class-values"


def test_masks_of_0_and_255_are_read(tmp_path):
    assert (read_reference(class_folder(tmp_path, {"L1": block(0, 3) * 255})).array == block(0, 3) * IDS["L1"]).all()


def test_class_files_on_different_grids_are_refused(tmp_path):
    class_folder(tmp_path, {"L1": block(0, 3)})
    nifti.write(tmp_path / "vertebrae_L2.nii.gz", block(4, 6)[:-1], AFFINE)
    with pytest.raises(CaseError, match=r"vertebrae_L2.*\(8, 8, 12\).*\(9, 8, 12\) as in vertebrae_L1") as caught:
        read_reference(tmp_path)
    assert caught.value.code == "grid-shape"
    moved = AFFINE.copy()
    moved[2, 3] = 3
    class_folder(tmp_path, {"L2": block(4, 6)}, moved)
    with pytest.raises(CaseError, match="3 mm away"):
        read_reference(tmp_path)


def test_a_folder_without_vertebrae_is_refused(tmp_path):
    nifti.write(tmp_path / "liver.nii.gz", block(0, 3), AFFINE)
    with pytest.raises(CaseError, match="no file of a vertebra"):
        read_reference(tmp_path)
    assert class_files(tmp_path) == {}


def test_the_hash_of_a_folder_follows_its_vertebrae_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("SPINESEG_HOME", str(tmp_path / "home"))
    first = reference_hash(class_folder(tmp_path / "m", {"L1": block(0, 3)}))
    nifti.write(tmp_path / "m" / "liver.nii.gz", block(0, 3), AFFINE)
    assert reference_hash(tmp_path / "m") == first
    class_folder(tmp_path / "m", {"L2": block(4, 5)})
    assert reference_hash(tmp_path / "m") != first


def test_a_case_is_read_from_a_row_of_any_kind():
    full = Case("a", "a.nii", "b.nii", "verse")
    assert Case.of(tuple(full)) == Case.of(full._asdict()) == Case.of(full) == full
    assert Case.of({"case": 7, "ct": "x.nii", "segmentation": np.nan}) == Case("7", "x.nii", "", "spineseg")
