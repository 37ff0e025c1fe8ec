import json

import matplotlib.pyplot as plt
import numpy as np
import pytest

from spineseg import paths
from spineseg.config import Config
from spineseg.report import speed, speed_figures


def row(name, peer, ratio, target=None):
    return {
        "file": "x",
        "name": name,
        "peer": peer,
        "ratio": ratio,
        "target": target,
        "ours": 2.0,
        "theirs": 2.0 * ratio,
        "unit": "ms",
        "equal": True,
        "apart": "0 voxels differ",
        "ours_range": [1, 3],
        "theirs_range": [1, 3],
    }


@pytest.fixture
def results(tmp_path, monkeypatch):
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(paths, "results_folder", lambda: tmp_path / "results")
    answer = {
        "machine": {"processor": "a processor", "threads": 1, "date": "2026-11-27"},
        "versions": {"monai": "1", "nnunetv2": "2"},
        "rows": [
            row("a", "MONAI", 5.0, 4.0),
            row("b", "MONAI", 1.5, 3.0),
            row("c", "loop", 0.5),
            row("d", "X", np.nan),
        ],
    }
    (tmp_path / "results.json").write_text(json.dumps(answer))
    return tmp_path / "results"


def test_aims_are_counted_and_the_missed_ones_named(results):
    words = speed.comparison_words(*speed.comparisons())
    assert (words["targets"], words["targets_met"]) == (2, 1)
    assert words["targets_missed"] == "b beside MONAI (1.5 of 3.0)"
    assert words["best_what"] == "a beside MONAI" and words["worst_ratio"] == 0.5


def test_a_library_that_was_not_installed_is_left_out(results):
    _, rows = speed.comparisons()
    assert list(speed.comparison_table(rows).index) == [("a", "MONAI"), ("b", "MONAI"), ("c", "loop")]
    ax = speed_figures.draw_ratios(rows)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a: MONAI", "b: MONAI", "c: loop"]
    drawn = np.concatenate([line.get_xdata() for line in ax.lines if line.get_marker() == "o"])
    assert sorted(drawn) == [0.5, 1.5, 5.0]
    plt.close("all")


def test_memory_is_told_in_words_and_drawn_beside_its_band():
    steps = [
        {
            "side": 64,
            "batch": 2,
            "bf16": True,
            "recompute": True,
            "network": {"kernel": 5},
            "predicted_mb": 90.0,
            "measured_mb": 100.0,
        },
        {
            "side": 96,
            "batch": 1,
            "bf16": False,
            "recompute": False,
            "network": {},
            "predicted_mb": 220.0,
            "measured_mb": 200.0,
        },
    ]
    rows = speed.memory_rows({"rows": steps})
    assert list(rows["step"]) == ["64-cubed, batch 2, bf16, 5-cubed, recomputed", "96-cubed, batch 1, fp32"]
    words = speed.memory_words(rows)
    assert words["memory_low"] == pytest.approx(0.9) and words["memory_high"] == pytest.approx(1.1)
    ax = speed_figures.draw_memory(rows)
    assert list(ax.lines[1].get_ydata()) == [90.0, 220.0]
    plt.close("all")


def test_growth_gives_slopes_and_a_panel_for_each_curve():
    curves = [
        {
            "what": w,
            "of": "slices",
            "x": [1, 2, 4],
            "seconds": [1.0, 2.0, s],
            "peak_mb": [10, 11, 12],
            "slope": s / 4,
            "last_slope": 1.0,
        }
        for w, s in (("predict", 4.0), ("audit", 8.0))
    ]
    words = speed.growth_words({"curves": curves})
    assert words["steepest"] == "audit" and words["predict_mb_high"] == 12 and words["predict_slices_high"] == 4
    assert len(speed.growth_table({"curves": curves})) == 2
    panels = speed_figures.draw_growth(speed.growth_rows({"curves": curves}))
    assert panels.shape == (2, 2) and list(panels[0, 1].lines[1].get_ydata()) == [1.0, 2.0, 8.0]
    assert list(panels[0, 1].lines[0].get_ydata()) == [2.0, 4.0, 8.0]  # what linear growth would be
    plt.close("all")


def test_the_largest_step_is_named_and_the_total_is_no_bar():
    answer = {
        "before": {"prediction": {"read": 1.0, "network": 9.0, "total": 10.0}},
        "after": {"prediction": {"read": 1.0, "network": 3.0, "total": 4.0}},
    }
    words = speed.spent_words(answer, "prediction")
    assert words["prediction_largest"] == "network" and words["prediction_largest_share"] == 0.75
    assert words["prediction_before"] == 10.0 and words["prediction_total"] == 4.0
    ax = speed_figures.draw_spent(speed.spent_rows(answer, "prediction"))
    assert sorted(bar.get_width() for bar in ax.patches) == [1.0, 1.0, 3.0, 9.0]
    plt.close("all")


GPU = {
    "machine": {"device": "a GPU", "date": "2026-01-01"},
    "versions": {"torch": "2"},
    "limits": {"bf16": {"tflop_per_s": 700.0, "gb_per_s": 3000.0}},
    "variants": [
        {"channels_last": False, "compiled": False, "step_ms": 30.0, "first_step_s": 1.0},
        {"channels_last": True, "compiled": False, "error": "no"},
        {"channels_last": False, "compiled": True, "step_ms": 20.0, "first_step_s": 9.0},
    ],
    "loss_curves": {"largest_relative_difference": 0.001},
    "phantoms": {"seconds": 0.5, "spacing_mm": 1.5},
    "prediction": {"seconds": 0.6, "shape": [1, 2, 3]},
    "steps": [
        {"network": "V-Net 3-cubed", "side": 96, "batch": 1, "bf16": True, "step_ms": 10.0, "peak_gb": 2.0,
         "predicted_gb": 1.0, "roofline_share": 0.1, "tflop_per_s": 9.0},
        {"network": "MONAI VNet", "side": 96, "batch": 1, "bf16": True, "step_ms": 25.0, "peak_gb": 3.0},
        {"network": "V-Net 3-cubed", "side": 96, "batch": 1, "bf16": False, "out_of_memory": True,
         "predicted_gb": 9.0},
    ],
}  # fmt: skip


def test_a_step_on_a_gpu_stands_beside_that_of_the_other_library():
    rows = speed.gpu_rows(GPU)
    words = speed.gpu_words(GPU, rows)
    assert words["gpu"] == "a GPU" and words["gpu_slower_high"] == 2.5 and words["gpu_foretold_high"] == 2.0
    assert words["gpu_fastest"] == "compiled" and words["gpu_fastest_gain"] == 1.5
    assert len(speed.gpu_table(rows)) == 3
    heights = sorted(bar.get_height() for bar in speed_figures.draw_gpu(rows).patches)
    assert heights == [10.0, 25.0]
    plt.close("all")


def test_the_forecast_of_the_page_is_that_of_the_dry_run():
    table = speed.forecast_table(Config.load("smoke"))
    assert len(table) == 6 and (table["on a GPU (GB)"] > 0.5).all()
