import pytest
import torch

from spineseg.config import NetworkConfig
from spineseg.learning import precision
from spineseg.learning.vnet import VNet


@pytest.fixture
def network():
    torch.manual_seed(0)
    return VNet(1, 26, NetworkConfig(channels=(2, 4), convolutions=(1, 1)))


def test_a_processor_that_emulates_bf16_is_not_timed(network, monkeypatch):
    monkeypatch.setattr(precision, "_cpu_computes_bf16", lambda: False)
    network.forward = None  # a step would fail
    assert precision.faster_precision(network, (8, 8, 8)) == "fp32"


@pytest.mark.parametrize("slow, faster", [("bf16", "fp32"), ("fp32", "bf16")])
def test_the_faster_of_two_is_named_and_leaves_no_gradient(network, monkeypatch, slow, faster):
    monkeypatch.setattr(precision, "_cpu_computes_bf16", lambda: True)
    clock, step = [0.0], network.forward

    def forward(x):
        clock[0] += 2.0 if ("bf16" if torch.is_autocast_enabled("cpu") else "fp32") == slow else 1.0
        return step(x)

    network.forward = forward
    monkeypatch.setattr(precision.time, "perf_counter", lambda: clock[0])
    assert precision.faster_precision(network, (8, 8, 8)) == faster
    assert all(p.grad is None for p in network.parameters())
