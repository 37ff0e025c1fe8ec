import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import column_of_vertebrae

from spineseg.data import nifti
from spineseg.errors import CaseError
from spineseg.learning.boxed import card, load_boxed, weights
from spineseg.learning.inference import Predictor
from spineseg.learning.packing import gone_on, pack
from spineseg.learning.training import load_network, train
from spineseg.paths import run_folder


@pytest.fixture(scope="module")
def box(trained, tmp_path_factory):
    """A folder with the weights of the trained run, to which `data/weights` points."""
    folder = tmp_path_factory.mktemp("weights")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPINESEG_WEIGHTS", str(folder))
        pack(trained)
        yield folder


def test_the_box_holds_the_runs_best_weights_rounded_to_bf16(box, trained):
    for name in ("coarse", "fine"):
        own, boxed = load_network(trained, name)[0].state_dict(), weights(name)
        own = {k: t for k, t in own.items() if not k.startswith("lower_heads.")}  # training's alone
        assert own.keys() == boxed.keys()
        assert all(torch.equal(own[k].to(torch.bfloat16).float(), boxed[k]) for k in own)


def test_the_card_says_where_the_weights_come_from(box, trained):
    known = card()
    assert known["provenance"]["seed"] == trained.training.seed and known["profile"] == trained.profile
    assert known["networks"]["fine"]["steps"] == trained.fine.steps_per_epoch
    assert known["networks"]["coarse"]["seconds"] > 0
    assert (box / "history.csv").read_text() == (run_folder(trained.run) / "history.csv").read_text()


def test_a_boxed_predictor_answers_as_the_run_does_with_its_weights_rounded(box, trained):
    ct, _, affine = column_of_vertebrae(9)
    volume = nifti.Volume(ct, affine, ())
    own = Predictor.of_run(trained)
    for network in own.networks.values():
        network.load_state_dict({k: t.to(torch.bfloat16).float() for k, t in network.state_dict().items()})
    boxed = Predictor.boxed()
    own.config = boxed.config  # windows are as the profile sets them, not as the run did
    own.precision = dict.fromkeys(own.networks, "bf16")
    one, two = boxed(volume), own(volume)
    assert one.labels.shape == ct.shape and np.array_equal(one.labels, two.labels)


def test_training_can_begin_with_the_boxed_weights_and_the_card_remembers_it(box, tiny, tmp_path):
    from spineseg.learning.module import NetworkTraining

    config = tiny("continued", **{"training.start": "boxed"})
    module = NetworkTraining(config, "coarse", box / "run", [], [])
    expected = weights("coarse")
    assert all(torch.equal(t, expected[k]) for k, t in module.network.state_dict().items())
    assert all(torch.equal(t, expected[k]) for k, t in module.average.weights.items())
    train(config, "cascade")
    for name in ("weights.json", "history.csv"):
        shutil.copy(box / name, tmp_path)
    pack(config, tmp_path)
    (before,) = card(tmp_path)["earlier"]
    assert before["networks"] == card(box)["networks"] != card(tmp_path)["networks"] and card(box)["earlier"] == []
    pack(config, tmp_path)
    assert card(tmp_path)["earlier"] == [before]  # packing the same networks again adds nothing
    learnt = pd.read_csv(tmp_path / "history.csv")
    once = len(pd.read_csv(box / "history.csv"))
    assert learnt["call"].tolist() == [0] * once + [1] * (len(learnt) - once) and len(learnt) > once


def test_one_stage_is_packed_alone_and_the_other_stays_with_what_was_said_of_it(box, trained, tiny, tmp_path):
    shutil.copytree(box, tmp_path / "box")
    config = tiny("coarse-alone", **{"training.start": "boxed"})
    train(config, "cascade")
    pack(config, tmp_path / "box", ("coarse",))
    before, after = card(box), card(tmp_path / "box")
    assert after["networks"]["fine"] == before["networks"]["fine"]
    assert after["networks"]["coarse"] != before["networks"]["coarse"]
    assert after["earlier"] == [{key: before[key] for key in ("provenance", "networks")}]
    assert (tmp_path / "box/fine.safetensors").read_bytes() == (box / "fine.safetensors").read_bytes()
    assert weights("coarse", tmp_path / "box").keys() == weights("coarse").keys()  # and its sha256 is the card's
    learnt = pd.read_csv(tmp_path / "box/history.csv")
    assert set(learnt[learnt["call"] == 1]["network"]) == {"coarse"}
    with pytest.raises(ValueError, match="coarse and fine unless training began with"):
        pack(trained, tmp_path / "box", ("coarse",))
    known = card(tmp_path / "box")
    known["values"]["guidance.limit"] = 5.0
    (tmp_path / "box/weights.json").write_text(json.dumps(known))
    with pytest.raises(ValueError, match="made with other values of guidance.limit"):
        pack(config, tmp_path / "box", ("coarse",))


def test_a_history_that_was_gone_on_from_counts_epochs_and_steps_on():
    once = pd.DataFrame({"network": ["coarse", "fine", "fine"], "epoch": [1, 1, 2], "step": [5, 10, 20]})
    twice = gone_on(once, once)
    assert twice["epoch"].tolist() == [1, 1, 2, 2, 3, 4] and twice["step"].tolist() == [5, 10, 20, 10, 30, 40]
    assert gone_on(twice, once)["call"].tolist() == [0] * 3 + [1] * 3 + [2] * 3


def test_a_network_of_another_shape_cannot_begin_with_them(box, tiny):
    config = tiny("wider", **{"training.start": "boxed", "coarse.network.channels": (16, 32, 64)})
    with pytest.raises(ValueError, match=r"training\.start.*coarse network has another shape"):
        train(config, "cascade")


def test_a_damaged_file_is_named(box, tmp_path):
    for file in box.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    payload = bytearray((tmp_path / "fine.safetensors").read_bytes())
    payload[-1] ^= 1
    (tmp_path / "fine.safetensors").write_bytes(payload)
    with pytest.raises(CaseError, match="fine.safetensors: other bytes than were packed"):
        load_boxed(tmp_path)
    (tmp_path / "fine.safetensors").unlink()
    with pytest.raises(CaseError, match="no such file"):
        load_boxed(tmp_path)


def test_weights_of_another_version_are_refused(box, tmp_path):
    known = json.loads((box / "weights.json").read_text())
    known["values"]["guidance.speed"] = 1
    (tmp_path / "weights.json").write_text(json.dumps(known))
    with pytest.raises(CaseError, match="unknown parameter 'guidance.speed'"):
        load_boxed(tmp_path)


def test_an_empty_box_says_what_to_do(tmp_path):
    with pytest.raises(CaseError, match="name a trained run with --run"):
        load_boxed(tmp_path)


def test_the_weights_that_come_with_the_project_find_nothing_in_air(monkeypatch):
    monkeypatch.delenv("SPINESEG_WEIGHTS", raising=False)
    prediction = Predictor.boxed()(nifti.Volume(np.full((40, 40, 40), -1000, np.int16), np.diag([3.0, 3, 3, 1]), ()))
    assert not prediction.labels.any()
