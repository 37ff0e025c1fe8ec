import numpy as np
import pytest
import torch

from spineseg.config import Config
from spineseg.learning.cascade import build, coarse_logits, drawn, fine_logits, guidance, level_channels, upsampled

SMOKE = Config.load("smoke")


def test_a_sure_level_gives_its_own_coordinate():
    logits = torch.full((26, 1, 1, 1), -30.0)
    logits[6] = 30
    level, sine, cosine, foreground = level_channels(logits, 4.0).flatten().tolist()
    assert level == pytest.approx(6 / 25) and foreground == pytest.approx(1)
    assert (sine, cosine) == (pytest.approx(np.sin(3 * np.pi), abs=1e-5), pytest.approx(-1))


def test_the_level_is_defined_in_the_background():
    logits = torch.zeros(26, 1, 1, 1)
    logits[0], logits[10] = 50, 20
    channels = level_channels(logits, 4.0).flatten()
    assert channels[0].item() == pytest.approx(10 / 25, abs=1e-4) and channels[3].item() < 1e-6


def test_an_untrained_fine_network_leaves_the_coarse_logits_alone():
    network = build(SMOKE, "fine")
    guide = torch.randn(1, 30, 8, 8, 8)
    assert torch.equal(fine_logits(network, torch.rand(1, 1, 8, 8, 8), guide, SMOKE.guidance.period), guide[:, :26])


def test_the_last_two_outputs_move_names_along_the_level():
    network = build(SMOKE, "fine")
    network.head.bias.data[26:] = torch.tensor([3.0, 0.75])  # strength and shift
    guide = torch.zeros(1, 30, 8, 8, 8)
    guide[:, 26] = 6.25 / 25
    names = fine_logits(network, torch.rand(1, 1, 8, 8, 8), guide, 4.0)[0, 1:, 0, 0, 0]
    expected = 3 * np.cos(np.arange(1, 26) * np.pi / 2 - 7 * np.pi / 2)  # T1 leads, and each fourth name from it
    assert names.tolist() == pytest.approx(expected.tolist(), abs=1e-5)


def test_drawing_names_leaves_the_odds_of_vertebra_against_background():
    torch.manual_seed(0)
    logits, level, strength = torch.randn(2, 26, 3, 4, 5), 25 * torch.rand(2, 3, 4, 5), 4 * torch.rand(2, 3, 4, 5)
    before, after = (z.softmax(1) for z in (logits, drawn(logits, level, strength, 4.0)))
    torch.testing.assert_close(after[:, 0], before[:, 0])
    assert (after - before).abs().max() > 0.1


def test_guidance_is_logits_and_what_they_say_of_the_level():
    with torch.no_grad():
        guide = guidance(build(SMOKE, "coarse").eval(), torch.rand(1, 13, 18, 9), SMOKE)
    assert guide.shape == (30, 13, 18, 9)
    assert torch.equal(guide[26:], level_channels(guide[:26], SMOKE.guidance.period))


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
