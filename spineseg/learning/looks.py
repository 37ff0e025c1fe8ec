"""Other looks of every tissue: a small random network redraws grey values and texture; shapes and places stay."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

WIDTH, LAYERS = 3, 3  # of the random network
MOST_REDRAWN = 0.8  # of what is shown, the rest is the image as it was: bone stays brighter than what is around it
THICKEST = 4  # voxels, of slices that are drawn thick


def redrawn(rng: np.random.Generator, image: Tensor) -> Tensor:
    """Give tissues other grey values and another texture.

    Random convolutions of one or three voxels a side, leaky rectifiers between them, the result as bright and as varied
    as the image was, then a weighted mean of both. After "global intensity non-linear augmentation" of Ouyang et al.,
    Causality-inspired single-source domain generalization for medical image segmentation, arXiv 2111.12525.

    Args:
        rng: Source of every random number.
        image: `(1, I, J, K)` float32 in window units; 0 is air or nothing, and stays 0.

    Returns:
        A new image of the same shape in [0, 1].
    """
    seed, share = int(rng.integers(2**31)), rng.uniform(0.0, MOST_REDRAWN)
    wide = rng.random(LAYERS) < 0.5
    generator = torch.Generator().manual_seed(seed)
    seen = image > 0
    if not bool(seen.any()):
        return image.clone()
    middle = image[seen].mean()
    plain = torch.where(seen, image - middle, 0.0)  # outside as bright as the mean: no edge to bend
    out = plain[None]
    for layer in range(LAYERS):
        side = 3 if wide[layer] else 1
        last = layer == LAYERS - 1
        weight = torch.randn((1 if last else WIDTH, out.shape[1], side, side, side), generator=generator)
        bias = 0.2 * torch.randn(len(weight), generator=generator)
        out = F.conv3d(out, (weight / side**1.5).to(image), bias.to(image), padding=side // 2)
        out = out if last else F.leaky_relu(out, 0.1)
    inside, before = out[0][seen], plain[seen]
    scale = before.std(correction=0) / inside.std(correction=0).clamp(min=1e-6)
    new = (out[0] - inside.mean()) * scale
    if float((new[seen] * before).mean()) < 0:
        new = -new  # upright: a scan with dark bone does not exist
    mixed = share * new + (1 - share) * plain + middle
    return torch.where(seen, mixed.clamp_(1e-3, 1.0), 0.0)


def thick_slices(rng: np.random.Generator, image: Tensor) -> Tensor:
    """Show an image as if it came from thick slices: averaged along one axis, and interpolated again.

    Args:
        rng: Source of the axis and the thickness, 2 to `THICKEST` voxels.
        image: `(1, I, J, K)`.

    Returns:
        A new image of the same shape.
    """
    axis, thickness = int(rng.choice(3, p=[0.2, 0.1, 0.7])), float(rng.uniform(2.0, THICKEST))
    size = list(image.shape[1:])
    few = list(size)
    few[axis] = max(1, round(size[axis] / thickness))
    slices = F.adaptive_avg_pool3d(image[None], few)
    return F.interpolate(slices, size=size, mode="trilinear", align_corners=False)[0]
