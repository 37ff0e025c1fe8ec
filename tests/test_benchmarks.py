"""The race itself, and every comparison at toy size beside the libraries that are installed here."""

import json
import math

import architectures
import budgets
import harness
import pytest
import roofline
import run as runner
import torch
from comparisons import NAMES

from spineseg.config import Config, NetworkConfig
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


def test_every_training_under_a_budget_has_a_run_of_its_own_and_a_possible_configuration():
    rows = budgets.rows()
    kept = [{"part": "steps", "name": name, "cpu_seconds": 30.0 * (1 + i)} for i, name in enumerate(budgets.NETWORKS)]
    assert len({row.run for row in rows}) == len(rows)
    configs = {row: budgets.configured(row, kept) for row in rows}
    assert all(isinstance(config, Config) and config.run == row.run for row, config in configs.items())
    assert {budgets.stage_of(row) for row in rows} == {"coarse", "fine", "baseline"}


def test_a_network_that_takes_twice_the_time_gets_half_the_epochs():
    names = [budgets.OURS, budgets.OURS, "3D U-Net"]
    kept = [{"part": "steps", "name": n, "cpu_seconds": s} for n, s in zip(names, (30.0, 50.0, 80.0), strict=True)]
    assert budgets.epochs_in_time("3D U-Net", kept) == budgets.SETTINGS["training.epochs"] / 2


def test_the_largest_patch_of_a_card_fits_and_the_next_does_not():
    network, card_gb = "V-Net, 3-cubed", 4.0
    side = architectures.largest_side(network, card_gb, False)
    peaks = [
        architectures.forecast(architectures.Step(network, s, 1, True, False), "cuda")["peak_gb"] + GPU_CONTEXT_GB
        for s in (side, side + architectures.STEP)
    ]
    assert side >= architectures.SMALLEST and peaks[0] <= card_gb < peaks[1]
