import json

import pytest
import torch

from spineseg.errors import CaseError
from spineseg.learning import checkpoints
from spineseg.learning.muon import make_optimizer


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "a-last.safetensors"
    checkpoints.save(path, {"network.w": torch.arange(6.0).reshape(2, 3)}, {"epochs": 3})
    return path


def test_what_was_saved_is_loaded(written):
    tensors, state = checkpoints.load(written)
    assert torch.equal(tensors["network.w"], torch.arange(6.0).reshape(2, 3)) and state["epochs"] == 3


def test_one_flipped_bit_is_refused(written):
    data = bytearray(written.read_bytes())
    data[-1] ^= 1
    written.write_bytes(data)
    with pytest.raises(CaseError, match="other bytes"):
        checkpoints.load(written)


def test_another_format_is_named(written):
    side = written.with_suffix(".json")
    side.write_text(json.dumps(json.loads(side.read_text()) | {"format": 0}))
    with pytest.raises(CaseError, match="format 0"):
        checkpoints.load(written)


def test_an_older_format_is_read_with_what_it_lacks(written):
    side = written.with_suffix(".json")
    side.write_text(json.dumps(json.loads(side.read_text()) | {"format": 3}))
    _, state = checkpoints.load(written)
    assert state["legs"] == [] and state["epochs"] == 3


def test_a_missing_checkpoint_says_train_first(tmp_path):
    with pytest.raises(CaseError, match="train the run first"):
        checkpoints.load(tmp_path / "none.safetensors")


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_an_optimizer_goes_on_bit_for_bit(name):
    def step(network, optimizer, n):
        for i in range(n):
            optimizer.zero_grad()
            network(torch.full((1, 4), float(i + 1))).sum().backward()
            optimizer.step()

    def fresh():
        torch.manual_seed(0)
        network = torch.nn.Linear(4, 2)
        optimizer = make_optimizer(name, network, 0.01)
        for group in optimizer.param_groups:
            group["lr"] = 0.01
        return network, optimizer

    whole, optimizer = fresh()
    step(whole, optimizer, 4)
    half, optimizer = fresh()
    step(half, optimizer, 2)
    tensors = checkpoints.pack(half, {}, optimizer)
    other, optimizer = fresh()
    other.load_state_dict(checkpoints.part(tensors, "network"))
    checkpoints.unpack_optimizer(tensors, optimizer)
    for i in (3.0, 4.0):
        optimizer.zero_grad()
        other(torch.full((1, 4), i)).sum().backward()
        optimizer.step()
    assert torch.equal(other.weight, whole.weight) and torch.equal(other.bias, whole.bias)


@pytest.mark.parametrize(("before", "after"), [("adamw", "muon"), ("muon", "adamw")])
def test_what_another_optimizer_left_is_not_taken_over(before, after):
    network = torch.nn.Linear(4, 2)
    first, second = make_optimizer(before, network, 0.0), make_optimizer(after, network, 0.0)
    network(torch.ones(1, 4)).sum().backward()
    first.step()
    with pytest.warns(UserWarning, match="begins anew"):
        checkpoints.unpack_optimizer(checkpoints.pack(network, {}, first), second)
    second.step()
    assert len(second.state_dict()["state"]) == 2
