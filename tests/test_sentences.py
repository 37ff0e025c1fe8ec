"""Numbers and words of sentences, against tables small enough to add up by hand."""

import numpy as np
import pandas as pd
import pytest

from spineseg.anatomy.labels import REGIONS, VERTEBRAE
from spineseg.anatomy.population import population
from spineseg.report import sentences


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
    assert (numbers["region_gap"], numbers["widest"]) == (0.25, 0.25)


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
