import pytest
import torch

from spineseg.learning.gradient_mass import Watched, gradient_mass
from spineseg.learning.losses import loss_by_name


def test_the_mass_of_each_class_is_summed_over_its_voxels_and_all_channels():
    labels = torch.tensor([[[[0, 1, 1]]]])
    gradient = torch.tensor([[[[[1.0, -2.0, 3.0]]], [[[-1.0, 0.5, 0.0]]], [[[0.0, 0.0, -4.0]]]]])
    assert gradient_mass(gradient, labels).tolist() == [2.0, 9.5, 0.0]


def test_the_logistic_loss_gives_each_voxel_its_error_and_weights_give_each_class_its_share():
    labels = torch.zeros(1, 4, 4, 4, dtype=torch.uint8)
    labels[0, 0, 0, 0] = 1
    logits = torch.zeros(1, 2, 4, 4, 4, requires_grad=True)  # every voxel is as wrong as every other
    shares = {}
    for name in ("logistic", "logistic_weighted"):
        watched = Watched(loss_by_name(name))
        watched(logits, labels).backward()
        mass, voxels = watched.steps[0]
        assert voxels.tolist() == [63.0, 1.0]
        shares[name] = (mass / mass.sum())[1].item()
    assert shares == {"logistic": pytest.approx(1 / 64), "logistic_weighted": pytest.approx(0.5)}


def test_a_watched_loss_is_the_loss_and_notes_nothing_without_a_gradient():
    logits, labels = torch.randn(1, 3, 4, 4, 4), torch.randint(0, 3, (1, 4, 4, 4))
    watched = Watched(loss_by_name("dice"))
    assert watched(logits, labels) == loss_by_name("dice")(logits, labels) and watched.steps == []
