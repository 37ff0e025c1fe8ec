"""What lies around the spine, hidden, faint or moved: names must not hang on a body that looks like a phantom's."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

WIDEST_RIM_MM = 30.0  # around the vertebrae, left as it is; the narrowest rim is one voxel
BRIGHTEST = 0.4  # of what hides the rest, window units: water and soft tissue lie about 0.3, air at 0
MOST_KEPT = 0.6  # of the contrast of faint surroundings


def altered(rng: np.random.Generator, image: Tensor, labels: Tensor, spacing_mm: float) -> Tensor:
    """Hide what lies around the vertebrae, leave it faint, or move it along the body.

    The three come equally often. A rim of drawn width stays as it is, so that the outline keeps its contrast.

    Args:
        rng: Source of the draw.
        image: `(1, I, J, K)` float32 in window units.
        labels: `(I, J, K)`; without a vertebra nothing changes.
        spacing_mm: Of the isotropic voxels; K runs along the body.

    Returns:
        A new image of the same shape.
    """
    kind, shade, kept = int(rng.integers(3)), rng.uniform(0.0, BRIGHTEST), rng.uniform(0.0, MOST_KEPT)
    reach = int(rng.integers(1, max(2, round(WIDEST_RIM_MM / spacing_mm) + 1)))
    away = int(rng.integers(image.shape[3] // 4, max(image.shape[3] * 3 // 4, image.shape[3] // 4 + 1)))
    if not bool((labels > 0).any()):
        return image
    if kind == 0:
        rest = torch.full_like(image, shade)
    elif kind == 1:
        rest = shade + kept * (image - shade)
    else:
        alone = torch.where(near(labels > 0, 1)[None], shade, image)  # no second spine where none is labelled
        rest = torch.roll(alone, away, dims=3)
    return torch.where(near(labels > 0, reach)[None], image, rest)


def near(mask: Tensor, reach: int) -> Tensor:
    """Voxels of a box of `2 reach + 1` around any of `mask`, bool `(I, J, K)`."""
    out = mask.float()[None, None]
    for axis in range(3):
        size, pad = [1, 1, 1], [0, 0, 0]
        size[axis], pad[axis] = 2 * reach + 1, reach
        out = F.max_pool3d(out, size, stride=1, padding=pad)
    return out[0, 0] > 0
