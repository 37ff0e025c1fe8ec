import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from spineseg.evaluation.calibration import RELIABILITY_COLUMNS
from spineseg.report import trust_figures


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def test_every_scan_is_a_dot_at_its_volume_zero_included():
    cases = pd.DataFrame({"method": ["one"] * 3 + ["two"], "false_vertebra_ml": [0.0, 30.0, 2.0, 0.5]})
    summary = pd.DataFrame({"method": ["one", "two"], "mean": 1.0, "low": 0.5, "high": 400.0, "median": 0.7})
    ax = trust_figures.draw_false_volumes(cases, summary, limit_ml=1.0)
    dots = [c.get_offsets()[:, 0].tolist() for c in ax.collections if len(c.get_offsets()) and c.get_paths()]
    assert [0.0, 2.0, 30.0] in dots and [0.5] in dots
    low, high = ax.get_xlim()
    assert low < 0 and high > 400
    assert [t.get_text() for t in ax.get_yticklabels()] == ["one", "two"]


def test_a_method_without_interval_is_drawn():
    cases = pd.DataFrame({"method": ["one"], "false_vertebra_ml": [0.0]})
    summary = pd.DataFrame({"method": ["one"], "mean": 0.0, "low": np.nan, "high": np.nan, "median": 0.0})
    assert trust_figures.draw_false_volumes(cases, summary, limit_ml=1.0).get_xlim()[1] > 1


def test_bins_lie_at_their_confidence_and_share_and_the_legend_counts_vertebrae():
    bins = pd.DataFrame([("cascade", 0, 0.2, 0.1, 0.0, 0.3, 7), ("cascade", 1, 0.9, 1.0, 0.9, 1.0, 8)])
    ax = trust_figures.draw_reliability(bins.set_axis(RELIABILITY_COLUMNS, axis=1))
    assert ax.collections[-1].get_offsets().tolist() == [[0.2, 0.1], [0.9, 1.0]]
    assert [t.get_text() for t in ax.get_legend().texts] == ["cascade (n = 15)"]


def test_without_a_bin_the_chart_says_so():
    ax = trust_figures.draw_reliability(pd.DataFrame(columns=RELIABILITY_COLUMNS))
    assert "no vertebra with a confidence" in [t.get_text() for t in ax.texts]
