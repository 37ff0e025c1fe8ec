"""Smooth unevenness that belongs to a patient: a few plane waves in the world, the same in any field of view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Ripple:
    """A sum of cosines of about unit variance, in all directions: products along the axes would show a lattice.

    Attributes:
        frequency: `(n, 3)` radians per mm along world x, y, z.
        phase: `(n,)` radians.
    """

    frequency: np.ndarray
    phase: np.ndarray

    def at(self, coordinates) -> torch.Tensor:
        """Values at three world axes shaped to broadcast, `(I, J, K)`."""
        waves = []
        for d, axis in enumerate(coordinates):
            frequency = torch.as_tensor(self.frequency[:, d], dtype=torch.float32, device=axis.device)
            phase = torch.as_tensor(self.phase if d == 2 else 0 * self.phase, dtype=torch.float32, device=axis.device)
            angle = axis.flatten()[:, None] * frequency + phase  # (length, n)
            waves.append((torch.cos(angle), torch.sin(angle)))
        (cx, sx), (cy, sy), (cz, sz) = waves
        plane = torch.cat(  # cosine and sine of the sum of the first two angles
            [cx[:, None] * cy - sx[:, None] * sy, sx[:, None] * cy + cx[:, None] * sy], -1
        ).reshape(len(cx) * len(cy), -1)
        scale = float(np.sqrt(2.0 / len(self.phase)))
        return (plane @ (scale * torch.cat([cz, -sz], -1)).T).reshape(len(cx), len(cy), len(cz))


def draw_ripple(rng: np.random.Generator, shortest_mm: float, longest_mm: float, count: int = 8) -> Ripple:
    """Draw waves of lengths between two bounds, in random directions."""
    length = np.exp(rng.uniform(np.log(shortest_mm), np.log(longest_mm), (count, 1)))
    direction = rng.normal(size=(count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return Ripple(2 * np.pi / length * direction, rng.uniform(0.0, 2 * np.pi, count))
