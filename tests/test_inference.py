import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import column_of_vertebrae

from spineseg.data import cohort, nifti
from spineseg.learning.inference import Predictor
from spineseg.learning.predicting import predict_cohort, predictions_folder


@pytest.mark.parametrize("method", ["baseline", "cascade"])
def test_a_prediction_lies_on_the_cts_own_grid(trained, tmp_path, method):
    ct, _, affine = column_of_vertebrae(9)
    turned, other = ct.transpose(2, 0, 1)[::-1], affine[:, [2, 0, 1, 3]].copy()
    other[:3, 0] *= -1
    other[:3, 3] = affine[:3, 2] * (ct.shape[2] - 1)
    nifti.write(tmp_path / "a.nii.gz", turned, other)
    prediction = Predictor.of_run(trained, method)(nifti.read_ct(tmp_path / "a.nii.gz"))
    assert prediction.labels.shape == turned.shape and prediction.labels.dtype == np.uint8
    assert np.allclose(prediction.affine, other)


def test_orientation_does_not_change_the_answer(trained, tmp_path):
    ct, _, affine = column_of_vertebrae(9)
    nifti.write(tmp_path / "a.nii", ct, affine)
    flipped = affine.copy()
    flipped[:3, 0] *= -1
    flipped[0, 3] = affine[0, 0] * (ct.shape[0] - 1)
    nifti.write(tmp_path / "b.nii", ct[::-1], flipped)
    predictor = Predictor.of_run(trained, "baseline")
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
    region = Predictor.of_run(trained, "cascade")._region(logits, scan)
    assert region[labels > 0].all() and 0 < region.mean() < 0.7


def test_specks_far_from_the_coarse_spine_are_not_looked_at(trained):
    logits = torch.full((26, 12, 12, 30), -5.0)
    logits[0] = 0
    logits[20, 1:4, 1:4] = 5  # 270 voxels
    logits[20, 10:, 10:, 20:22] = 5  # 8 of them elsewhere
    affine = np.eye(4)
    scan = SimpleNamespace(coarse_affine=affine, affine=affine, image=np.zeros((12, 12, 30), np.float32))
    predictor = Predictor.of_run(trained, "cascade")
    inference = dataclasses.replace(trained.inference, margin_mm=0.0)
    for share, seen in ((0.1, False), (0.0, True)):
        predictor.config = dataclasses.replace(trained, inference=dataclasses.replace(inference, part_share=share))
        region = predictor._region(logits, scan)
        assert region[2, 2].all() and bool(region[10:, 10:, 20].any()) is seen


@pytest.mark.parametrize("naming", ["own", "phase", "alone", "order"])
def test_every_way_of_naming_gives_a_label_map_and_its_own_predictions(trained, naming):
    config = dataclasses.replace(trained, inference=dataclasses.replace(trained.inference, naming=naming))
    ct, _, affine = column_of_vertebrae(9)
    prediction = Predictor.of_run(config)(nifti.Volume(ct, affine, ()))
    assert prediction.labels.shape == ct.shape and prediction.labels.max() <= 25
    folders = {predictions_folder(c, "cascade").name for c in (config, trained)}
    assert len(folders) == (1 if naming == trained.inference.naming else 2)


def test_a_second_look_is_guided_by_what_the_first_one_found(trained, monkeypatch):
    from spineseg.learning import inference

    seen, guided = [], inference.guidance
    monkeypatch.setattr(inference, "guidance", lambda logits, config: seen.append(logits) or guided(logits, config))
    ct, _, affine = column_of_vertebrae(9)
    volume, folders, counts = nifti.Volume(ct, affine, ()), set(), []
    for looks in (1, 2):
        config = dataclasses.replace(trained, inference=dataclasses.replace(trained.inference, looks=looks))
        seen.clear()
        assert Predictor.of_run(config)(volume).labels.shape == ct.shape
        counts.append(len(seen))
        folders.add(predictions_folder(config, "cascade").name)
    assert counts == [1, 2] and len(folders) == 2
    assert not torch.equal(seen[0], seen[1]) and torch.allclose(seen[1].exp().sum(0), torch.ones(1), atol=1e-3)
