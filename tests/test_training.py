import json

import pandas as pd
import pytest
import torch

from spineseg.learning import runs
from spineseg.learning.training import load_network, train


def weights(config, name="coarse", which="last"):
    return load_network(config, name, which)[0].state_dict()


def test_a_run_holds_its_record(trained, home):
    folder = home / "runs" / "trained"
    names = {"config.json", "provenance.json", "splits.csv", "history.csv", "history_vertebrae.csv", "checkpoints"}
    assert names <= {p.name for p in folder.iterdir()}
    assert {p.name for p in (folder / "checkpoints").glob("*.safetensors")} == {
        f"{n}-{w}.safetensors" for n in ("baseline", "coarse", "fine") for w in ("last", "best")
    }
    record = json.loads((folder / "provenance.json").read_text())
    assert record["versions"]["torch"] == torch.__version__ and record["config_hash"] == trained.hash()


def test_the_history_has_a_row_per_network_and_epoch(trained, home):
    history = pd.read_csv(home / "runs" / "trained" / "history.csv")
    assert list(zip(history.network, history.epoch, strict=True)) == [("baseline", 1), ("coarse", 1), ("fine", 1)]
    assert history.validation_loss.notna().all() and (history.skipped_steps == 0).all()


def test_a_trained_run_is_loaded_not_trained_again(trained, home):
    stamp = (home / "runs" / "trained" / "checkpoints" / "fine-last.safetensors").stat().st_mtime_ns
    train(trained, "cascade")
    assert (home / "runs" / "trained" / "checkpoints" / "fine-last.safetensors").stat().st_mtime_ns == stamp


def test_the_same_seed_gives_the_same_weights(tiny, trained):
    again = tiny("again")
    train(again, "cascade")
    for name in ("coarse", "fine"):
        one, two = weights(trained, name), weights(again, name)
        assert all(torch.equal(one[k], two[k]) for k in one)


def test_more_epochs_go_on_from_where_the_run_is(tiny):
    train(tiny("longer"), "baseline")
    first = weights(tiny("longer"), "baseline")
    history = train(tiny("longer", 3), "baseline")
    assert history[history.network == "baseline"].epoch.tolist() == [1, 2, 3]
    assert history.step.tolist() == [1, 2, 3]
    later = weights(tiny("longer", 3), "baseline")
    assert any(not torch.equal(first[k], later[k]) for k in first)


def test_another_configuration_in_the_same_folder_is_refused(tiny, trained):
    changed = tiny("trained", **{"coarse.learning_rate": 1e-2})
    with pytest.raises(ValueError, match=rf"coarse.learning_rate: {trained.coarse.learning_rate} -> 0.01"):
        train(changed, "cascade")


def test_settings_that_do_not_touch_the_weights_may_change(trained):
    before = trained.to_dict()
    after = trained.to_dict() | {"evaluation": {"nsd_tolerance_mm": 1.0}}
    assert runs.differences(before, after) == []


def test_a_loss_that_is_not_finite_stops_and_names_the_cases(tiny, monkeypatch):
    monkeypatch.setattr("spineseg.learning.tasks.loss_by_name", lambda *_, **__: lambda z, y: z.sum() * float("nan"))
    with pytest.raises(FloatingPointError, match=r"baseline: loss is nan at step 0 on \['case-\w+'\]"):
        train(tiny("broken"), "baseline")


def test_an_unknown_method_lists_the_known_ones(tiny):
    with pytest.raises(ValueError, match="baseline, cascade"):
        train(tiny("x"), "unet")


def test_the_cascade_learns_to_name_blocks(tiny):
    config = tiny(
        "learns", 6, **{"coarse.steps_per_epoch": 16, "training.validate_every": 6, "coarse.learning_rate": 1e-2}
    )
    history = train(config, "cascade")
    losses = history[history.network == "coarse"].train_loss
    assert losses.iloc[-1] < 0.6 * losses.iloc[0]


def test_the_same_scan_in_two_parts_of_the_split_is_refused(tiny, home):
    folder = home / "data" / "raw" / "twice"
    folder.mkdir(parents=True)
    for i in range(4):  # four names for one scan
        for kind in ("ct", "seg"):
            source = home / "data" / "raw" / "tiny" / f"s0_{kind}.nii.gz"
            (folder / f"s{i}_{kind}.nii.gz").write_bytes(source.read_bytes())
    with pytest.raises(ValueError, match="same scan"):
        train(tiny("leaky", **{"cohort.folder": "twice"}), "baseline")


def test_an_interrupted_run_ends_as_an_undisturbed_one(tiny, monkeypatch):
    from spineseg.learning.module import NetworkTraining

    whole = tiny("whole", 4)
    train(whole, "baseline")
    finished = NetworkTraining.on_train_epoch_end

    def die_after_two(self):
        finished(self)
        if self.done_epochs == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(NetworkTraining, "on_train_epoch_end", die_after_two)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train(tiny("cut", 4), "baseline")
    monkeypatch.undo()
    train(tiny("cut", 4), "baseline")
    one, two = weights(whole, "baseline"), weights(tiny("cut", 4), "baseline")
    assert all(torch.equal(one[k], two[k]) for k in one)
