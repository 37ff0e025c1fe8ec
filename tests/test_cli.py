import numpy as np
import pandas as pd
import pytest
from conftest import column_of_vertebrae

from spineseg.cli import main
from spineseg.data import nifti


@pytest.fixture
def ct(tmp_path):
    array, _, affine = column_of_vertebrae(3)
    nifti.write(tmp_path / "ct.nii.gz", array, affine)
    return tmp_path / "ct.nii.gz"


def test_without_a_command_the_commands_are_listed(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("phantom", "prepare", "train", "predict", "score", "report"))
    assert main([]) == 2


def test_predict_writes_a_label_map_and_a_table(trained, ct, tmp_path):
    assert main(["predict", str(ct), "--out", str(tmp_path / "out"), "--run", "trained"]) == 0
    labels = nifti.read_labels(tmp_path / "out" / "ct_seg.nii.gz")
    assert labels.array.shape == nifti.read_ct(ct).array.shape
    assert "review" in pd.read_csv(tmp_path / "out" / "ct_vertebrae.csv")


def truncated(path, ct):
    path.write_bytes(ct.read_bytes()[: ct.stat().st_size // 2])


def a_mask(path, ct):
    _, labels, affine = column_of_vertebrae(3)
    nifti.write(path, labels, affine)


def two_dimensional(path, ct):
    import nibabel

    nibabel.save(nibabel.Nifti1Image(np.full((20, 20), 40, np.int16), np.eye(4)), path)


def missing(path, ct):
    pass


@pytest.mark.parametrize("fault", [truncated, a_mask, two_dimensional, missing])
def test_a_bad_file_is_one_clear_line_and_nothing_is_written(trained, ct, tmp_path, capfd, fault):
    path = tmp_path / "bad.nii.gz"
    fault(path, ct)
    assert main(["predict", str(path), "--out", str(tmp_path / "out"), "--run", "trained"]) == 1
    lines = capfd.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and "bad.nii.gz" in lines[0] and "expected" in lines[0]
    assert not (tmp_path / "out").exists()


def test_a_bad_file_does_not_stop_the_good_one(trained, ct, tmp_path, capfd):
    code = main(["predict", str(tmp_path / "none.nii"), str(ct), "--out", str(tmp_path / "out"), "--run", "trained"])
    assert code == 1 and (tmp_path / "out" / "ct_seg.nii.gz").is_file()


def test_a_run_that_was_never_trained_is_named(home, ct, tmp_path, capsys):
    assert main(["predict", str(ct), "--out", str(tmp_path / "out"), "--run", "nosuch"]) == 1
    assert "spineseg train --run nosuch" in capsys.readouterr().err


def test_an_unknown_profile_lists_the_known_ones(capsys):
    assert main(["train", "--profile", "huge"]) == 2
    assert "smoke, demo, boxed, full" in capsys.readouterr().err


def test_an_unknown_option_stops_before_anything_runs(home, capfd):
    with pytest.raises(SystemExit) as stop:
        main(["train", "--training.epocs", "3", "--run", "typo"])
    assert stop.value.code != 0 and not (home / "runs" / "typo").exists()


def test_an_impossible_value_is_named(capsys):
    assert main(["train", "--epochs", "0"]) == 2
    assert "training.epochs" in capsys.readouterr().err


def test_score_prints_both_conventions(tmp_path, capsys):
    _, labels, affine = column_of_vertebrae(0)
    for folder in ("reference", "prediction"):
        nifti.write(tmp_path / folder / "a.nii.gz", labels, affine)
    words = ["score", "--reference", str(tmp_path / "reference"), "--prediction", str(tmp_path / "prediction")]
    assert main([*words, "--out", str(tmp_path / "scores.csv")]) == 0
    out = capsys.readouterr().out
    assert "present" in out and "all" in out
    scores = pd.read_csv(tmp_path / "scores.csv")
    assert scores[scores.reference_voxels > 0].dice.eq(1).all()


def test_a_prediction_that_is_missing_is_named(tmp_path, capsys):
    _, labels, affine = column_of_vertebrae(0)
    nifti.write(tmp_path / "r" / "a.nii.gz", labels, affine)
    (tmp_path / "p").mkdir()
    assert main(["score", "--reference", str(tmp_path / "r"), "--prediction", str(tmp_path / "p")]) == 1
    assert "one prediction per reference" in capsys.readouterr().err


def test_two_scans_of_one_name_are_refused_before_either_is_predicted(trained, tmp_path, capsys):
    words = ["predict", str(tmp_path / "a" / "ct.nii.gz"), str(tmp_path / "b" / "ct.nii.gz")]
    assert main([*words, "--out", str(tmp_path / "out"), "--run", "trained"]) == 2
    assert "ct_seg.nii.gz" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_an_unknown_source_lists_the_known_ones(capfd):
    assert main(["fetch", "nowhere"]) == 2
    assert "totalsegmentator, totalsegmentator-small" in capfd.readouterr().err


def test_fetch_downloads_into_the_raw_folder_unless_told_otherwise(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("SPINESEG_HOME", str(tmp_path))
    asked = []
    monkeypatch.setattr("spineseg.data.fetch.fetch", lambda source, to: asked.append((source, to)) or to)
    assert main(["fetch", "kaggle"]) == 0 and main(["fetch", "kaggle", "--to", str(tmp_path / "x")]) == 0
    assert asked == [("kaggle", tmp_path / "data/raw/kaggle"), ("kaggle", tmp_path / "x")]
    assert f"spineseg audit {tmp_path / 'x'}" in capsys.readouterr().out
