import importlib.util

import pytest
import torch
import torch.nn.functional as F
from networks import needs_monai

from spineseg.errors import MissingExtra
from spineseg.learning.losses import dice_loss, loss_by_name
from spineseg.learning.peer_losses import TVERSKY_FALSE, TVERSKY_MISSED, logistic_loss, peer_loss
from spineseg.limits import LOSSES

LIBRARY = ("generalised_dice", "tversky", "focal")


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return torch.randn(2, 5, 4, 3, 6), torch.randint(0, 4, (2, 4, 3, 6), dtype=torch.uint8)  # class 4 is absent


def probabilities(batch):
    logits, labels = batch
    return logits.softmax(1), F.one_hot(labels.long(), logits.shape[1]).movedim(-1, 1).float()


@needs_monai
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_that_a_configuration_may_name_is_finite_and_falls_when_followed(batch, name):
    logits, labels = batch
    logits = logits.clone().requires_grad_()
    loss = loss_by_name(name, naming=0.5)
    before = loss(logits, labels)
    before.backward()
    with torch.no_grad():
        after = loss(logits - 0.5 * logits.grad / logits.grad.abs().max(), labels)
    assert torch.isfinite(before) and after < before


def test_the_weighted_logistic_loss_is_the_mean_over_classes(batch):
    logits, labels = batch
    each = F.cross_entropy(logits, labels.long(), reduction="none")
    by_class = torch.stack([each[labels == k].mean() for k in range(4)])
    assert logistic_loss(logits, labels, weighted=True) == pytest.approx(by_class.mean().item(), abs=1e-6)


def test_classes_of_equal_size_need_no_weights():
    labels = torch.arange(4).repeat(6).view(1, 2, 3, 4)
    logits = torch.randn(1, 4, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    plain, weighted = (logistic_loss(logits, labels, weighted=w).item() for w in (False, True))
    assert plain == pytest.approx(weighted, abs=1e-6)


@needs_monai
def test_the_tversky_loss_weighs_what_is_missed_more(batch):
    p, g = probabilities(batch)
    axes = (0, 2, 3, 4)
    hit, false, missed = ((a * b).sum(axes) for a, b in ((p, g), (p, 1 - g), (1 - p, g)))
    by_hand = 1 - hit / (hit + TVERSKY_FALSE * false + TVERSKY_MISSED * missed)
    assert peer_loss("tversky")(*batch).item() == pytest.approx(by_hand.mean().item(), abs=1e-4)


@needs_monai
def test_the_generalised_dice_weighs_a_class_by_the_inverse_square_of_its_size(batch):
    p, g = probabilities(batch)
    axes = (0, 2, 3, 4)
    weight = 1 / g.sum(axes) ** 2
    weight[4] = weight[:4].max()  # absent: as the smallest one present
    by_hand = 1 - 2 * (weight * (p * g).sum(axes)).sum() / (weight * (p + g).sum(axes)).sum()
    assert peer_loss("generalised_dice")(*batch).item() == pytest.approx(by_hand.item(), abs=1e-4)


@needs_monai
def test_the_focal_loss_without_focus_is_the_logistic_loss(batch, monkeypatch):
    monkeypatch.setattr("spineseg.learning.peer_losses.FOCUS", 0.0)
    focal = peer_loss("focal")(*batch) * batch[0].shape[1]  # it averages over classes too
    assert focal.item() == pytest.approx(logistic_loss(*batch).item(), abs=1e-5)


@pytest.mark.parametrize("name", LIBRARY)
def test_a_librarys_loss_without_the_library_names_the_command(name, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=rf"loss '{name}' needs monai.*pip install -e '\.\[architectures\]'"):
        loss_by_name(name)


def test_the_papers_losses_need_no_library(batch, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert loss_by_name("dice") is dice_loss and torch.isfinite(loss_by_name("logistic_weighted")(*batch))
