import numpy as np
import pytest
import torch

from spineseg.config import Config
from spineseg.learning.cascade import build, coarse_logits, fine_logits, guidance, named, phases, upsampled

SMOKE = Config.load("smoke")


def test_neighbours_and_their_neighbours_differ_in_phase():
    own = phases(torch.arange(26)).tolist()
    assert own[0] == 0 and set(own[1:]) == {1, 2, 3}
    assert all(len(set(own[i : i + 3])) == 3 for i in range(1, 24))


def test_a_sure_level_gives_its_own_coordinate_and_phase():
    logits = torch.full((26, 1, 1, 1), -30.0)
    logits[6] = 30
    guide = guidance(logits, SMOKE).flatten()
    limit = SMOKE.guidance.limit
    own = phases(torch.tensor([6])).item()
    expected = [0.0, 0.0, 0.0, 0.0]
    expected[own] = limit
    assert guide[:4].tolist() == pytest.approx(expected, abs=1e-4)  # the others are kept at limit - limit
    assert guide[4].item() == pytest.approx(6 / 25)
    assert guide[5:].tolist() == pytest.approx([0.0, 1.0], abs=1e-5)


def test_the_level_is_defined_in_the_background():
    logits = torch.zeros(26, 1, 1, 1)
    logits[0], logits[10] = 50, 20
    guide = guidance(logits, SMOKE).flatten()
    assert guide[4].item() == pytest.approx(10 / 25, abs=1e-4) and guide[:4].argmax() == 0


def test_within_the_limit_guidance_keeps_the_coarse_probabilities_of_background_and_phases():
    logits = torch.randn(26, 3, 4, 5)
    logits[0] += 3  # or 25 names together would exceed it
    probability = logits.softmax(0)
    own = phases(torch.arange(26))
    summed = torch.stack([probability[own == p].sum(0) for p in range(4)])
    torch.testing.assert_close(guidance(logits, SMOKE)[:4].softmax(0), summed)


def test_an_untrained_fine_network_leaves_the_coarse_logits_alone():
    network, guide = build(SMOKE, "fine"), torch.randn(1, 7, 8, 8, 8)
    assert torch.equal(fine_logits(network, torch.rand(1, 1, 8, 8, 8), guide), guide[:, :4])


def test_a_voxel_takes_the_likeliest_name_of_its_phase():
    names = torch.zeros(25, 1, 1, 3)
    names[9], names[10] = 5.0, 4.0  # ids 10 and 11
    logits = torch.full((4, 1, 1, 3), -5.0)
    logits[0, 0, 0, 0] = logits[phases(torch.tensor(10)), 0, 0, 1] = logits[phases(torch.tensor(11)), 0, 0, 2] = 5.0
    assert named(logits, names)[0, 0].tolist() == [0, 10, 11]


def test_coarse_logits_have_the_scans_own_size():
    network = build(SMOKE, "coarse").eval()
    assert coarse_logits(network, torch.rand(1, 13, 18, 9), (16, 16, 16)).shape == (26, 13, 18, 9)


def test_upsampling_a_linear_field_is_exact_between_voxel_centres():
    field = torch.arange(8.0).repeat(2, 4, 4, 1)
    half = np.diag([0.5, 0.5, 0.5, 1.0])
    assert torch.allclose(upsampled(field, half, (4, 4, 13))[0, 0, 0], torch.arange(13) / 2, atol=1e-5)


def test_a_network_sees_muscle_at_zero_and_bone_near_one():
    zero, unit = build(SMOKE, "baseline").standard
    window = SMOKE.preparation
    hu = torch.tensor([40.0, 340.0])
    seen = ((hu - window.window_low_hu) / (window.window_high_hu - window.window_low_hu) - zero) / unit
    assert seen.tolist() == pytest.approx([0, 1], abs=1e-6)
