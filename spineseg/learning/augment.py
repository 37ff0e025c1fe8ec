"""Augmentation: turned, zoomed, brighter, blurred, noisier. Never mirrored: left and right must stay told apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from spineseg.config import TrainingConfig


def pose(rng: np.random.Generator, training: TrainingConfig | None, centre, shape) -> np.ndarray:
    """Affine from the index of a patch to the index of the volume that it is cut from.

    Args:
        rng: Source of the draw.
        training: Largest angle and zoom; None leaves the patch unturned.
        centre: Volume index at the middle of the patch.
        shape: Side lengths of the patch, voxels.

    Returns:
        `(4, 4)` float64.
    """
    matrix = np.eye(4)
    if training is not None:
        angles = np.deg2rad(rng.uniform(-1, 1, 3) * training.rotation_degrees)
        zoom = 1 + rng.uniform(-1, 1) * training.scale_share
        stretch = 1 + rng.uniform(-0.4, 0.4, 3) * training.scale_share
        turn = np.eye(3)
        for axis, angle in enumerate(angles):
            c, s = np.cos(angle), np.sin(angle)
            a, b = (axis + 1) % 3, (axis + 2) % 3
            step = np.eye(3)
            step[a, a], step[a, b], step[b, a], step[b, b] = c, -s, s, c
            turn = turn @ step
        matrix[:3, :3] = turn * (zoom * stretch)
    matrix[:3, 3] = np.asarray(centre, float) - matrix[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return matrix


@dataclass(frozen=True)
class Intensity:
    """One draw of brightness, contrast, blur and noise."""

    gain: float
    offset: float
    gamma: float
    blurred: bool
    noise: float
    seed: int

    @classmethod
    def draw(cls, rng: np.random.Generator, training: TrainingConfig) -> Intensity:
        """Draw once; gain and offset always, exponent and noise for half of the items, blur for a share."""
        return cls(
            gain=float(1 + rng.uniform(-1, 1) * training.contrast_share),
            offset=float(rng.uniform(-0.25, 0.25) * training.contrast_share),
            gamma=float(np.exp(rng.uniform(-1, 1) * training.gamma)) if rng.random() < 0.5 else 1.0,
            blurred=bool(rng.random() < training.blur_share),
            noise=float(rng.uniform(0, training.noise)) if rng.random() < 0.5 else 0.0,
            seed=int(rng.integers(2**31)),
        )

    def __call__(self, image: Tensor, *, blur: bool = True) -> Tensor:
        """Apply to `(C, I, J, K)` in window units; the offset spares air (0). A coarse scan is smooth: no `blur`."""
        out = image.clamp(0, 1) ** self.gamma * self.gain
        out = torch.where(image > 0, out + self.offset, out)
        if self.blurred and blur:
            out = F.avg_pool3d(out, 3, stride=1, padding=1, count_include_pad=False)
        if self.noise:
            generator = torch.Generator(device=out.device).manual_seed(self.seed)
            out = out + self.noise * torch.randn(out.shape, generator=generator, device=out.device)
        return out.clamp_(0, 1)
