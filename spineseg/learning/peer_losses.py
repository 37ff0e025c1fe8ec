"""Losses to compare ours with: torch's cross-entropy, and MONAI's generalised Dice, Tversky and focal loss.

They hold a probability and a label for every class and voxel, and take each process's own part of a batch.

Source:
    Milletari et al., V-Net (2016), compares Dice with the logistic loss, with and without weights of classes. The
    others as in MONAI's documentation, which names their papers.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from spineseg.errors import MissingExtra

# of a voxel taken for a class that it is not, and of a voxel missed; equal weights would be Dice
TVERSKY_FALSE, TVERSKY_MISSED = 0.3, 0.7
FOCUS = 2.0  # exponent of the focal loss: how little a voxel counts that is right already


def logistic_loss(logits: Tensor, labels: Tensor, *, weighted: bool = False) -> Tensor:
    """Cross-entropy, each voxel alike, or each class that occurs in the batch alike.

    Args:
        logits: `(N, C, I, J, K)`.
        labels: `(N, I, J, K)` whole numbers below C.
        weighted: Weigh a voxel by the inverse of how often its class occurs.

    Returns:
        Scalar.
    """
    if not weighted:
        return F.cross_entropy(logits, labels.long())
    counts = torch.bincount(labels.flatten().long(), minlength=logits.shape[1])
    weight = torch.where(counts > 0, 1 / counts.clamp(min=1), 0.0)
    return F.cross_entropy(logits, labels.long(), weight=weight.to(logits.dtype))


def peer_loss(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """A function of `(logits, labels)`: generalised_dice, tversky or focal. All pool over the batch.

    Raises:
        MissingExtra: If MONAI is not installed.
    """
    if importlib.util.find_spec("monai") is None:
        raise MissingExtra(f"loss {name!r}", "monai", "architectures")
    from monai import losses  # here, since most trainings do without the library

    known = {
        "generalised_dice": lambda: losses.GeneralizedDiceLoss(softmax=True, to_onehot_y=True, batch=True),
        "tversky": lambda: losses.TverskyLoss(
            softmax=True, to_onehot_y=True, batch=True, alpha=TVERSKY_FALSE, beta=TVERSKY_MISSED
        ),
        "focal": lambda: losses.FocalLoss(use_softmax=True, to_onehot_y=True, gamma=FOCUS),
    }
    loss = known[name]()
    return lambda logits, labels: loss(logits, labels[:, None])
