"""Real masks, where the shared folder is there: nothing is tuned on them, they only have to measure like bones."""

import numpy as np
import pytest

from spineseg import paths
from spineseg.anatomy.clinical import examine
from spineseg.config import MorphometryConfig
from spineseg.data import nifti

FOLDER = paths.real_ct_folder()
pytestmark = pytest.mark.skipif(not (FOLDER / "pairs").is_dir(), reason=f"no real scans in {FOLDER}")


def test_a_real_loin_measures_like_one():
    ct, seg = (FOLDER / "pairs" / f"verse008_{part}.nii.gz" for part in ("ct", "seg"))
    volume = nifti.read_labels(seg)
    exam = examine(volume.array, volume.affine, nifti.read_ct(ct).array, config=MorphometryConfig())
    bone = exam.vertebrae.set_index("vertebra")
    assert bone["whole"].astype(bool).all() and list(bone.index) == ["T12", "L1", "L2", "L3", "L4", "L5"]
    for place in ("anterior", "middle", "posterior"):
        assert bone[f"height_{place}_mm"].astype(float).between(18, 36).all()
        assert exam.discs[f"height_{place}_mm"].astype(float).between(3, 16).all()
    assert bone["hu_median"].astype(float).between(50, 200).all() and exam.discs["slip_mm"].abs().max() < 4
    assert bone.loc["L5", "wedge_degrees"] < -5 < bone.loc["L1", "wedge_degrees"]  # lordosis is in the bones too
    assert np.isnan(exam.angles["lumbar_lordosis"])  # no sacrum in the mask


def test_a_scan_of_bone_alone_has_heights_and_no_density():
    ct, seg = (FOLDER / "pairs" / f"ts_s0328_boneonly_{part}.nii.gz" for part in ("ct", "seg"))
    volume = nifti.read_labels(seg)
    exam = examine(volume.array, volume.affine, nifti.read_ct(ct).array, config=MorphometryConfig())
    assert exam.vertebrae["hu_median"].isna().all() and exam.vertebrae["height_middle_mm"].notna().sum() >= 5
    assert 20 < exam.angles["lumbar_lordosis"] < 80
