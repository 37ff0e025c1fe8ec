"""Tables and words of the chapter, on a small made-up answer, and figures drawn from it."""

import numpy as np
import pandas as pd
import pytest

from spineseg import paths
from spineseg.config import MorphometryConfig
from spineseg.report import health_figures, health_results, measure_figures, measuring

ROW = {"n": 100, "patients": 9, "low": 0.8, "high": 1.0, "raised_share": 0.1}
STUDY = {
    "caveat": "x", "patients": {"train": 20, "test": 9, "mild": 5}, "specificity": 0.9,
    "perfect": [ROW | {"kind": "fracture", "cases": 12, "auc": 0.97, "missed": 2},
                ROW | {"kind": "narrow", "cases": 9, "auc": 0.91, "missed": 3}],
    "mild": [ROW | {"kind": "fracture", "cases": 8, "auc": 0.8, "missed": 5},
             ROW | {"kind": "narrow", "cases": 8, "auc": 0.6, "missed": 6}],
    "missed": [{"kind": "fracture", "place": "T5", "seed": 1, "severity": 0.31},
               {"kind": "fracture", "place": "L1", "seed": 2, "severity": 0.4}],
    "by_severity": [{"kind": k, "low": a, "high": b, "cases": n, "called": y}
                    for k in ("fracture", "narrow")
                    for a, b, n, y in ((0.0, 0.1, 4, 1), (0.2, 0.3, 4, 2), (0.7, 1.0, 10, 9))],
    "reliability": [{"confidence": 0.1, "correct": 0.08, "low": 0.0, "high": 0.2, "n": 50},
                    {"confidence": 0.9, "correct": 0.95, "low": 0.8, "high": 1.0, "n": 50}],
    "features": {"fracture": {"front_to_back": 0.4, "level": 0.1}, "narrow": {"height": 0.5}},
}  # fmt: skip
LINE = {"n": 10, "missing": 1, "bias": 0.0, "largest": 3.0}
ACCURACY = {
    "seeds": 5, "turn_degrees": 15.0,
    "perfect": {mm: [LINE | {"measure": m, "median": v * k, "p90": 2 * v * k, "target": t} for m, v, t in
                     (("body height", 0.2, 0.5), ("disc height", 0.9, 0.7), ("wedge angle", 0.4, 2.0),
                      ("wedge angle as drawn", 0.5, 2.0),
                      ("angle across a disc", 0.4, 2.0), ("slip", 0.2, 1.0))] for mm, k in (("1.5", 1), ("3.0", 3))},
}  # fmt: skip


def test_words_count_what_reaches_its_aim():
    words = health_results.error_words(ACCURACY)
    assert (words["aims"], words["aims_met"], words["missing_values"]) == (6, 5, 6)
    assert words["coarse_height_error"] == pytest.approx(0.6) and np.isnan(words["block_error"])
    said = health_results.call_words(STUDY)
    assert (said["kinds"], said["kinds_at_aim"], said["best_kind"], said["worst_kind"]) == (
        2,
        1,
        "fracture",
        "narrow disc",
    )
    assert said["mild_called"] == pytest.approx(6 / 16) and said["strong_called"] == pytest.approx(18 / 20)
    assert said["call_missed"] == 5 and "seen_worst" not in said and "network_mean" not in said


def test_words_of_predicted_masks_are_those_of_the_measures():
    rows = [{"measure": m, "n": 10, "missing": 1, "median": v, "p90": 2 * v} for m, v in
            (("body height", 0.5), ("disc height", 0.6), ("wedge angle", 1.5), ("slip", 0.4))]  # fmt: skip
    words = health_results.mask_words({"mask_errors": rows, "predicted_patients": 3})
    assert words == {"seen_height": 0.5, "seen_disc": 0.6, "seen_wedge": 1.5, "seen_slip": 0.4, "seen_missing": 4,
                     "seen_values": 40, "seen_scans": 3}  # fmt: skip


def test_tables_name_kinds_in_words_and_list_what_was_missed():
    assert list(health_results.areas_table(STUDY).index) == ["fracture", "narrow disc"]
    missed = health_results.missed_table(STUDY)
    assert missed.iloc[0, -1] == "T5 (0.31), L1 (0.40)" and missed.iloc[1, -1] == ""
    assert health_results.features_table(STUDY).loc["fracture"].tolist()[:2] == ["height in front / behind", "40%"]
    table = health_results.errors_table(ACCURACY)
    assert table.loc["body height (mm)", "1.5 mm"] == "0.20 / 0.40" and "wedge angle (degrees)" in table.index


@pytest.mark.parametrize("name", ["morphometry.json", "pathology.json", "real_measures.json"])
def test_what_was_measured_can_be_read(name):
    answer = health_results.load(name)
    if name == "morphometry.json":
        assert health_results.error_words(answer)["aims_met"] >= 1 and len(health_results.errors_table(answer)) > 8
        turned = health_results.turned_table(answer)
        assert turned.shape[1] == 4 and "Cobb angle (degrees)" in turned.index
        assert 0 < health_results.turned_words(answer)["turned_height"] < 0.3
        curves = health_results.scoliosis_table(answer, health_results.load("pathology.json"))
        assert curves["scans"].min() >= 24 and len(curves) == 3
        words = health_results.curve_words(answer, health_results.load("pathology.json"))
        assert words["curve_called"] == curves["called"].sum() and words["curve_cases"] == curves["with a curve"].sum()
        assert words["curve_raised"] == curves["raised without"].sum() <= words["curve_straight"]
    elif name == "pathology.json":
        words = health_results.call_words(answer)
        assert 0.5 < words["worst_auc"] <= 1 and len(health_results.areas_table(answer)) > 4
        assert words["network_mean"] < words["network_trees_mean"] and words["seen_at_aim"] >= words["alone_at_aim"]
    else:
        rows = health_results.real_rows(answer)
        assert (
            rows["height_middle_mm"].astype(float).between(5, 45).all() and len(health_results.real_table(answer)) > 8
        )
        assert list(health_results.real_findings(answer)) == ["case", "place", "finding", "value"]
    assert (paths.results_folder() / name).stat().st_size < 200_000


def test_figures_hold_a_mark_for_every_row():
    axes = health_figures.draw_errors(health_results.errors(ACCURACY), health_results.errors(ACCURACY, spacing_mm=3.0))
    assert [t.get_text() for t in axes[0].get_yticklabels()] == ["body height", "disc height", "slip"]
    ax = health_figures.draw_areas(health_results.areas(STUDY))
    assert sum(line.get_marker() == "o" for line in ax.lines) == 4
    left, right = health_figures.draw_trust(health_results.reliability_rows(STUDY), health_results.severity_rows(STUDY))
    assert left.lines[-1].get_ydata().tolist() == [0.08, 0.95]
    assert right.lines[-1].get_ydata() == pytest.approx([2 / 8, 4 / 8, 18 / 20])
    rows = pd.DataFrame({"case": ["a", "b"], "vertebra": ["L1", "L2"], **{f"height_{p}_mm": [20.0, 21.0] for p in
                         ("anterior", "middle", "posterior")}})  # fmt: skip
    assert len(health_figures.draw_real(rows).lines) == 6


def test_the_specimen_is_drawn_with_its_findings_and_its_truth():
    one = measuring.specimen(MorphometryConfig(), spacing_mm=3.0)
    assert len(one.planted) > 3 and set(one.planted) == {"kind", "place", "severity", "value", "value is"}
    axes = measure_figures.draw_chart(one.exam, {"L2"}, {"height_middle_mm": {21: (25.0, 2.0)}})
    assert [t.get_text() for t in axes[0].get_yticklabels()] == one.exam.vertebrae["vertebra"].tolist()
    bold = [t.get_text() for t in axes[0].get_yticklabels() if t.get_fontweight() == "bold"]
    assert bold == ["L2"] and len(axes[0].collections) == 1
    ax = measure_figures.draw_sagittal(one.exam, one.ct_hu, one.labels, one.affine, {"L2"})
    shown = {t.get_text() for t in ax.texts}
    assert {b.name for b in one.exam.bodies.values()} <= shown
    pink = [line for line in ax.lines if line.get_color() == measure_figures.FLAG]
    assert len(pink) == 2
    assert measure_figures.draw_sagittal(one.exam, None, one.labels, one.affine, set()).images


def test_the_least_steady_measure_of_turned_patients_is_named():
    measures = ("body height", 0.2, 0.8), ("body height, in a block", 2.0, 0.1), ("cervical lordosis", 1.6, 0.4)
    rows = [{"measure": m, "median": v, "p95": 3 * v, "within": w} for m, v, w in measures]
    words = health_results.turned_words({"rotated": {"nearest": rows}, "rotated_seeds": 3})
    assert (words["turned_worst"], words["turned_worst_median"], words["turned_worst_within"]) == (
        "cervical lordosis",
        1.6,
        0.4,
    )
    assert words["turned_height"] == 0.2 and words["turned_seeds"] == 3 and words["turned_worst_unit"] == "degrees"
