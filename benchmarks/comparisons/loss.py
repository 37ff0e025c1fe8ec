"""Dice and cross-entropy with its gradient."""

import torch
from harness import OURS, Race, peer
from scene import logits_beside, spine

from spineseg.anatomy.labels import N_CLASSES
from spineseg.learning.losses import dice_ce_loss

CLOSE = 1e-5  # of the largest gradient


def plain(logits, labels):
    """The formula with a one-hot tensor, as written in the docstring of `dice_ce_loss`."""
    hot = torch.nn.functional.one_hot(labels.long(), N_CLASSES).movedim(-1, 1).to(logits.dtype)
    p, axes = logits.softmax(1), (0, 2, 3, 4)
    counts = hot.sum(axes)
    dice = 2 * (p * hot).sum(axes) / (p.sum(axes) + counts + 1e-6)
    present = counts > 0
    present[0] = False
    return torch.nn.functional.cross_entropy(logits, labels.long()) + 1 - dice[present].mean()


def races(quick: bool) -> list[Race]:
    """Loss and gradient of 96-cubed x 26 logits; half of the classes occur."""
    side = 16 if quick else 96
    labels = torch.from_numpy(spine(side, 0))[None]
    labels[labels > N_CLASSES // 2] = 0
    logits = logits_beside(labels, 1)
    monai = peer("monai.losses")

    def gradient(loss):
        leaf = logits.detach().requires_grad_()
        value = loss(leaf)
        value.backward()
        return value.detach(), leaf.grad

    def of_monai():
        dice = monai.DiceLoss(
            include_background=False, to_onehot_y=True, softmax=True, batch=True, reduction="none", smooth_nr=0.0,
            smooth_dr=1e-6,
        )  # fmt: skip
        present = torch.bincount(labels.flatten().long(), minlength=N_CLASSES)[1:] > 0
        target = labels[:, None].long()

        def value(leaf):
            each = dice(leaf, target).flatten()
            return each[present].mean() + torch.nn.functional.cross_entropy(leaf, target[:, 0])

        return gradient(value)

    def as_it_comes():
        loss = monai.DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
        return gradient(lambda leaf: loss(leaf, labels[:, None].long()))

    sides = {OURS: lambda: gradient(lambda leaf: dice_ce_loss(leaf, labels))}
    sides["MONAI DiceCELoss"] = monai and as_it_comes
    sides["MONAI, classes present"] = monai and of_monai
    sides["one-hot formula"] = lambda: gradient(lambda leaf: plain(leaf, labels))

    def check(results):
        (value, ours), answer = results[OURS], {}
        for name, (other, theirs) in results.items():
            apart = float((ours - theirs).abs().max() / theirs.abs().max())
            same = name != "MONAI DiceCELoss"
            assert not same or (apart <= CLOSE and abs(value - other) <= CLOSE), f"{name}: gradients {apart} apart"
            answer[name] = (same, f"gradient {apart:.1e} apart" + ("" if same else "; counts absent classes"))
        return answer

    targets = {"MONAI DiceCELoss": 3.5}
    return [
        Race("loss and gradient", sides, check, targets, memory={"MONAI DiceCELoss": None, "one-hot formula": None})
    ]
