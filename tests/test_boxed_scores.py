import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from spineseg import paths
from spineseg.anatomy.labels import IDS
from spineseg.config import Config
from spineseg.data import nifti
from spineseg.learning.assembly import Found
from spineseg.report import boxed_scores

CARD = {
    "values": {"preparation.spacing_mm": 8.0},
    "networks": {"coarse": {"sha256": "a"}, "fine": {"sha256": "b"}},
}


class Oracle:
    """A predictor that answers with the label map that it was given beforehand, moved by some voxels along K."""

    def __init__(self, labels, shift=0):
        config = Config.load("smoke", **{"preparation.spacing_mm": 8.0, "cohort.spacing_mm": 8.0})
        self.config, self.labels = config, np.roll(labels, shift, 2)

    def __call__(self, volume):
        present = np.unique(self.labels[self.labels > 0])
        table = np.zeros(256, np.uint8)
        table[present] = np.arange(1, len(present) + 1)
        found = Found(table[self.labels], present.astype(int), np.full(len(present), 0.9))
        return SimpleNamespace(found=found, labels=self.labels, affine=volume.affine)


@pytest.fixture
def scored(monkeypatch):
    """Two phantoms of 8 mm, predicted as they are."""
    monkeypatch.setattr(boxed_scores, "card", lambda: CARD)
    results = []
    for index in (0, 1):
        oracle = Oracle(np.zeros((2, 2, 2), np.uint8))

        def spy(seed, *, oracle=oracle, generate=boxed_scores.generate, **options):
            phantom = generate(seed, **options)
            oracle.labels = phantom.labels
            return phantom

        with monkeypatch.context() as patch:
            patch.setattr(boxed_scores.Predictor, "boxed", lambda oracle=oracle: oracle)
            patch.setattr(boxed_scores, "generate", spy)
            results.append(boxed_scores.score_phantom(index))
    return results


def test_perfect_label_maps_score_one_everywhere(scored):
    answer = boxed_scores.of_phantoms(scored)
    assert answer["dice"] == [1.0, 1.0, 1.0] and answer["binary"] == answer["identified"] == 1.0
    assert answer["false_vertebra_ml"] == 0 and answer["calibration_error"] == pytest.approx(0.1)
    assert answer["n"] == 2 and answer["spacing_mm"] == 8.0 and set(answer["dice_by_region"].values()) == {1.0}


def test_labels_drawn_alike_are_scored_beside_those_that_were_drawn(scored):
    for one in scored:
        assert len(one.alike) == len(one.exact) == (one.scores.reference_voxels > 0).sum()
    answer = boxed_scores.of_phantoms(scored)
    dice = []
    for index in (0, 1):  # the oracle answers with the labels as drawn
        asked = {"spacing_mm": 8.0, "needs": ["C3"] if index else None}
        drawn, alike = (
            boxed_scores.generate(boxed_scores.FIRST_SEED + index, **asked, margin_mm=margin).labels
            for margin in (None, 0.45)
        )
        for name in np.unique(alike[alike > 0]):
            both = ((drawn == name) & (alike == name)).sum()
            dice.append(2 * both / ((drawn == name).sum() + (alike == name).sum()))
    for name in ("dice_of_labels_drawn_alike", "dice_of_exact_outlines"):
        assert answer[name] == pytest.approx(np.mean(dice), abs=1e-5) and np.mean(dice) < 1


def test_every_other_phantom_shows_a_neck(scored):
    scores = scored[1].scores.set_index("vertebra")
    assert scores.loc["C3", "reference_voxels"] > 0


def test_a_pair_is_scored_over_the_whole_volume_and_by_name(monkeypatch, tmp_path):
    labels = np.zeros((12, 12, 40), np.uint8)
    labels[4:8, 4:8, 10:18], labels[4:8, 4:8, 20:28] = IDS["L4"], IDS["L3"]
    (tmp_path / "pairs").mkdir()
    nifti.write(tmp_path / "pairs" / "one_seg.nii.gz", labels, np.diag([3.0, 3, 3, 1]))
    nifti.write(tmp_path / "pairs" / "one_ct.nii.gz", labels.astype(np.int16) * 20, np.diag([3.0, 3, 3, 1]))
    monkeypatch.setattr(paths, "real_ct_folder", lambda: tmp_path)
    monkeypatch.setattr(boxed_scores.Predictor, "boxed", lambda: Oracle(labels, shift=2))
    pair = boxed_scores.score_pair("one")
    assert pair["clear"]["n"] == 2 and pair["clear"]["dice"] == pytest.approx(0.75) == pair["binary"]
    assert pair["clear"]["identified"] == 1 and pair["clear"]["centroid_mm"] == 6.0
    table = boxed_scores.real_table({"real": [pair]})
    assert len(table) == 1 and table[("whole volume", "binary Dice")].tolist() == [0.75]


def test_the_stored_scores_are_those_of_the_weights_beside_them(monkeypatch):
    monkeypatch.delenv("SPINESEG_WEIGHTS", raising=False)
    known = json.loads((paths.weights_folder() / "weights.json").read_text())["networks"]
    answer = boxed_scores.load()
    assert answer["weights"] == {name: network["sha256"] for name, network in known.items()}
    assert answer["phantoms"]["n"] >= 40 and len(boxed_scores.phantom_table(answer)) == 7
    quoted = boxed_scores.words(answer)
    assert quoted["box_low"] <= quoted["box_dice"] <= quoted["box_high"] and quoted["box_pairs"] == len(answer["real"])


def test_the_late_gain_is_what_the_second_half_of_the_epochs_added():
    dice = [0.5, np.nan, 0.7, 0.6, np.nan, 0.75]
    learnt = pd.DataFrame({"network": "fine", "epoch": range(1, 7), "dice_mean": dice})
    assert boxed_scores.late_gain(learnt) == {"box_fine_late": pytest.approx(0.05)}
    again = learnt.assign(epoch=learnt.epoch + 6, dice_mean=0.99, call=1)
    both = pd.concat([learnt.assign(call=0), again])
    assert boxed_scores.late_gain(both) == {"box_fine_late": pytest.approx(0.05)}  # of the first call


def test_steps_of_the_first_call_and_of_those_after_it_are_told_apart(monkeypatch):
    def network(sha, steps):
        return {"sha256": sha, "steps": steps, "seconds": 60.0 * steps}

    made = {"seed": 0, "device": "a GPU", "commit": "c"}
    first = {"provenance": made, "networks": {"coarse": network("a", 8), "fine": network("b", 4)}}
    later = {"provenance": made | {"device": "a CPU"}, "networks": {"coarse": network("c", 2), "fine": network("b", 4)}}
    monkeypatch.setattr(boxed_scores, "card", lambda: later | {"earlier": [first]})
    known = boxed_scores.training()
    assert known["box_device"] == "a GPU"
    assert (known["box_coarse_steps"], known["box_coarse_more_steps"], known["box_coarse_more_minutes"]) == (8, 2, 2.0)
    assert (known["box_fine_steps"], known["box_fine_more_steps"], known["box_fine_more_minutes"]) == (4, 0, 0.0)


def test_the_history_in_the_box_is_that_of_its_networks():
    learnt = boxed_scores.history()
    assert set(learnt["network"]) == {"coarse", "fine"} and learnt["dice_mean"].max() <= 1
