import json

import matplotlib.pyplot as plt
import numpy as np
import pytest

from spineseg import paths
from spineseg.report import study
from spineseg.report.study_figures import draw_changes


def row(stage, choice, change, gain, low, high):
    measures = {m: {"mean": 0.8 + gain, "change": gain, "low": low, "high": high} for m in study.SHOWN[stage]}
    return {"stage": stage, "choice": choice, "change": change, "values": {}, "measures": measures}


@pytest.fixture
def answer():
    rows = [row(stage, "", "unchanged", 0.0, 0.0, 0.0) for stage in study.SHOWN]
    for stage in study.SHOWN:
        rows += [
            row(stage, "seed", "another", -0.02, -0.04, 0.0),
            row(stage, "loss", "no term", -0.2, -0.3, -0.1),
            row(stage, "patch", "small", -0.01, -0.015, -0.005),  # surely worse, but by less than another seed
            row(stage, "patch", "large", 0.05, 0.02, 0.08),
        ]
    settings = {"profile": "demo", "training.epochs": 20, "scans": {"coarse": 60, "fine": 24}}
    return {"settings": settings, "rows": rows}


def test_every_change_is_a_row_and_the_base_is_none(answer):
    table = study.changes(answer, "fine")
    assert set(table["measure"]) == {"Dice", "Dice, neck"} and len(table) == 8
    assert "unchanged" not in set(table["change"])


def test_the_table_keeps_the_order_of_the_study(answer):
    shown = study.changes_table(study.changes(answer, "coarse"))
    assert list(shown.index) == [("seed", "another"), ("loss", "no term"), ("patch", "small"), ("patch", "large")]
    assert shown.loc[("loss", "no term"), "identified"] == "-0.20 (-0.30 to -0.10)"


def test_a_change_counts_only_beyond_what_another_seed_moves(answer):
    words = study.words(answer)
    assert words["fine_worse"] == 1 and words["fine_better"] == 1 and words["fine_choices"] == 3
    assert words["coarse_worst"] == "loss: no term" and words["coarse_worst_gain"] == pytest.approx(-0.2)
    assert words["fine_best"] == "patch: large" and words["fine_best_gain"] == pytest.approx(0.05)
    assert words["fine_seed"] == pytest.approx(0.02) and words["fine_base"] == pytest.approx(0.8)


def test_the_figure_draws_both_measures_of_every_change(answer):
    table = study.changes(answer, "coarse")
    ax = draw_changes(table, study.SHOWN["coarse"])
    drawn = np.concatenate([line.get_xdata() for line in ax.lines if line.get_marker() in ("o", "s")])
    assert sorted(np.round(drawn, 6)) == sorted(np.round(table["gain"], 6))
    assert [t.get_text() for t in ax.get_yticklabels()][0] == "seed: another"
    plt.close("all")


def test_what_is_read_is_what_the_benchmark_wrote(answer, monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "results_folder", lambda: tmp_path)
    (tmp_path / study.FILE).write_text(json.dumps(answer))
    assert study.load() == answer
