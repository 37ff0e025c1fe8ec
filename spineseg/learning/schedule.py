"""The learning rate, and the moving average of the weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def learning_rate(step: int, *, total: int, peak: float, warmup_share: float, resumed_at: int = 0) -> float:
    """Cosine from `peak` to zero over `total` steps after a linear warm-up.

    A run that is given more epochs follows the curve that was planned for the longer run from the step it has reached;
    because the rate jumps back up there, it is warmed up once more.

    Args:
        step: 0 for the first step of the run.
        total: Steps of the whole run, those already done included.
        peak: Highest rate.
        warmup_share: Of `total`, linear.
        resumed_at: Step at which this call went on.

    Returns:
        The rate of this step.
    """
    warmup = max(1, round(warmup_share * total))
    ramp = min(1.0, (step - resumed_at + 1) / warmup)
    return peak * ramp * 0.5 * (1 + math.cos(math.pi * min(step / total, 1.0)))


class MovingAverage:
    """Exponential moving average of a network's weights.

    Args:
        network: The network that is followed.
        decay: Share of the old average that stays at each step; smaller in the first steps.
    """

    def __init__(self, network: nn.Module, decay: float):
        self.decay, self.steps = decay, 0
        self.weights = {name: t.detach().clone() for name, t in network.state_dict().items()}
        self.moving = [name for name, t in self.weights.items() if t.is_floating_point()]  # not tables of indices

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move towards the network's present weights."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        new = network.state_dict()
        old = [self.weights[name] for name in self.moving]
        torch._foreach_lerp_(old, [new[name] for name in self.moving], 1 - decay)

    def load(self, weights: dict[str, Tensor], steps: int) -> None:
        """Go on from a stored average."""
        self.steps = steps
        for name, value in weights.items():
            self.weights[name].copy_(value)
