"""Interpolation along one axis at a time as a few weighted copies, and at arbitrary positions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

SNAP_VOXELS = 1e-4  # positions this close to a voxel centre are on it (affines are stored in float32)
SLAB_VOXELS = 4_000_000  # positions that are sampled at once on an oblique grid


class Taps(NamedTuple):
    """Which voxels make up each target voxel along one axis.

    Attributes:
        index: `(n_out, k)` int64 source voxels.
        weight: `(n_out, k)` float32; each row sums to 1.
        outside: `(n_out,)` bool, target centres outside the source's field of view.
    """

    index: torch.Tensor
    weight: torch.Tensor
    outside: torch.Tensor


def taps(n_in: int, n_out: int, scale: float, offset: float, antialias: bool) -> Taps:
    """Weights for target voxel t at source position `scale * t + offset`.

    Linear between the two neighbours; with `antialias` and abs(scale) > 1 the share of each source voxel in the target
    voxel's extent. The border is repeated.
    """
    x = scale * np.arange(n_out, dtype=np.float64) + offset
    x = np.where(np.abs(x - np.rint(x)) < SNAP_VOXELS, np.rint(x), x)
    outside = (x < -0.5 - SNAP_VOXELS) | (x > n_in - 0.5 + SNAP_VOXELS)
    centre = np.clip(x, 0, n_in - 1)
    width = abs(scale)
    if antialias and width > 1 + SNAP_VOXELS:
        low, high = np.clip(x + 0.5 - width / 2, 0, n_in), np.clip(x + 0.5 + width / 2, 0, n_in)
        low, high = (np.where(np.abs(v - np.rint(v)) < SNAP_VOXELS, np.rint(v), v) for v in (low, high))
        voxels = np.floor(low)[:, None] + np.arange(int(np.ceil(width)) + 1)
        weight = np.maximum(np.minimum(high[:, None], voxels + 1) - np.maximum(low[:, None], voxels), 0)
        empty = weight.sum(1) < SNAP_VOXELS
        voxels[empty], weight[empty] = np.rint(centre[empty])[:, None], 0
        weight[empty, 0] = 1
    else:
        voxels = np.floor(centre)[:, None] + np.arange(2)
        fraction = centre - np.floor(centre)
        weight = np.stack([1 - fraction, fraction], 1)
    weight = weight / weight.sum(1, keepdims=True)
    used = weight.any(0)
    index = np.clip(voxels[:, used], 0, n_in - 1).astype(np.int64)
    return Taps(
        torch.from_numpy(index), torch.from_numpy(weight[:, used].astype(np.float32)), torch.from_numpy(outside)
    )


def along_axis(image: torch.Tensor, axis: int, index: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Weighted sum of source voxels along one axis: `(..., n_in, ...)` to `(..., n_out, ...)`."""
    index, weight = index.to(image.device), weight.to(image.device, image.dtype)
    if index.shape[1] == 1 and bool((weight == 1).all()):
        in_place = index.shape[0] == image.shape[axis] and bool((index[:, 0].diff() == 1).all())
        return image if in_place else image.index_select(axis, index[:, 0])
    shape = [1] * image.ndim
    shape[axis] = index.shape[0]
    result = image.index_select(axis, index[:, 0]).mul_(weight[:, 0].view(shape))
    for k in range(1, index.shape[1]):
        result.addcmul_(image.index_select(axis, index[:, k]), weight[:, k].view(shape))
    return result


def sample(image: torch.Tensor, step, start, shape, *, origin=(0, 0, 0), fill: float | None = None) -> torch.Tensor:
    """Trilinear samples on an oblique grid, slab by slab.

    Args:
        image: `(..., I, J, K)` floats, part of a scan.
        step: `(4, 4)`, target index to source index of the whole scan.
        start: First target voxel along each axis.
        shape: Target voxels.
        origin: Index of the part's first voxel in the whole scan.
        fill: Value outside the part; None repeats its border.

    Returns:
        `(..., *shape)`.
    """
    lead, device, dtype = image.shape[:-3], image.device, torch.float32
    flat = image.reshape(1, -1, *image.shape[-3:]).to(dtype)
    size = torch.tensor(flat.shape[2:], dtype=torch.float64)
    matrix = torch.as_tensor(np.asarray(step), dtype=torch.float64)
    j, k = (torch.arange(n, dtype=torch.float64) + s for n, s in zip(shape[1:], start[1:], strict=True))
    result = torch.empty((flat.shape[1], *shape), dtype=dtype, device=device)
    rows = max(1, SLAB_VOXELS // max(shape[1] * shape[2], 1))
    for first in range(0, shape[0], rows):
        i = torch.arange(first, min(first + rows, shape[0]), dtype=torch.float64) + start[0]
        index = torch.stack(torch.meshgrid(i, j, k, indexing="ij"), -1)
        position = index @ matrix[:3, :3].T + matrix[:3, 3] - torch.tensor(origin, dtype=torch.float64)
        normal = ((position * 2 + 1) / size - 1).to(device, dtype)
        slab = F.grid_sample(flat, normal.flip(-1)[None], "bilinear", "border", align_corners=False)[0]
        if fill is not None:
            outside = ((position < -0.5 - SNAP_VOXELS) | (position > size - 0.5 + SNAP_VOXELS)).any(-1)
            slab.masked_fill_(outside.to(device), fill)
        result[:, first : first + slab.shape[1]] = slab
    return result.reshape(*lead, *shape)
