"""One training step as every benchmark takes it: forward, loss, backward, clipping, AdamW."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

CLIP = 12.0  # norm of the gradient


def stepper(network: nn.Module, loss: Callable, image: Tensor, labels: Tensor, bf16: bool) -> Callable[[], Tensor]:
    """A function that takes one step and returns the loss.

    Args:
        network: On the image's device.
        loss: Takes logits and labels.
        image: `(N, 1, I, J, K)`.
        labels: `(N, I, J, K)`.
        bf16: Whether autocast computes in bf16.
    """
    adam = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)

    def step() -> Tensor:
        with torch.autocast(image.device.type, dtype=torch.bfloat16, enabled=bf16):
            value = loss(network(image), labels)
        adam.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        adam.step()
        return value.detach()

    return step
