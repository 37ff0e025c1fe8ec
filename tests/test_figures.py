"""Figures draw what the table says, turned the way it is read; numbers are looked up on the axes, not in pixels."""

import json

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from spineseg.anatomy.labels import IDS, REGION_OF, REGIONS, VERTEBRAE, colours
from spineseg.anatomy.population import population
from spineseg.config import Config, EvaluationConfig
from spineseg.learning.vnet import shapes
from spineseg.report import (
    budget_figures,
    diagrams,
    figures,
    gallery,
    quoting,
    score_figures,
    score_tables,
    slices,
    specimen,
    survey,
    tables,
    theme,
    training_figures,
)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def _vertebrae():
    rows = [("a", "C7", 0.4, 7.0), ("a", "T1", 1.0, 22.0), ("b", "T1", 1.0, 23.0), ("b", "T2", np.nan, 24.0)]
    return pd.DataFrame(rows, columns=["case", "vertebra", "visible_share", "ml"])


def _scores():
    table = pd.DataFrame({"case": np.repeat(["a", "b"], 25), "vertebra": list(VERTEBRAE) * 2, "reference_voxels": 10})
    table["region"] = table["vertebra"].map(REGION_OF)
    table["dice"] = np.linspace(0.1, 0.9, 50)
    table["best_match_dice"] = table["dice"].clip(lower=0.5)
    return table


def test_sagittal_slices_show_superior_up_and_anterior_left():
    array = np.zeros((3, 4, 5))
    array[1, 3, 4] = 1  # the front and upper corner
    assert slices.slice_of(array, "sagittal", 1)[0, 0] == 1


@pytest.mark.parametrize(("plane", "place"), [("coronal", (2, 1, 4)), ("axial", (2, 3, 1))])
def test_coronal_and_axial_slices_show_the_right_side_on_the_left(plane, place):
    array = np.zeros((3, 4, 5))
    array[place] = 1
    assert slices.slice_of(array, plane, 1)[0, 0] == 1


def test_an_unknown_plane_is_refused():
    with pytest.raises(ValueError, match="plane must be one of sagittal, coronal, axial, got 'oblique'"):
        slices.slice_of(np.zeros((2, 2, 2)), "oblique", 0)


def test_a_slice_has_the_size_of_the_body_in_mm():
    ax = slices.show_slice(np.zeros((3, 10, 20)), (1.0, 2.0, 3.0), index=1)
    assert ax.images[0].get_extent() == [0, 20, 60, 0]
    assert ax.get_aspect() == 1


def test_a_slice_prints_its_window():
    ax = slices.show_slice(np.zeros((3, 10, 20)), (1, 1, 1), index=1, window_hu=(-500.0, 1300.0))
    assert "L 400 / W 1800 HU" in [t.get_text() for t in ax.texts]


def test_names_are_written_once_per_vertebra_in_the_slice():
    labels = np.zeros((3, 10, 20), np.uint8)
    labels[1, 4:6, 2:5], labels[1, 4:6, 6:9] = IDS["L2"], IDS["L1"]
    ax = slices.show_slice(np.zeros(labels.shape), (1, 1, 1), index=1, labels=labels, names=True)
    assert {"L1", "L2"} <= {t.get_text() for t in ax.texts}


def test_an_atlas_hides_the_places_that_it_does_not_need():
    labels = np.full((3, 8, 8), IDS["C4"], np.uint8)
    picture = dict(
        image=np.zeros((3, 8, 8)), reference=labels, prediction=labels, spacing=(1, 1, 1), index=1, label=4, title="C4"
    )
    grid = slices.show_atlas([picture] * 5, columns=4)
    assert sum(ax.get_visible() for ax in grid.flat) == 5


def test_palette_and_colour_map_agree_with_the_labels():
    rgb = matplotlib.colors.to_rgb(theme.vertebra_palette()["L3"])
    assert np.allclose(rgb, colours()[IDS["L3"]], atol=1 / 255)
    picture = theme.label_colormap()(np.arange(26) / 25)
    assert picture[0, 3] == 0
    assert np.allclose(picture[IDS["L3"], :3], colours()[IDS["L3"]])


def test_figures_are_seven_inches_wide():
    assert theme.new_axes().figure.get_figwidth() == 7


def test_presence_orders_scans_by_their_highest_vertebra_and_keeps_the_empty_one_last():
    table = tables.presence(_vertebrae(), ["empty", "b", "a"])
    assert list(table.index) == ["a", "b", "empty"]
    assert table.loc["a", "C7"] == 0.4
    assert table.loc["b", "T2"] == 1  # an unknown share counts as whole


def test_presence_map_is_transparent_where_a_vertebra_is_absent():
    ax = figures.presence_map(tables.presence(_vertebrae(), ["a", "b"]))
    pixels = ax.images[0].get_array()
    assert pixels[0, 0, 3] == 0
    assert pixels[0, VERTEBRAE.index("T1"), 3] == 1


def test_occurrence_bars_are_as_high_as_the_share_of_scans():
    share = tables.occurrence(tables.presence(_vertebrae(), ["a", "b"]))
    ax = figures.occurrence_bars(share, population()["share"])
    assert [ax.patches[VERTEBRAE.index(v)].get_height() for v in ("C7", "T1", "L1")] == [0.5, 1.0, 0.0]


def test_whole_vertebrae_are_told_by_share_or_by_neighbours():
    chosen = tables.whole(_vertebrae())
    assert list(chosen["vertebra"]) == ["T1", "T1"]  # C7 is cut, T2 has nothing below


def test_volume_chart_has_a_dot_for_every_vertebra_given():
    ax = figures.volume_per_level(_vertebrae(), population())
    dots = sum(len(c.get_offsets()) for c in ax.collections if hasattr(c, "get_offsets") and c.get_offsets().ndim == 2)
    assert dots >= 4
    assert ax.get_ylabel() == "volume / ml"


def test_headers_give_the_slice_distance_whatever_the_axis_order():
    row = tables.header_row("a", (5, 6, 7), (4.0, 1.0, 1.0), "SPR")
    assert (row["slice_mm"], row["in_plane_mm"]) == (4.0, 1.0)


def test_hu_of_a_block_of_bone_is_found_in_its_compartment():
    ct = np.full((20, 20, 20), 40.0)
    labels = np.zeros(ct.shape, np.uint8)
    labels[5:15, 5:15, 5:15] = 20
    ct[labels > 0] = 300
    ct[0] = -1000
    table = tables.hu_by_compartment("a", ct, labels, (2.0, 2.0, 2.0)).set_index("compartment")["p50_hu"]
    assert table["vertebra, inside"] == table["vertebra, surface voxels"] == 300
    assert table["air and lung"] == -1000
    assert table["rest of the body"] == 40
    figures.hu_by_compartment(tables.hu_by_compartment("a", ct, labels, (2.0, 2.0, 2.0)))


def test_the_busiest_slice_is_the_one_with_most_bone():
    labels = np.zeros((6, 7, 8), np.uint8)
    labels[4, 2:5, 3:6] = 1
    labels[4, 2, 1:8] = 1
    assert tables.busiest(labels) == {"sagittal": 4, "coronal": 2, "axial": 3}
    assert tables.busiest(np.zeros((6, 7, 8)))["axial"] == 4


def test_a_crop_holds_the_vertebra_and_its_margin():
    labels = np.zeros((30, 30, 30), np.uint8)
    labels[10:14, 12:15, 20:22] = 7
    (crop,), index = tables.crop_about(7, (5.0, 5.0, 5.0), labels, reference=labels, margin_mm=10.0)
    assert crop.shape == (8, 7, 6)
    assert (crop == 7).sum() == (labels == 7).sum()
    assert (crop[index] == 7).any()


def test_best_median_and_worst_are_three_rows_when_there_are_three_cases():
    table = pd.DataFrame({"case": list("abc"), "mean_dice": [0.2, 0.9, 0.5]})
    assert list(score_tables.worst_and_best(table)["case"]) == ["b", "c", "a"]
    assert list(score_tables.worst_and_best(table.head(1))["rank"]) == ["best"]


def test_changes_of_identical_tables_are_zero_and_of_a_constant_gain_certain():
    scores, config = _scores(), EvaluationConfig(bootstrap_draws=50)
    same = score_tables.changes(scores, scores, remedy="nothing", config=config)
    assert (same[["change", "low", "high"]] == 0).all(axis=None)
    gained = score_tables.changes(scores, scores.assign(dice=scores["dice"] + 0.1), remedy="gain", config=config)
    assert np.allclose(gained[["change", "low", "high"]], 0.1)
    assert list(gained["region"]) == list(REGIONS)


def test_words_of_comparison_follow_the_numbers():
    assert quoting.higher_or_lower(0.5, 0.4) == "higher than"
    assert quoting.higher_or_lower(0.4, 0.5) == "lower than"
    assert quoting.higher_or_lower(0.4, 0.4) == "about the same as"


def test_training_charts_draw_one_panel_per_network():
    epochs = pd.DataFrame({"epoch": [1, 2, 3], "train_loss": [3.0, 2.0, 1.0], "validation_loss": [np.nan, 2.5, 1.5]})
    for column in ("dice_binary", *(f"dice_{r}" for r in REGIONS)):
        epochs[column] = [np.nan, 0.2, 0.4]
    history = pd.concat([epochs.assign(network=n) for n in ("baseline", "coarse", "fine")])
    assert len(training_figures.loss_curves(history).lines) == 7
    panels = training_figures.region_curves(history)
    assert [len(ax.lines) for ax in panels] == [5, 5, 5]


def test_identification_map_puts_epochs_in_columns_and_vertebrae_in_rows():
    rows = [("coarse", e, v, float(v == "S1")) for e in (1, 2) for v in ("L5", "S1")]
    history = pd.DataFrame(rows, columns=["network", "epoch", "vertebra", "identified"])
    (ax,) = training_figures.identification_maps(history)
    assert ax.images[0].get_array().shape == (25, 2)
    assert ax.images[0].get_array()[VERTEBRAE.index("S1")].tolist() == [1, 1]


def test_ceiling_chart_has_one_line_per_voxel_size():
    table = pd.DataFrame(
        [(k, v, 0.9) for k in (1.5, 3.0) for v in VERTEBRAE], columns=["spacing_mm", "vertebra", "ceiling"]
    )
    assert len([line for line in figures.ceiling_curves(table).lines if len(line.get_xdata()) == 25]) == 2


def test_waterfall_ends_at_the_measured_dice():
    budget = pd.DataFrame({"region": "cervical", "step": ["absent", "cut", "boundary"], "lost": [0.1, 0.2, 0.3]})
    (ax,) = budget_figures.waterfall(budget)
    assert ax.patches[-1].get_height() == pytest.approx(0.4)
    assert [p.get_y() for p in ax.patches[:3]] == pytest.approx([0.9, 0.7, 0.4])


def test_each_step_of_a_waterfall_reaches_down_from_its_own_top_by_its_interval():
    budget = pd.DataFrame({"region": "cervical", "step": ["absent", "cut"], "lost": [0.1, 0.2]})
    (ax,) = budget_figures.waterfall(budget.assign(low=[0.0, 0.1], high=[0.3, 0.4]))
    (lines,) = ax.collections
    ends = [sorted(segment[:, 1]) for segment in lines.get_segments()]
    assert np.allclose(ends, [[0.7, 1.0], [0.5, 0.8]])


def test_remedy_steps_have_one_panel_per_remedy_and_a_dot_per_measure():
    rows = [(r, m, g, g - 0.1, g + 0.1) for r in ("one", "two") for m, g in (("Dice", 0.3), ("missed", -0.2))]
    axes = budget_figures.remedy_steps(pd.DataFrame(rows, columns=["remedy", "measure", "gain", "low", "high"]))
    assert [t.get_text() for t in axes[0].get_yticklabels()] == ["Dice", "missed"]
    assert [ax.collections[-1].get_offsets()[:, 0].tolist() for ax in axes] == [[0.3, -0.2]] * 2
    assert len(budget_figures.remedy_steps(pd.DataFrame(columns=["remedy", "measure", "gain", "low", "high"]))) == 1


def test_shift_chart_shows_vertebrae_that_were_not_found_apart():
    shifts = pd.DataFrame({"method": "cascade", "shift": pd.array([-1, 0, pd.NA], "Int64"), "vertebrae": [2, 9, 1]})
    ax = score_figures.shift_histogram(shifts)
    assert [p.get_height() for p in ax.patches] == [2, 9, 1]
    assert ax.get_xticklabels()[-1].get_text() == "not\nfound"


def test_remedies_set_the_cascade_beside_the_bound_of_right_names():
    scores = _scores()
    table = score_tables.remedies(scores, scores, config=EvaluationConfig(bootstrap_draws=20))
    change = table.groupby("remedy", sort=False)["change"].mean()
    assert list(change.index) == ["cascade for one V-Net", "right names (bound)"]
    assert change.iloc[0] == 0 < change.iloc[1]


def test_shifts_count_the_vertebrae_that_nothing_overlaps():
    scores = _scores().assign(method="cascade", shift=[0.0] * 47 + [np.nan] * 3)
    table = score_tables.shifts(scores)
    assert table["vertebrae"].tolist() == [47, 3]
    assert table["share"].sum() == pytest.approx(1)
    assert score_tables.name_shares(table, "cascade") == (pytest.approx(0.94), 0)


def test_a_run_of_two_and_a_lone_shift_are_two_thirds_in_runs():
    scores = _scores().head(25).assign(shift=0.0)
    scores.loc[[3, 4], "shift"] = 1.0
    scores.loc[10, "shift"] = -1.0
    assert score_tables.share_in_runs(scores) == pytest.approx(2 / 3)
    assert np.isnan(score_tables.share_in_runs(scores.assign(shift=0.0)))


def test_failures_take_the_worst_of_each_case_first_and_say_of_which_region():
    rows, word = gallery.failures(_scores(), "cervical", most=3)
    assert rows[["case", "vertebra"]].to_numpy().tolist() == [["a", "C1"], ["b", "C1"], ["a", "C2"]]
    assert word == "cervical"
    rows, word = gallery.failures(_scores().query("region != 'cervical'"), "cervical", most=2)
    assert (word, rows["vertebra"].tolist()) == ("all regions", ["T1", "T1"])


def test_a_region_is_taken_where_every_budget_has_it():
    neck, chest = (pd.DataFrame({"region": [region, "all"]}) for region in ("cervical", "thoracic"))
    assert score_tables.region_or_all("cervical", neck, neck) == "cervical"
    assert score_tables.region_or_all("cervical", neck, chest) == "all"


def test_training_cases_are_those_that_the_run_recorded(tmp_path, monkeypatch):
    monkeypatch.setattr(survey, "run_folder", lambda run: tmp_path)
    (tmp_path / "splits.csv").write_text("case,split,content\n07,train,a\n08,validation,b\n09,test,c\n")
    assert survey.training_cases(Config.load("smoke")) == ["07"]


def test_the_richest_case_holds_the_most_vertebrae():
    scores = _scores()
    scores.loc[(scores["case"] == "a") & (scores["vertebra"] == "C1"), "reference_voxels"] = 0
    assert score_tables.richest_case(scores) == "b"


def test_vertebra_charts_take_scores_and_summaries():
    scores = _scores()
    means = scores.groupby("vertebra")["dice"].agg(mean="mean", low="min", high="max").reset_index()
    score_figures.vertebra_dots(scores, means)
    score_figures.vertebra_lines(pd.concat([means.assign(method=m) for m in ("baseline", "cascade")]))
    score_figures.naming_against_outline(scores)
    ax = score_figures.dice_against(scores, "best_match_dice", label="best-match Dice")
    assert len(ax.collections[0].get_offsets()) == 50


def test_region_charts_take_one_row_per_method_and_region():
    scores = _scores()
    means = scores.groupby("region")["dice"].agg(mean="mean", low="min", high="max").reset_index()
    ax = score_figures.region_intervals(pd.concat([means.assign(method=m) for m in ("baseline", "cascade")]))
    assert [t.get_text() for t in ax.get_yticklabels()] == list(REGIONS)
    effects = score_tables.changes(scores, scores, remedy="none", config=EvaluationConfig(bootstrap_draws=20))
    assert len(budget_figures.remedy_effects(effects).get_legend().texts) == 4


@pytest.mark.parametrize("profile", ["smoke", "full"])
def test_the_drawn_network_names_the_channels_of_every_stage(profile):
    stage = Config.load(profile).baseline
    rows = shapes(stage.network, 1, 26, stage.patch)
    texts = [t.get_text() for t in diagrams.draw_vnet(rows, in_channels=1, patch=stage.patch).texts]
    assert all(f"{row['channels']} ch." in texts for row in rows)


def test_parts_are_numbered_from_the_top_and_named_below_the_picture():
    panel = dict(
        picture=np.zeros((10, 10, 3)), extent=(0, 5, 5, 0), sides=("A", "P", "S", "I"), name="L3 from the left"
    )
    (ax,) = diagrams.show_parts([panel | {"parts": {"spinous process": (4.0, 3.0), "body": (1.0, 2.0)}}])
    assert "1  body\n2  spinous process" in [t.get_text() for t in ax.texts]


@pytest.mark.parametrize("panel", specimen.anatomy_panels(), ids=lambda panel: panel["name"])
def test_every_named_part_lies_on_bone_and_every_opening_on_none(panel):
    for part, (x, y) in panel["parts"].items():
        place = int(y / specimen.SPACING_MM), int(x / specimen.SPACING_MM)
        assert panel["bone"][place] == (part not in specimen.OPENINGS), part


def test_quoted_numbers_become_plain(capsys):
    pytest.importorskip("myst_nb")
    quoting.quote(n_cases=np.int64(3), dice=np.float64(0.5), word="higher than")
    assert "n_cases 3 · dice 0.500 · word higher than" in capsys.readouterr().out
    with pytest.raises(TypeError, match="dice must be a number or a word, got list"):
        quoting.quote(dice=[0.5])


def test_the_population_covers_every_vertebra_and_is_ordered():
    table = population()
    assert list(table.index) == list(VERTEBRAE)
    assert (table["p10_ml"] < table["p50_ml"]).all()
    assert (table["p50_ml"] < table["p90_ml"]).all()
    assert table.loc["T11", "share"] == table["share"].max() == pytest.approx(170 / 218)
    assert json.dumps(table.loc["C1"].to_dict())
