import pytest
import torch

from spineseg.learning.schedule import MovingAverage, learning_rate


def rate(step, total=100, resumed_at=0):
    return learning_rate(step, total=total, peak=1.0, warmup_share=0.1, resumed_at=resumed_at)


def test_the_rate_rises_and_falls_to_nothing():
    assert rate(0) == pytest.approx(0.1) and rate(9) > 0.97 and rate(50) == pytest.approx(0.5) and rate(100) == 0
    assert all(rate(s) >= rate(s + 1) for s in range(10, 99))


def test_a_longer_run_follows_the_curve_planned_for_it_once_warm():
    for step in range(60, 100):
        assert rate(step, total=200, resumed_at=40) == pytest.approx(rate(step, total=200))
    assert rate(40, total=200, resumed_at=40) < 0.1


def test_the_average_follows_at_its_own_pace():
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(network.weight)
    average = MovingAverage(network, 0.9)
    torch.nn.init.ones_(network.weight)
    average.update(network)
    assert average.weights["weight"].item() == pytest.approx(1 - 2 / 11)  # young averages move faster
    average.steps = 1000
    before = average.weights["weight"].item()
    average.update(network)
    assert average.weights["weight"].item() == pytest.approx(before + 0.1 * (1 - before))
