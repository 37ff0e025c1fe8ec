"""Numbers and words of sentences, against tables small enough to add up by hand."""

import numpy as np
import pandas as pd
import pytest

from spineseg.anatomy.labels import REGIONS, VERTEBRAE
from spineseg.anatomy.population import population
from spineseg.report import score_tables, sentences


def test_rarity_counts_scans_and_cut_vertebrae():
    shares = pd.DataFrame(np.nan, index=["a", "b"], columns=list(VERTEBRAE))
    shares.loc["a", ["T11", "T12", "L1"]] = [0.5, 1.0, 1.0]
    numbers = sentences.rarity(shares, population())
    assert (numbers["neck_share"], numbers["waist_share"]) == (0, 50)
    assert (numbers["shown"], numbers["cut"], numbers["word"]) == (3, 1, "lower than")


def test_sizes_compare_the_smallest_levels_with_the_largest_and_with_the_population():
    real = population()["p50_ml"]
    numbers = sentences.sizes(pd.DataFrame({"vertebra": real.index, "ml": 2 * real.to_numpy()}), population())
    assert numbers["low"] == numbers["high"] == 2
    assert (numbers["small"], numbers["large"]) == ("C1, C3 and C4", "L3, L4 and L5")
    assert numbers["times"] == pytest.approx(numbers["real_times"])


def test_sizes_do_without_levels_that_no_scan_shows_whole():
    numbers = sentences.sizes(pd.DataFrame({"vertebra": ["T12", "L1"], "ml": [40.0, 50.0]}), population())
    assert numbers["small_ml"] == 45
    assert numbers["small"] == "T12 and L1"


def test_grids_call_voxels_cubes_within_five_percent():
    headers = pd.DataFrame({"orientation": ["RAS", "LPS"], "in_plane_mm": [1.0, 1.0], "slice_mm": [1.03, 3.0]})
    assert sentences.grids(headers) == {"orientations": 2, "cubes": 50, "thickest": 3}


def test_ceilings_follow_the_coarse_grid():
    rows = [
        (v, mm, c - 0.02 * mm)
        for v, c in zip(["C3", "C4", "C5", "L1", "L2", "L3"], range(1, 7), strict=True)
        for mm in (3.0, 9.0)
    ]
    numbers = sentences.ceilings(pd.DataFrame(rows, columns=["vertebra", "spacing_mm", "ceiling"]), 3.0, 9.0)
    assert (numbers["dear"], numbers["cheap"]) == ("C3, C4 and C5", "L1, L2 and L3")
    assert (numbers["dear_fine"], numbers["cheap_coarse"]) == (pytest.approx(1.94), pytest.approx(4.82))


def test_losses_name_the_largest_step_and_weigh_names_against_the_rest():
    steps = ["absent", "cut", "shifted", "missed", "resolution", "boundary"]
    budget = pd.DataFrame({"region": "cervical", "step": steps, "lost": [0.1, 0.0, 0.3, 0.1, 0.05, 0.05]})
    numbers = sentences.losses(budget, "cervical")
    assert (numbers["worst_step"], numbers["worst_lost"]) == ("shifted", 0.3)
    assert numbers["total"] == pytest.approx(0.6)
    assert numbers["naming"] == pytest.approx(0.5)
    assert numbers["word"] == "higher than"


def test_regions_pass_over_those_without_a_vertebra():
    table = pd.DataFrame({"method": "cascade", "region": list(REGIONS), "mean": [np.nan, 0.5, 0.75, 0.625]})
    numbers = sentences.regions(table.assign(low=0.5, high=0.75))
    assert (numbers["weakest"], numbers["strongest"]) == ("thoracic", "lumbar")
    assert (numbers["region_gap"], numbers["widest"], numbers["strongest_dice"]) == (0.25, 0.25, 0.75)


def test_regions_that_are_all_alike_are_not_ranked():
    table = pd.DataFrame({"method": "cascade", "region": list(REGIONS), "mean": 0.0, "low": 0.0, "high": 0.0})
    numbers = sentences.regions(table)
    assert numbers["weakest"] == numbers["strongest"] == sentences.NONE


def test_gains_weigh_regions_by_their_vertebrae():
    rows = [("first", 0.0, 1), ("first", 0.4, 3), ("second", 0.1, 4)]
    numbers = sentences.gains(pd.DataFrame(rows, columns=["remedy", "change", "n"]))
    assert numbers["cascade_gain"] == pytest.approx(0.3)
    assert numbers["name_gain"] == pytest.approx(0.1)
    assert numbers["larger"] == "higher than"


def test_suspects_stay_silent_where_no_factor_varies():
    table = pd.DataFrame({"region": "all", "factor": ["reference_ml", "visible_share", "training_share"]})
    assert sentences.suspects(table.assign(spearman=np.nan))["strongest"] == "none of them"
    assert sentences.suspects(table.assign(spearman=[0.1, np.nan, -0.4]))["strongest"] == "the share of training scans"


def test_order_of_names_goes_by_all_epochs_and_ends_with_the_last():
    rows = [("coarse", 1, "S1", 1.0), ("coarse", 1, "C1", 0.0), ("coarse", 2, "S1", 1.0), ("coarse", 2, "C1", 0.5)]
    table = pd.DataFrame(rows, columns=["network", "epoch", "vertebra", "identified"])
    assert sentences.order_of_names(table) == {"earliest": "sacral", "latest": "cervical", "identified": 0.75}


def test_order_of_names_ranks_no_region_before_any_name_is_right():
    table = pd.DataFrame({"network": "coarse", "epoch": [1, 1], "vertebra": ["S1", "C1"], "identified": [0.0, 0.0]})
    assert sentences.order_of_names(table) == {"earliest": sentences.NONE, "latest": sentences.NONE, "identified": 0}


def test_order_of_names_lists_regions_that_tie():
    table = pd.DataFrame({"network": "coarse", "epoch": 1, "vertebra": ["C1", "T1", "S1"], "identified": [0.0, 0, 1]})
    assert sentences.order_of_names(table)["latest"] == "cervical and thoracic"


def test_budget_adds_up_the_networks_of_a_method():
    cost = pd.DataFrame({"minutes": [3.0, 1.0, 2.5], "steps": [120, 2160, 1400]}, index=["baseline", "coarse", "fine"])
    assert sentences.budget(cost) == {
        "baseline_steps": 120, "cascade_steps": 3560, "baseline_minutes": 3.0, "cascade_minutes": 3.5,
    }  # fmt: skip


def _unfound():
    scores = pd.DataFrame({"case": "a", "vertebra": ["L1", "L2"], "reference_voxels": 10, "dice": 0.0})
    return scores.assign(best_match_dice=0.0, shift=np.nan)


def test_sentences_about_names_hold_no_nan_where_nothing_was_found():
    scores = pd.concat([_unfound().assign(method=m) for m in ("baseline", "cascade")], ignore_index=True)
    numbers = sentences.names(score_tables.shifts(scores), _unfound())
    assert numbers["right"] == numbers["off_before"] == numbers["best_match"] == 0
    assert numbers["lost"] == numbers["lost_before"] == 100
    confusion = pd.DataFrame(0, index=["background", "L1"], columns=["background", "L1"])
    confusion.loc["L1", "background"] = 20
    numbers = sentences.misnaming(_unfound(), confusion)
    assert (numbers["misnamed"], numbers["in_runs"], numbers["left_out"]) == (0, 0, 100)


def test_misnaming_counts_the_names_that_slip_together():
    scores = _unfound().assign(shift=1.0, best_match_dice=0.5)
    confusion = pd.DataFrame(5, index=["background", "L1"], columns=["background", "L1"])
    numbers = sentences.misnaming(scores, confusion)
    assert (numbers["misnamed"], numbers["in_runs"], numbers["shifted_rows"]) == (2, 2, 2)


def test_extremes_of_cases_in_which_nothing_was_found_are_about_the_same():
    cases = pd.DataFrame({"case": ["a", "b"], "mean_dice": 0.0, "binary_dice": 0.0})
    numbers = sentences.extremes(score_tables.worst_and_best(cases), 0.0)
    assert (numbers["gap"], numbers["worst_binary"], numbers["gap_word"]) == (0, 0, "about the same as")
