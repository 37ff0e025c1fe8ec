"""Whom a loss listens to: how much of its gradient falls on the voxels of each class."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def gradient_mass(gradient: Tensor, labels: Tensor) -> Tensor:
    """Sum of a gradient's absolute values over the voxels of each class.

    Args:
        gradient: `(N, C, I, J, K)`, of a loss by its logits.
        labels: `(N, I, J, K)` whole numbers below C.

    Returns:
        `(C,)` float64; 0 for a class that does not occur.
    """
    per_voxel = gradient.abs().sum(1).flatten().double()
    return torch.bincount(labels.flatten().long(), per_voxel, gradient.shape[1])


class Watched:
    """A loss that notes, at every step backwards, its gradient's mass and the voxels of each class.

    Args:
        loss: Function of `(logits, labels)`.

    Attributes:
        steps: One `(2, C)` float64 tensor a step: gradient mass, voxels.
    """

    def __init__(self, loss: Callable[[Tensor, Tensor], Tensor]):
        self.loss, self.steps = loss, []

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch."""
        if logits.requires_grad:
            voxels = torch.bincount(labels.flatten().long(), minlength=logits.shape[1]).double()
            logits.register_hook(lambda g: self.steps.append(torch.stack((gradient_mass(g, labels), voxels))))
        return self.loss(logits, labels)
