import pytest
import torch
import torch.nn.functional as F

from spineseg.learning import losses
from spineseg.learning.losses import dice_ce_loss, dice_loss


def naive_dice(logits, labels):
    p = logits.softmax(1)
    g = F.one_hot(labels, logits.shape[1]).movedim(-1, 1).to(p.dtype)
    axes = (0, 2, 3, 4)
    return (1 - 2 * (p * g).sum(axes) / ((p**2).sum(axes) + (g**2).sum(axes))).mean()


def naive_dice_ce(logits, labels, binary, naming=0.0):
    p = logits.softmax(1)
    g = F.one_hot(labels, logits.shape[1]).movedim(-1, 1).to(p.dtype)
    axes = (0, 2, 3, 4)
    dice = 2 * (p * g).sum(axes) / (p.sum(axes) + g.sum(axes))
    present = g.sum(axes) > 0
    present[0] = False
    loss = F.cross_entropy(logits, labels) + 1 - dice[present].mean()
    foreground = labels > 0
    loss = loss + naming * F.cross_entropy(logits[:, 1:].movedim(1, -1)[foreground], labels[foreground] - 1)
    if binary:
        q, b = 1 - p[:, 0], 1 - g[:, 0]
        loss = loss + 0.5 * (1 - 2 * (q * b).sum() / (q.sum() + b.sum()))
    return loss


@pytest.fixture
def batch():
    torch.manual_seed(0)
    logits = torch.randn(2, 7, 5, 4, 3, dtype=torch.float64)
    labels = torch.randint(0, 5, (2, 5, 4, 3))  # classes 5 and 6 are absent
    return logits, labels


@pytest.mark.parametrize("chunk", [7, 1 << 17])
@pytest.mark.parametrize(
    ("kind", "naming"), [("dice", 0), ("dice_ce", 0), ("dice_ce_binary", 0), ("dice_ce_binary", 0.7)]
)
def test_value_and_gradient_equal_the_naive_one_hot_formula(batch, kind, naming, chunk, monkeypatch):
    monkeypatch.setattr(losses, "CHUNK", {"cpu": chunk})
    logits, labels = batch
    ours, theirs = logits.float().requires_grad_(), logits.clone().requires_grad_()
    a = losses.loss_by_name(kind, naming=naming)(ours, labels)
    binary = kind.endswith("binary")
    b = naive_dice(theirs, labels) if kind == "dice" else naive_dice_ce(theirs, labels, binary, naming)
    assert a.item() == pytest.approx(b.item(), abs=1e-6)
    a.backward()
    b.backward()
    assert torch.linalg.norm(ours.grad - theirs.grad) <= 1e-5 * torch.linalg.norm(theirs.grad)


def test_what_multiplies_the_loss_multiplies_its_gradient(batch):
    logits, labels = batch
    for kind, naming in (("dice", 0.0), ("dice_ce_binary", 0.7)):
        once, thrice = (logits.float().requires_grad_() for _ in range(2))
        loss = losses.loss_by_name(kind, naming=naming)
        loss(once, labels).backward()
        (3 * loss(thrice, labels)).backward()
        assert torch.allclose(3 * once.grad, thrice.grad, rtol=1e-5, atol=1e-8)


def test_perfect_logits_have_a_dice_loss_of_the_absent_share():
    labels = torch.tensor([[[[0, 1, 2, 1]]]])
    logits = 50.0 * F.one_hot(labels, 4).movedim(-1, 1).float()
    assert dice_loss(logits, labels).item() == pytest.approx(0.25, abs=1e-5)  # class 3 is absent


def test_perfect_logits_have_no_dice_ce_loss():
    labels = torch.tensor([[[[0, 1, 2, 1]]]])
    logits = 50.0 * F.one_hot(labels, 4).movedim(-1, 1).float()
    assert dice_ce_loss(logits, labels, binary=True).item() == pytest.approx(0, abs=1e-5)


def test_background_only_leaves_the_cross_entropy():
    logits, labels = torch.zeros(1, 4, 2, 2, 2), torch.zeros(1, 2, 2, 2, dtype=torch.long)
    assert dice_ce_loss(logits, labels).item() == pytest.approx(torch.log(torch.tensor(4.0)).item(), abs=1e-6)


def test_bf16_logits_get_bf16_gradients(batch):
    logits = batch[0].to(torch.bfloat16).requires_grad_()
    dice_ce_loss(logits, batch[1]).backward()
    assert logits.grad.dtype is torch.bfloat16 and torch.isfinite(logits.grad).all()


def test_labels_of_another_shape_are_named():
    with pytest.raises(ValueError, match="labels must be"):
        dice_loss(torch.zeros(1, 3, 2, 2, 2), torch.zeros(1, 3, 3, 3, dtype=torch.long))


def test_an_unknown_loss_lists_the_known_ones():
    with pytest.raises(ValueError, match="dice_ce_binary"):
        losses.loss_by_name("hinge")
