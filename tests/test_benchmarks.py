"""The race itself, and every comparison at toy size beside the libraries that are installed here."""

import collections
import json
import math
import os
import time

import architectures
import budget_rows
import budgets
import harness
import pytest
import roofline
import run as runner
import side_by_side
import torch
from comparisons import NAMES

from spineseg.config import Config, NetworkConfig
from spineseg.learning.architectures import make_network
from spineseg.learning.cost import GPU_CONTEXT_GB
from spineseg.learning.vnet import VNet


def race(**changes):
    sides = {harness.OURS: lambda: 1, "other": lambda: sum(range(200_000)), "absent": None}
    values = {"name": "count", "sides": sides, "check": lambda results: dict.fromkeys(results, (True, "equal"))}
    return harness.Race(**values | changes)


def test_a_slower_side_has_a_ratio_above_one_and_an_absent_library_no_number():
    rows = {row["peer"]: row for row in harness.run(race(targets={"other": 2.0}), rounds=3)}
    assert rows["other"]["ratio"] > 10 and rows["other"]["target"] == 2.0 and rows["other"]["equal"] is True
    assert math.isnan(rows["absent"]["ratio"]) and rows["absent"]["equal"] is False
    low, high = rows["other"]["theirs_range"]
    assert low <= rows["other"]["theirs"] <= high and "met" in harness.text(rows["other"])


def test_results_that_should_be_equal_and_are_not_stop_the_race():
    def check(results):
        assert results["other"] == results[harness.OURS], "they differ"

    with pytest.raises(AssertionError, match="they differ"):
        harness.run(race(check=check), rounds=1)


def test_memory_and_size_are_rows_of_their_own():
    found = harness.run(
        race(
            memory={"other": 3.0, "absent": None}, sizes={harness.OURS: 2e6, "other": 5e6}, targets={"other, size": 2.0}
        ),
        rounds=1,
        peak_mb={harness.OURS: 10.0, "other": 40.0}.__getitem__,
    )
    rows = {(row["name"], row["peer"]): row for row in found}
    assert rows["count, peak memory", "other"]["ratio"] == 4.0
    assert math.isnan(rows["count, peak memory", "absent"]["ratio"])
    assert (
        rows["count, size on disk", "other"]["ratio"] == 2.5 and rows["count, size on disk", "other"]["target"] == 2.0
    )


def test_the_peak_of_a_side_is_measured_above_what_was_there(capsys):
    held = torch.ones(2**24)  # 64 MB that do not count
    harness.print_peak(lambda: torch.ones(2**25))
    assert 110 < json.loads(capsys.readouterr().out) < 190 and held.sum() > 0


@pytest.mark.parametrize("name", NAMES)
def test_every_comparison_runs_and_its_results_agree(name):
    rows = [row for race in runner.races(name, True) for row in harness.run(race, 1)]
    assert rows and all(row["ours"] > 0 for row in rows)


def test_only_the_chosen_rows_are_measured_again(tmp_path):
    out = tmp_path / "results.json"
    assert runner.main(["--quick", "--rounds", "1", "--only", "overlap", "--out", str(out)]) == 0
    first = json.loads(out.read_text())
    assert {row["file"] for row in first["rows"]} == {"overlap"} and first["machine"]["cores"] > 0
    runner.main(["--quick", "--rounds", "1", "--only", "loss", "--out", str(out)])
    rows = json.loads(out.read_text())["rows"]
    assert [row for row in rows if row["file"] == "overlap"] == first["rows"]
    assert [row["file"] for row in rows][0] == "loss"  # in the order of the comparisons
    assert set(rows[0]) >= {"name", "peer", "ratio", "target", "ours", "theirs", "unit", "equal"}


def test_the_roofline_is_the_longer_of_arithmetic_and_traffic():
    with torch.device("meta"):
        network = VNet(1, 3, NetworkConfig(channels=(2, 4), convolutions=(1, 1), norm="none"))
    shape = (1, 1, 4, 4, 4)
    arithmetic = roofline.serial_seconds(network, shape, 4, 1.0, 1e30)
    macs = 64 * (27 * 2 + 27 * 16 + 12) + 8 * (64 + 27 * 16) + 64 * 8  # as in test_cost
    assert arithmetic == pytest.approx(2 * macs * roofline.PASSES)
    traffic = roofline.serial_seconds(network, shape, 4, 1e30, 1.0)
    assert roofline.serial_seconds(network, shape, 2, 1e30, 1.0) == pytest.approx(traffic / 2)


@pytest.mark.parametrize("name", budget_rows.SETTINGS)
def test_every_training_under_a_budget_has_a_run_of_its_own_and_a_possible_configuration(name):
    rows, setting = [budget_rows.GUIDE, *budget_rows.rows()], budget_rows.SETTINGS[name]
    alone = {network: {"step_s": 0.1 * (1 + i)} for i, network in enumerate(budget_rows.NETWORKS)}
    assert len({row.run for row in rows}) == len(rows)
    configs = {row: budget_rows.configured(row, setting, alone) for row in rows}
    assert all(isinstance(config, Config) and config.run == row.run for row, config in configs.items())
    assert {row.stage for row in rows} == {"coarse", "fine", "baseline"}
    multiples = {n: make_network(5, 4, configs[budget_rows.Row("steps", n)].fine.network).multiple for n in alone}
    fine = [row for row in rows if row.name in multiples]
    assert not any(side % multiples[row.name] for row in fine for side in configs[row].inference.patch)


def test_every_network_and_loss_has_three_seeds():
    seeds = collections.Counter((row.part, row.name) for row in budget_rows.rows())
    names = {"steps": set(budget_rows.NETWORKS), "loss": set(budget_rows.LOSSES)}
    names["time"] = names["steps"] - {budget_rows.OURS}
    for part, known in names.items():
        assert {name for p, name in seeds if p == part} == known
    assert set(seeds.values()) == {3}


def test_a_network_that_takes_twice_the_time_gets_half_the_epochs():
    alone = {budget_rows.OURS: {"step_s": 0.04}, "3D U-Net": {"step_s": 0.08}}
    setting = budget_rows.SETTINGS["cuda"]
    steps, time = (
        budget_rows.configured(budget_rows.Row(part, "3D U-Net"), setting, alone) for part in ("steps", "time")
    )
    assert time.training.epochs == steps.training.epochs / 2


def test_a_row_that_fails_stops_no_other_and_says_why(monkeypatch, capsys):
    def take(row, config, scans):
        if row.seed:
            raise ValueError("no such thing")
        return {"part": row.part, "seconds": 1.0}

    monkeypatch.setattr(budgets.budget_training, "take", take)
    jobs = [(budget_rows.Row("steps", "3D U-Net", seed), None, 1) for seed in (1, 0)]
    bad, good = side_by_side.Workers(1).each(budgets.attempted, jobs)
    assert "no such thing" in bad["error"] and bad["seed"] == 1 and good["seconds"] == 1.0


def test_the_largest_patch_of_a_card_fits_and_the_next_does_not():
    network, card_gb = "V-Net, 3-cubed", 4.0
    side = architectures.largest_side(network, card_gb, False)
    peaks = [
        architectures.forecast(architectures.Step(network, s, 1, True, False), "cuda")["peak_gb"] + GPU_CONTEXT_GB
        for s in (side, side + architectures.STEP)
    ]
    assert side >= architectures.SMALLEST and peaks[0] <= card_gb < peaks[1]


def test_processes_side_by_side_do_every_job_and_stop_at_the_end_of_the_time():
    workers = side_by_side.Workers(2)
    try:
        assert sorted(workers.each(abs, range(-5, 0))) == [1, 2, 3, 4, 5]
        began = time.monotonic()
        assert list(workers.each(time.sleep, [30.0], until=began + 0.5)) == []
        assert time.monotonic() - began < 5
    finally:
        workers.kill()
    workers.processes[0].join(10)
    assert not workers.processes[0].is_alive()


def test_jobs_of_dead_processes_are_not_waited_for(monkeypatch):
    monkeypatch.setattr(side_by_side, "LOOK_S", 0.2)
    workers = side_by_side.Workers(2)
    try:
        assert sorted(workers.each(ends_if_negative, [-1, 2, 3])) == [2, 3]
    finally:
        workers.kill()


def ends_if_negative(value):
    """Importable by name, as a job's function must be."""
    if value < 0:
        os._exit(1)
    return value
