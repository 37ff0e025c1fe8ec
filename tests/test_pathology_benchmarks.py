"""The scripts behind the chapter on health, each in the smallest run that writes all it writes."""

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import morphometry
import numpy as np
import pandas as pd
import pathology
import pathology_cohort
import pathology_network
import pytest
import real_measures
from test_health import SMALL, cohort

from spineseg import paths
from spineseg.anatomy.phantom_masks import whole_spine
from spineseg.anatomy.planted_cohort import DISC_KINDS, TRUE, VERTEBRA_KINDS
from spineseg.data import nifti
from spineseg.learning.vertebra_crops import CROP

COUNTS = {"train": 24, "test": 6, "mild": 6}


@pytest.mark.parametrize("script", [morphometry, pathology_cohort, pathology, real_measures])
def test_every_script_says_what_it_takes(script, capsys):
    with pytest.raises(SystemExit) as ended:
        script.main(["--help"])
    assert ended.value.code == 0 and "--" in capsys.readouterr().out


def test_one_spine_is_enough_for_every_table_of_exactness(tmp_path, monkeypatch):
    monkeypatch.setattr(morphometry, "whole_spine", lambda seed, **k: whole_spine(seed, **(k | {"spacing_mm": 4.0})))
    assert morphometry.main(["--seeds", "1", "--out", str(tmp_path / "m.json")]) == 0
    answer = json.loads((tmp_path / "m.json").read_text())
    assert answer["seeds"] == answer["rotated_seeds"] == 1 and set(answer["rotated"]) == {"drawn", "nearest"}
    assert all(len(rows) > 8 for rows in answer["perfect"].values()) and answer["scoliosis"]["scans"] == 2


def test_one_phantom_of_a_part_is_made_in_own_and_in_predicted_labels(tmp_path, monkeypatch):
    drawn, generate = [], pathology_cohort.generate

    def coarse(seed, **options):
        drawn.append(generate(seed, **(options | {"spacing_mm": 4.0})))
        return drawn[-1]

    predictions = []

    def predictor(volume):
        predictions.append(volume)
        return SimpleNamespace(labels=drawn[-1].labels)

    monkeypatch.setattr(pathology_cohort, "generate", coarse)
    monkeypatch.setattr(pathology_cohort, "boxed_predictor", lambda: predictor)
    order = [str(tmp_path), "--part", "test", "--count", "1", "--predicted"]
    assert pathology_cohort.main(order) == 0 and pathology_cohort.main(order) == 0
    assert len(drawn) == 1  # what is there is not made again
    for kind in pathology_cohort.KINDS:
        shutil.rmtree(pathology_cohort.folder_of(tmp_path, kind, "test"))
    assert pathology_cohort.main(order) == 0
    assert len(drawn) == 2 and len(predictions) == 1  # measured anew in the masks that were kept
    own, seen = (pathology_cohort.rows_of(tmp_path, kind, "test", "vertebrae") for kind in pathology_cohort.KINDS)
    pd.testing.assert_frame_equal(own, seen)
    assert {f"{TRUE}{kind}" for kind in VERTEBRA_KINDS} <= set(own) and own["seed"].nunique() == 1


def test_two_processes_make_what_one_makes(tmp_path):
    order = ["--part", "mild", "--count", "2"]
    alone, beside = tmp_path / "alone", tmp_path / "beside"
    assert pathology_cohort.main([str(alone), *order]) == 0
    assert pathology_cohort.main([str(beside), *order, "--jobs", "2"]) == 0
    for table, least in (("vertebrae", 10), ("scan", 2)):
        first, second = (pathology_cohort.rows_of(work, "perfect", "mild", table) for work in (alone, beside))
        assert len(first) >= least
        pd.testing.assert_frame_equal(first, second)


def planted(work):
    """A cohort of made-up measurements in which two kinds occur, with crops of noise."""
    rng = np.random.default_rng(0)
    for first, (part, count) in enumerate(COUNTS.items()):
        bone, gaps = cohort(100 * first, count)
        for table, kinds in ((bone, VERTEBRA_KINDS), (gaps, DISC_KINDS)):
            for kind in kinds:
                table[TRUE + kind] = table.get(TRUE + kind, np.nan)
        for kind in pathology_cohort.KINDS if part != "mild" else pathology_cohort.KINDS[:1]:
            folder = pathology_cohort.folder_of(work, kind, part)
            folder.mkdir(parents=True)
            for seed, own in bone.groupby("seed"):
                own.to_csv(folder / f"{seed}_vertebrae.csv", index=False)
                gaps[gaps["seed"] == seed].to_csv(folder / f"{seed}_discs.csv", index=False)
                row = {"seed": seed, "cobb": 12.0 * (seed % 2), f"{TRUE}cobb": 11.0 * (seed % 2)}
                pd.DataFrame([row | {f"{TRUE}scoliosis": np.nan}]).to_csv(folder / f"{seed}_scan.csv", index=False)
                crops = {name: rng.normal(size=(2, *CROP)).astype(np.float16) for name in own["vertebra"]}
                np.savez(folder / f"{seed}.npz", **crops)


def test_two_dozen_scans_are_enough_for_every_number_of_the_call(tmp_path, monkeypatch):
    planted(tmp_path)
    few = dataclasses.replace(pathology.CONFIG.evaluation, bootstrap_draws=20)
    monkeypatch.setattr(pathology, "CONFIG", dataclasses.replace(pathology.CONFIG, evaluation=few, health=SMALL))
    monkeypatch.setattr(pathology_network, "EPOCHS", 1)
    monkeypatch.setattr(pathology, "boxed", lambda: tmp_path / "health.json")
    out = tmp_path / "p.json"
    assert pathology.main([str(tmp_path), "--network", "--least-cases", "2", "--keep", "--out", str(out)]) == 0
    answer = json.loads(out.read_text())
    assert [row["kind"] for row in answer["perfect"]] == ["fracture", "narrow"] and answer["perfect"][0]["auc"] > 0.9
    assert [row["kind"] for row in answer["network"]["predicted"]] == ["fracture", "narrow"]
    assert answer["patients"] == COUNTS and answer["scoliosis"]["predicted"]["called"] == 3
    assert {t: set(k) for t, k in json.loads((tmp_path / "health.json").read_text())["model"].items()} == {
        "vertebrae": {"fracture"}, "discs": {"narrow"}
    }  # fmt: skip


def test_real_cases_are_measured_where_there_are_any(tmp_path, monkeypatch):
    monkeypatch.setenv("SPINESEG_REALCT", str(tmp_path))
    out = tmp_path / "r.json"
    assert real_measures.main(["--out", str(out)]) == 0 and not out.exists()
    (tmp_path / "pairs").mkdir()
    (tmp_path / "masks").mkdir()
    labels, affine = whole_spine(20270101, spacing_mm=3.0)
    lumbar = np.where(labels >= 20, labels, 0).astype(np.uint8)[:, :, : labels.shape[2] // 2]
    for name in ("a", "b"):
        nifti.write(tmp_path / "masks" / f"{name}_seg.nii.gz", lumbar, affine)
    assert real_measures.main(["--cases", "1", "--out", str(out)]) == 0
    cases = json.loads(out.read_text())["cases"]
    assert list(cases) == ["a"] and not cases["a"]["scan"]
    assert any(row["inner_degrees"] < row["wedge_degrees"] for row in cases["a"]["vertebrae"] if row["whole"])


def test_the_chapter_says_so_where_its_outlines_are_those_of_another_box():
    measured = json.loads((paths.results_folder() / "pathology.json").read_text())["weights"]
    chapter = (Path(__file__).parents[1] / "notebooks/07_pathology.ipynb").read_text()
    told = "the box as it was before" in chapter
    assert told == (measured != pathology_cohort.weights_sha())
