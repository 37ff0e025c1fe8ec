"""Interpolation along axes as a few weighted copies, and at arbitrary positions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

SNAP_VOXELS = 1e-4  # positions this close to a voxel centre are on it (affines are stored in float32)
CACHED_VOXELS = 250_000  # interpolated at once on a CPU: 1 MB of float32
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


def along_axes(image: torch.Tensor, plan: list[Taps]) -> torch.Tensor:
    """Weighted sums of source voxels along the last three axes: `(..., I, J, K)` to `(..., *n_out)`.

    All three axes of a few planes are done before the next planes are begun: what lies between two axes never leaves
    the cache, and no array of that size is made. The image itself comes back where nothing moves.
    """
    lead, shape = image.ndim - 3, [len(p.index) for p in plan]
    stays = [_stays(p, n) for p, n in zip(plan, image.shape[lead:], strict=True)]
    grows = [n_out > n_in for n_out, n_in in zip(shape, image.shape[lead:], strict=True)]
    if all(stays):
        return image
    if grows[0] and not all(stays[1:]):  # last, when the rest has shrunk
        smaller = along_axes(image, [_still(image.shape[lead]), *plan[1:]])
        return along_axes(smaller, [plan[0], *map(_still, shape[1:])])
    plan = [Taps(*(t.to(image.device) for t in p)) for p in plan]
    moving = sorted((d for d in (1, 2) if not stays[d]), key=lambda d: grows[d])
    result = image.new_empty((*image.shape[:lead], *shape))
    plane = max(image[..., :1, :, :].numel(), result[..., :1, :, :].numel(), 1)
    rows = max(1, CACHED_VOXELS // plane if image.device.type == "cpu" else shape[0])
    for first in range(0, shape[0], rows):
        done = slice(first, first + rows)
        part = _along_axis(image, lead, plan[0].index[done], plan[0].weight[done])
        for d in moving:
            part = _along_axis(part, lead + d, plan[d].index, plan[d].weight)
        result[..., done, :, :] = part
    return result


def _along_axis(image: torch.Tensor, axis: int, index: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    taken = [image.index_select(axis, index[:, k]) for k in range(min(index.shape[1], 2))]
    if len(taken) == 1:
        return taken[0]
    weight = weight.to(image.dtype).view(*weight.shape, *[1] * (image.ndim - 1 - axis))  # (n_out, k, 1, ...)
    if index.shape[1] == 2:
        return torch.lerp(*taken, weight[:, 1])
    result = taken[0].mul_(weight[:, 0]).addcmul_(taken[1], weight[:, 1])
    for k in range(2, index.shape[1]):
        result.addcmul_(image.index_select(axis, index[:, k]), weight[:, k])
    return result


def _still(n: int) -> Taps:
    return Taps(torch.arange(n)[:, None], torch.ones((n, 1)), torch.zeros(n, dtype=torch.bool))


def _stays(axis: Taps, n_in: int) -> bool:
    """Whether every voxel of an axis stays where it is."""
    index, _, outside = axis
    return index.shape == (n_in, 1) and torch.equal(index, _still(n_in).index) and not bool(outside.any())


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
    exact = {"dtype": torch.float64, "device": device if device.type == "cuda" else "cpu"}  # not every device has it
    size = torch.tensor(flat.shape[2:], **exact)
    matrix = torch.as_tensor(np.asarray(step), **exact)
    j, k = (torch.arange(n, **exact) + s for n, s in zip(shape[1:], start[1:], strict=True))
    result = torch.empty((flat.shape[1], *shape), dtype=dtype, device=device)
    rows = max(1, SLAB_VOXELS // max(shape[1] * shape[2], 1))
    for first in range(0, shape[0], rows):
        i = torch.arange(first, min(first + rows, shape[0]), **exact) + start[0]
        index = torch.stack(torch.meshgrid(i, j, k, indexing="ij"), -1)
        position = index @ matrix[:3, :3].T + matrix[:3, 3] - torch.tensor(origin, **exact)
        normal = ((position * 2 + 1) / size - 1).to(device, dtype)
        slab = F.grid_sample(flat, normal.flip(-1)[None], "bilinear", "border", align_corners=False)[0]
        if fill is not None:
            outside = ((position < -0.5 - SNAP_VOXELS) | (position > size - 0.5 + SNAP_VOXELS)).any(-1)
            slab.masked_fill_(outside.to(device), fill)
        result[:, first : first + slab.shape[1]] = slab
    return result.reshape(*lead, *shape)
