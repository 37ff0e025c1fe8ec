import matplotlib.pyplot as plt
import numpy as np
import pytest
from test_budgets import answer  # noqa: F401 - a fixture

from spineseg.anatomy.labels import REGIONS
from spineseg.report import architecture_figures as figures
from spineseg.report import budgets, network_costs
from spineseg.report.budgets import OURS


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def marks(ax, *shapes):
    return np.concatenate([line.get_xdata() for line in ax.lines if line.get_marker() in shapes])


def test_each_network_is_one_dot_in_every_panel(answer):  # noqa: F811
    trained = [{"network": n, "parameters": 10**6, "peak_gb": g} for n, g in ((OURS, 1.0), ("U", 2.0), ("slow", 3.0))]
    axes = figures.draw_tradeoff(budgets.cost_rows(answer, {"trained": trained}))
    assert [line.get_xdata()[0] for line in axes[0].lines] == [1.0, 2.0, 3.0]
    assert [line.get_xdata()[0] for line in axes[1].lines] == [2.0, 3.0, 3.0]
    assert [t.get_text() for t in axes[0].figure.legends[0].get_texts()] == [OURS, "U", "slow"]


def test_gains_are_drawn_for_both_budgets_and_a_missing_one_is_left_out(answer):  # noqa: F811
    steps, time = (budgets.compared(budgets.scores(answer, part), OURS) for part in ("steps", "time"))
    axes = figures.draw_gains(steps, time)
    assert [t.get_text() for t in axes[0].get_yticklabels()] == ["U", "slow"]
    assert marks(axes[0], "o") == pytest.approx([0.1, -0.2])
    assert marks(axes[1], "s")[0] == pytest.approx(0.03) and np.isnan(marks(axes[1], "s")[1])


def test_a_budget_without_a_training_is_not_in_the_legend(answer):  # noqa: F811
    steps = budgets.compared(budgets.scores(answer, "steps"), OURS)
    axes = figures.draw_gains(steps, steps[steps["name"] == OURS])
    assert [t.get_text() for t in axes[1].get_legend().get_texts()] == ["equal steps"]


def test_every_name_has_a_dot_for_each_region(answer):  # noqa: F811
    ax = figures.draw_regions(budgets.compared(budgets.scores(answer, "steps"), OURS))
    assert len(marks(ax, "o")) == 3 * len(REGIONS)


def test_every_loss_has_a_panel_with_its_shares(answer):  # noqa: F811
    axes = figures.draw_mass(budgets.mass_rows(answer))
    shown = [ax for ax in axes if ax.get_visible()]
    assert [ax.texts[0].get_text() for ax in shown] == ["logistic", "Dice"]
    assert shown[0].lines[0].get_ydata() == pytest.approx([96.0] * 4)  # background
    assert shown[0].lines[1].get_ydata() == pytest.approx([98.0, 98.0])  # its share of the voxels


def test_every_plan_is_a_line(answer):  # noqa: F811
    axes = figures.draw_lengths(budgets.length_rows(answer))
    assert axes.shape == (2, 2) and all(len(ax.lines) >= 2 for ax in axes.flat)
    assert [line.get_linestyle() for line in axes[0, 1].lines] == ["-", ":"]


def test_ratios_stand_in_the_row_of_their_network():
    measured = [
        {"network": n, "side": 64, "batch": 1, "bf16": b, "recompute": False, "predicted_gb": p, "measured_gb": 1.0,}
        for n, b, p in (("A", True, 0.9), ("B", True, 1.2), ("A", False, 1.0))
    ]  # fmt: skip
    ax = figures.draw_memory(network_costs.measured_rows({"measured": measured}), band=0.15)
    assert list(ax.lines[1].get_xdata()) == [0.9, 1.2] and list(ax.lines[1].get_ydata()) == [0, 1]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["A", "B"]
