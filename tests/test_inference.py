import numpy as np
import pandas as pd
import pytest
import torch
from conftest import column_of_vertebrae

from spineseg.data import cohort, nifti
from spineseg.learning.inference import Prediction, Predictor, predict_cohort, predictions_folder, vertebra_table


@pytest.mark.parametrize("method", ["baseline", "cascade"])
def test_a_prediction_lies_on_the_cts_own_grid(trained, tmp_path, method):
    ct, _, affine = column_of_vertebrae(9)
    turned, other = ct.transpose(2, 0, 1)[::-1], affine[:, [2, 0, 1, 3]].copy()
    other[:3, 0] *= -1
    other[:3, 3] = affine[:3, 2] * (ct.shape[2] - 1)
    nifti.write(tmp_path / "a.nii.gz", turned, other)
    prediction = Predictor(trained, method)(nifti.read_ct(tmp_path / "a.nii.gz"))
    assert prediction.labels.shape == turned.shape and prediction.labels.dtype == np.uint8
    assert np.allclose(prediction.affine, other)


def test_orientation_does_not_change_the_answer(trained, tmp_path):
    ct, _, affine = column_of_vertebrae(9)
    nifti.write(tmp_path / "a.nii", ct, affine)
    flipped = affine.copy()
    flipped[:3, 0] *= -1
    flipped[0, 3] = affine[0, 0] * (ct.shape[0] - 1)
    nifti.write(tmp_path / "b.nii", ct[::-1], flipped)
    predictor = Predictor(trained, "baseline")
    one, two = (predictor(nifti.read_ct(tmp_path / f"{n}.nii")).labels for n in "ab")
    assert np.array_equal(one, two[::-1])


def test_predictions_of_a_split_are_made_once_per_weights(trained):
    table = cohort.cases(trained)
    first = predict_cohort(trained, "cascade", table)
    stamps = [p.stat().st_mtime_ns for p in first.prediction]
    again = predict_cohort(trained, "cascade", table)
    assert len(first) == 1 and [p.stat().st_mtime_ns for p in again.prediction] == stamps
    assert first.prediction[0].parent == predictions_folder(trained, "cascade")


def test_the_coarse_region_covers_the_spine_with_its_margin(trained):
    from spineseg.data.store import prepare_arrays

    ct, labels, affine = column_of_vertebrae(0)
    scan = prepare_arrays(ct, labels, affine, trained.preparation)
    logits = torch.full((26, *scan.coarse_image.shape), -5.0)
    logits[0] = 0
    logits[20][torch.from_numpy(scan.coarse_labels > 0)] = 5
    region = Predictor(trained, "cascade")._region(logits, scan)
    assert region[labels > 0].all() and 0 < region.mean() < 0.7


def test_the_table_flags_what_a_person_should_look_at():
    labels = np.zeros((10, 10, 40), np.uint8)
    labels[3:7, 3:7, 0:8], labels[3:7, 3:7, 10:18], labels[3:7, 3:7, 30:38] = 24, 23, 21
    confidence = np.full(26, 0.9)
    confidence[23] = 0.3
    table = vertebra_table(Prediction(labels, np.diag([2.0, 2.0, 2.0, 1.0]), confidence), 0.6)
    assert table.vertebra.tolist() == ["L2", "L4", "L5"]
    reasons = dict(zip(table.vertebra, table.reason, strict=True))
    assert reasons == {"L2": "L3 is missing below it", "L4": "low confidence", "L5": "cut by the edge of the scan"}
    assert table.volume_ml.iloc[0] == pytest.approx(4 * 4 * 8 * 8 / 1000, abs=0.01)
    assert isinstance(table, pd.DataFrame) and table.review.all()


def test_nothing_found_is_an_empty_table():
    table = vertebra_table(Prediction(np.zeros((4, 4, 4), np.uint8), np.eye(4), np.full(26, np.nan)), 0.6)
    assert len(table) == 0 and "review" in table
