"""Real pairs are scored by the rules of incomplete references; small label maps solved by hand."""

import numpy as np
import pandas as pd
import pytest

from spineseg import paths
from spineseg.anatomy.labels import IDS
from spineseg.config import Config, EvaluationConfig
from spineseg.report import results
from spineseg.report.score_tables import real_means, real_table

CLEAR, LABELLED = ("clear of the edge", "all labelled")
CONFIG = EvaluationConfig(bootstrap_draws=20)
AFFINE = np.diag([10.0, 10.0, 10.0, 1.0])  # a voxel is 1 ml


def spine(*names, starts=2, into=None):
    """Blocks of 2 x 2 x 2 voxels on top of each other, the first at the bottom, in an array 20 voxels high."""
    labels = np.zeros((6, 6, 20), np.uint8) if into is None else into
    for i, name in enumerate(names):
        labels[2:4, 2:4, starts + 3 * i : starts + 3 * i + 2] = IDS[name]
    return labels


def scored(reference, prediction, incomplete=True):
    scores = results.score_real("a", reference, prediction, AFFINE, config=CONFIG, incomplete=incomplete)
    return scores, real_table(scores).loc["a"]


def test_a_perfect_prediction_is_perfect_under_both_rules():
    reference = spine("L5", "L4", "L3", starts=3)
    _, row = scored(reference, reference)
    assert row["whole volume"].tolist() == [1, 0]
    for rule in (CLEAR, LABELLED):
        assert row[rule].tolist() == [3, 1, 1, 1, 0]


def test_what_is_predicted_in_the_blank_sacrum_and_in_blank_cut_vertebrae_is_no_error():
    reference = spine("L4", "L3", starts=6)
    prediction = spine("L5", "L4", "L3", "L2", starts=3)
    prediction[2:4, 2:4, 0:2] = IDS["S1"]
    prediction[2:4, 2:4, 12:20] = IDS["L2"]  # up to the edge
    prediction[2:4, 2:4, 3:5] = 0
    _, row = scored(reference, prediction)
    assert row["whole volume"].tolist() == [1, 0]
    assert row[LABELLED].tolist() == [2, 1, 1, 1, 0]


def test_an_invention_inside_the_scan_is_an_error_of_the_whole_volume():
    reference = spine("L4", "L3", starts=6)
    prediction = spine("L4", "L3", starts=6)
    prediction[2:4, 2:4, 14:16] = IDS["T12"]  # 8 ml, three voxels above L3 and clear of the edge
    _, row = scored(reference, prediction)
    assert row["whole volume", "false_vertebra_ml"] == 8
    assert row["whole volume", "binary_dice"] == pytest.approx(2 * 16 / (16 + 24), abs=0.01)


def test_a_vertebra_at_the_edge_is_left_out_by_name_and_counted_as_bone():
    reference = spine("L5", "L4", starts=0)  # L5 touches the edge
    prediction = spine("L4", starts=3)  # and was missed
    _, row = scored(reference, prediction)
    assert row[CLEAR].tolist() == [1, 1, 1, 1, 0]
    assert row[LABELLED, "vertebrae"] == 2 and row[LABELLED, "named_dice"] == 0.5
    assert row["whole volume", "binary_dice"] == pytest.approx(2 * 8 / (16 + 8), abs=0.01)


def test_shifted_names_cost_names_alone_although_the_edge_cuts_the_last_of_them():
    reference = spine("L4", "L3", starts=12)  # L2 above is cut and blank
    prediction = spine("L5", "L4", starts=12)
    prediction[2:4, 2:4, 18:20] = IDS["L3"]
    scores, row = scored(reference, prediction)
    assert row["whole volume"].tolist() == [1, 0]
    for rule in (CLEAR, LABELLED):
        assert row[rule, "best_match_dice"] == 1 and row[rule, "named_dice"] == row[rule, "identified"] == 0
    assert scores.loc[scores["vertebra"] == "L3", "prediction_voxels"].eq(0).all()


def test_a_complete_reference_judges_sacrum_and_edge():
    reference = spine("S1", "L5", starts=3)
    prediction = spine("L5", starts=6)
    prediction[2:4, 2:4, 14:20] = IDS["T12"]  # up to the edge, where the reference has nothing
    _, row = scored(reference, prediction, incomplete=False)
    assert row[CLEAR, "vertebrae"] == 2 and row[CLEAR, "named_dice"] == 0.5
    assert row["whole volume"].tolist() == [pytest.approx(2 * 8 / (16 + 8 + 24), abs=0.01), 24]
    assert "S1" not in set(scored(spine("L5", starts=3), spine("L5", starts=3))[0]["vertebra"])


def test_a_scan_with_nothing_clear_of_the_edge_keeps_its_row():
    reference = spine("L5", starts=0)
    _, row = scored(reference, reference)
    assert row[CLEAR, "vertebrae"] == 0 and np.isnan(row[CLEAR, "named_dice"])
    assert row["whole volume", "binary_dice"] == 1 and row[LABELLED, "vertebrae"] == 1


def test_means_over_scans_count_those_that_have_the_vertebrae():
    whole, edge = spine("L5", starts=3), spine("L5", starts=0)
    scores = pd.concat([scored(whole, whole)[0], scored(edge, edge)[0].assign(case="b")])
    means = real_means(real_table(scores))
    assert (means["n_real"], means["n_real_clear"], means["real_vertebrae"]) == (2, 1, 2)
    assert means["real_named"] == means["real_binary"] == 1


def test_without_real_scans_the_table_is_empty_and_the_means_are_nan(monkeypatch, tmp_path):
    monkeypatch.setenv("SPINESEG_REALCT", str(tmp_path / "nowhere"))
    assert not paths.real_ct_folder().exists()
    scores = results.evaluate_real(Config.load("smoke"))
    means = real_means(real_table(scores))
    assert len(scores) == means["n_real"] == means["real_vertebrae"] == 0 and np.isnan(means["real_named"])


def test_tables_of_vertebrae_are_read_from_beside_the_label_maps(tmp_path):
    lines = "vertebra,volume_ml,confidence,at_border,review,reason\nL1,40.0,0.9,False,False,\nL2,41.0,,True,True,cut\n"
    (tmp_path / "07_vertebrae.csv").write_text(lines)
    (tmp_path / "08_vertebrae.csv").write_text("vertebra,volume_ml,confidence,at_border,review,reason\n")
    paths_of = [tmp_path / f"{case}.nii.gz" for case in ("07", "08", "09")]
    found = results.found_vertebrae(
        pd.DataFrame({"method": "cascade", "case": ["07", "08", "09"], "prediction": paths_of})
    )
    assert found[["method", "case", "vertebra"]].to_numpy().tolist() == [["cascade", "07", v] for v in ("L1", "L2")]
    assert found["review"].tolist() == [False, True] and np.isnan(found["confidence"].iloc[1])


def test_without_any_table_there_is_no_vertebra_but_the_columns(tmp_path):
    missing = pd.DataFrame({"method": ["cascade"], "case": ["a"], "prediction": [tmp_path / "a.nii.gz"]})
    found = results.found_vertebrae(missing)
    assert len(found) == 0 and {"method", "case", "vertebra", "confidence", "review"} <= set(found)
