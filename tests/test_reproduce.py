import dataclasses
import json

import pandas as pd
import pytest

from spineseg.cli import main
from spineseg.errors import CaseError
from spineseg.learning import checkpoints, runs
from spineseg.learning.provenance import provenance, weights_of
from spineseg.learning.training import train
from spineseg.paths import run_folder
from spineseg.report.reproduce import TOLERANCE, Comparison, _unlike, reproduce


def bytes_of(run, name="baseline-last"):
    return (run_folder(run) / "checkpoints" / f"{name}.safetensors").read_bytes()


def test_a_run_that_was_given_more_epochs_comes_out_equal_to_the_bit(tiny, capsys):
    for epochs in (1, 3):
        train(tiny("lengthened", epochs), "baseline")
    legs = weights_of("lengthened")["baseline"]["legs"]
    assert legs == [{"from_step": 0, "epochs": 1}, {"from_step": 1, "epochs": 3}]
    assert main(["reproduce", "lengthened"]) == 0
    said = capsys.readouterr().out
    assert "baseline: equal to the bit" in said and "the numbers agree" in said
    assert bytes_of("lengthened") == bytes_of("lengthened-again")
    histories = [pd.read_csv(run_folder(r) / "history.csv") for r in ("lengthened", "lengthened-again")]
    pd.testing.assert_frame_equal(*[h.drop(columns="seconds") for h in histories])


def test_both_methods_of_a_run_are_made_again(trained):
    comparison = reproduce("trained", "trained-once-more")
    assert comparison.networks.equal.tolist() == [True] * 3 and comparison.scores.empty and comparison.agrees
    assert set(comparison.networks.network) == {"baseline", "coarse", "fine"}


def test_other_weights_are_told_and_their_scores_compared(tiny):
    train(tiny("changed"), "baseline")
    file = run_folder("changed") / "checkpoints" / "baseline-best.safetensors"
    tensors, state = checkpoints.load(file)
    checkpoints.save(file, {name: t * 1.001 for name, t in tensors.items()}, state)
    comparison = reproduce("changed")
    assert comparison.networks.equal.tolist() == [False] and "baseline: other weights" in str(comparison)
    assert comparison.scores.method.tolist() == ["baseline"] and comparison.scores.notna().all(axis=None)


@pytest.mark.parametrize(("difference", "agrees"), [(0.9 * TOLERANCE, True), (-1.1 * TOLERANCE, False)])
def test_mean_dice_may_differ_by_the_tolerance(difference, agrees):
    scores = pd.DataFrame({"method": ["cascade"], "before": [0.8], "again": [0.8 + difference]})
    networks = pd.DataFrame({"network": ["fine"], "equal": [False]})
    comparison = Comparison(networks, scores, ["device: a -> b"])
    assert comparison.agrees == agrees and ("NOT" in str(comparison)) != agrees and "device: a -> b" in str(comparison)


def test_an_interrupted_reproduction_goes_on(tiny, monkeypatch):
    for epochs in (1, 2):
        train(tiny("halted", epochs), "baseline")
    with monkeypatch.context() as patch:
        patch.setattr("spineseg.report.reproduce.train", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            reproduce("halted")
    assert reproduce("halted").networks.equal.all()


def test_other_cases_are_refused(tiny):
    train(tiny("othercases"), "baseline")
    splits = run_folder("othercases") / "splits.csv"
    table = pd.read_csv(splits, dtype=str)
    table.loc[0, "content"] = "0" * 12
    splits.write_text(table.to_csv(index=False))
    with pytest.raises(ValueError, match="other cases or scans"):
        reproduce("othercases")


def test_forks_untrained_runs_and_taken_names_are_refused(tiny):
    train(tiny("origin"), "baseline")
    runs.fork(dataclasses.replace(tiny("forked"), run="forked"), "origin")
    (run_folder("forked") / "config.json").write_text(json.dumps(tiny("forked").to_dict()))
    with pytest.raises(CaseError, match="reproduce 'origin', then fork it"):
        reproduce("forked")
    with pytest.raises(CaseError, match="a folder of this name"):
        reproduce("origin", "forked")
    with pytest.raises(CaseError, match="train it: spineseg train --run nobody"):
        reproduce("nobody")


def test_a_run_says_what_its_numbers_come_from(tiny):
    config = tiny("documented")
    train(config, "baseline")
    facts = json.loads((run_folder("documented") / "provenance.json").read_text())
    known = {name: value for name, value in provenance(config).items() if name != "written"}
    assert {name: facts[name] for name in known} == json.loads(json.dumps(known))
    assert all(len(facts[name]) == 12 for name in ("config_hash", "data_hash", "split_hash", "lock_hash"))
    state = weights_of("documented")["baseline"]
    assert state["steps"] == 1 and state["seconds"] > 0 and len(state["sha256"]) == 64


def test_the_split_hash_depends_on_the_split_and_the_data_hash_on_the_scans(tiny):
    config = tiny("hashed")
    train(config, "baseline")
    before, splits = provenance(config), run_folder("hashed") / "splits.csv"
    table = pd.read_csv(splits, dtype=str)
    splits.write_text(table.assign(split=table.split.values[::-1]).to_csv(index=False))
    swapped = provenance(config)
    splits.write_text(table.assign(content=table.content.str[::-1]).to_csv(index=False))
    other = provenance(config)
    assert before["data_hash"] == swapped["data_hash"] != other["data_hash"]
    assert before["split_hash"] == other["split_hash"] != swapped["split_hash"]


def test_a_method_that_was_not_finished_is_refused(tiny):
    train(tiny("half"), "cascade")
    for path in (run_folder("half") / "checkpoints").glob("fine-*"):
        path.unlink()
    with pytest.raises(CaseError, match="coarse without the rest of its method; .*finish it"):
        reproduce("half")


def test_more_epochs_in_the_middle_of_a_training_are_told(tiny):
    train(tiny("midway", 2), "baseline")
    last = run_folder("midway") / "checkpoints" / "baseline-last.json"
    state = json.loads(last.read_text())
    last.write_text(json.dumps(state | {"legs": [{"from_step": 0, "epochs": 9}, {"from_step": 1, "epochs": 2}]}))
    assert _unlike(tiny("midway"), weights_of("midway"), weights_of("midway")) == [
        "baseline was given other epochs in the middle of a training, or by an older version"
    ]


def test_a_name_that_is_a_path_is_refused(tiny):
    train(tiny("plainly"), "baseline")
    with pytest.raises(ValueError, match="plain folder name, got '../x'"):
        reproduce("plainly", "../x")
