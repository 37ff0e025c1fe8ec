import json

import numpy as np
import pytest

from spineseg import paths
from spineseg.anatomy.labels import IDS
from spineseg.report import budgets
from spineseg.report.budgets import ALL, OURS

HELD = [[case, IDS[name]] for case in range(6) for name in ("C3", "T8", "L2")]


def row(part, name, seed, offset, **more):
    """A training whose necks score `offset`, other vertebrae .2 more, and .01 more in each later scan."""
    dice = [offset + 0.01 * case + (0.0 if k == IDS["C3"] else 0.2) for case, k in HELD]
    return {
        "part": part, "name": name, "seed": seed, "cpu_seconds": 40.0 + 20 * (name != OURS), "steps": 20, "skipped": 0,
        "predict_seconds": 2.0, "dice": dice, "identified": [1] * len(HELD), **more,
    }  # fmt: skip


def mass(background, neck, lumbar):
    parts = np.zeros((4, 26))
    parts[:, 0], parts[:, IDS["C3"]], parts[:, IDS["L2"]] = background, neck, lumbar
    return parts.tolist()


def history(epochs):
    columns = ("validation_loss", "dice_cervical", "dice_thoracic", "dice_lumbar", "dice_sacral", "dice_mean")
    return {"epoch": list(range(5, epochs + 1, 5))} | {c: [0.5] * (epochs // 5) for c in columns}


@pytest.fixture
def answer():
    rows = [row("steps", OURS, seed, 0.5 + 0.02 * seed) for seed in (0, 1, 2)]
    rows += [row("steps", "U", seed, 0.6 + 0.02 * seed) for seed in (0, 1, 2)] + [row("steps", "slow", 0, 0.3)]
    rows += [row("time", "U", seed, 0.55) for seed in (0, 1, 2)]
    rows.append(row("loss", "logistic", 0, 0.2, mass=mass(96, 1, 3), voxels=mass(98, 0.5, 1.5)))
    rows.append(row("loss", "Dice", 0, 0.4, mass=mass(50, 25, 25), voxels=mass(98, 0.5, 1.5)))
    for stage in ("fine", "baseline"):
        for length in ("100", "continued"):
            rows.append(row("length", f"{stage} {length}", 0, 0.6, history=history(100)))
    rows.sort(key=lambda r: r["name"] != "U")  # trained first, and shown in the settings' order
    return {"settings": {"scans": 6, "networks": {OURS: {}, "U": {}}}, "held": HELD, "rows": rows}


def test_what_is_read_is_what_the_benchmark_wrote(answer, monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "results_folder", lambda: tmp_path)
    (tmp_path / budgets.FILE).write_text(json.dumps(answer))
    assert budgets.load() == answer


def test_gains_are_over_the_same_scans_and_seeds(answer):
    table = budgets.compared(budgets.scores(answer, "steps"), OURS).set_index(["name", "region"])
    assert table.loc[(OURS, ALL), "gain"] == 0 and table.loc[("U", ALL), "gain"] == pytest.approx(0.1)
    assert table.loc[("U", ALL), ["gain_low", "gain_high"]].tolist() == pytest.approx([0.1, 0.1])  # alike in every scan
    slow = table.loc[("slow", "cervical")]  # has seed 0 alone, and so is held against ours of seed 0
    assert slow["gain"] == pytest.approx(-0.2) and slow["seeds"] == 1


def test_a_mean_has_the_range_of_its_seeds_and_an_interval_over_scans(answer):
    table = budgets.compared(budgets.scores(answer, "steps"), OURS).set_index(["name", "region"])
    neck = table.loc[(OURS, "cervical")]
    assert neck["mean"] == pytest.approx(0.52 + 0.025) and neck["seeds"] == 3
    assert (neck["least"], neck["most"]) == (pytest.approx(0.525), pytest.approx(0.565))
    assert 0.52 <= neck["low"] < neck["mean"] < neck["high"] <= 0.57
    assert (OURS, "sacral") not in table.index


def test_in_equal_time_ours_are_the_trainings_of_equal_steps(answer):
    rows = budgets.scores(answer, "time")
    assert set(rows["name"]) == {OURS, "U"}
    table = budgets.compared(rows, OURS).set_index(["name", "region"])
    assert table.loc[("U", ALL), "gain"] == pytest.approx(0.03)


def test_tables_keep_the_order_of_the_benchmark(answer):
    table = budgets.compared(budgets.scores(answer, "steps"), OURS)
    shown = budgets.region_table(table)
    assert list(shown.index) == [OURS, "U", "slow"] and list(shown["seeds"]) == [3, 3, 1]
    assert shown.loc[OURS, "sacral"] == "-" and shown.loc["U", "cervical"].startswith("0.65 (0.6")
    assert budgets.gain_table(table, OURS).loc["U", ALL] == "+0.10 (+0.10 to +0.10)"


def test_the_table_of_losses_says_how_many_names_are_right(answer):
    next(r for r in answer["rows"] if r["name"] == "Dice")["identified"][0] = 0
    table = budgets.compared(budgets.scores(answer, "loss"), "Dice")
    assert budgets.loss_table(answer, table)["named right"].to_dict() == {"logistic": "1.00", "Dice": "0.94"}


def test_costs_stand_beside_the_dice(answer):
    trained = [{"network": n, "parameters": 10**6, "peak_gb": 1.5} for n in (OURS, "U", "slow")]
    rows = budgets.cost_rows(answer, {"trained": trained}).set_index("name")
    assert rows.loc[OURS, "step_s"] == 2.0 and rows.loc["U", "step_s"] == 3.0
    table = budgets.cost_table(rows.reset_index())
    assert table.loc["U", "parameters (M)"] == 1.0 and table.loc["U", "memory, 96-cubed (GB)"] == 1.5


def test_times_that_were_taken_alone_come_before_those_of_trainings(answer):
    trained = [{"network": n, "parameters": 10**6, "peak_gb": 1.5} for n in (OURS, "U", "slow")]
    answer["alone"] = {n: {"step_s": s, "predict_s": 10 * s} for n, s in ((OURS, 0.02), ("U", 0.03), ("slow", 0.5))}
    for row in answer["rows"]:
        del row["predict_seconds"]  # as the benchmark writes rows now
    rows = budgets.cost_rows(answer, {"trained": trained}).set_index("name")
    assert rows["step_s"].to_dict() == {OURS: 0.02, "U": 0.03, "slow": 0.5} and rows.loc["U", "predict_s"] == 0.3


def test_shares_of_the_gradient_add_up_and_stand_beside_those_of_the_voxels(answer):
    rows = budgets.mass_rows(answer)
    assert rows.groupby(["name", "done"])["mass"].sum().round(9).eq(1).all()
    table = budgets.mass_table(rows)
    assert table.loc["logistic", "cervical"] == 1.0 and table.loc["Dice", "background"] == 50.0
    assert table.loc["(share of the voxels)", "lumbar"] == 1.5


def test_lengths_are_told_apart_by_what_was_planned(answer):
    rows = budgets.length_rows(answer)
    assert rows.groupby(["stage", "planned"])["epoch"].max().eq(100).all() and rows["stage"].nunique() == 2
    table = budgets.length_table(answer)  # equal steps are 40 epochs, here of seed 0 alone
    assert list(table.index) == ["40", "100", "continued"] and list(table["seeds"]) == [1, 1, 1]
