"""Moving images and label maps between grids. Pure arrays; no file."""

from __future__ import annotations

import itertools

import numpy as np
import torch

from spineseg.data.affine import corner_shift_mm, grid_at, orientation_of, shear_degrees, spacing_of, to_canonical
from spineseg.data.interpolation import SNAP_VOXELS, Taps, along_axes, sample, taps

__all__ = [
    "back_to_original",
    "corner_shift_mm",
    "grid_at",
    "nearest_labels",
    "orientation_of",
    "resample_image",
    "resample_labels",
    "shear_degrees",
    "spacing_of",
    "to_canonical",
]

DRIFT_VOXELS = 1e-3  # over the whole target grid: axes that wander less count as parallel


def resample_image(image, affine, target_affine, target_shape, *, antialias: bool = True, fill: float | None = None):
    """Resample an image onto another grid by trilinear interpolation, averaging first where voxels grow.

    Grids with parallel axes (any permutation, flip, spacing, offset) are resampled one axis at a time, others by
    `grid_sample` after the averaging.

    Args:
        image: `(..., I, J, K)` tensor; whole numbers are turned into float32.
        affine: Of the image.
        target_affine: Of the wanted grid.
        target_shape: Of the wanted grid.
        antialias: Average over the size of a target voxel along axes where it is larger than the image's.
        fill: Value outside the image's field of view; None repeats its border.

    Returns:
        `(..., *target_shape)` tensor on the image's device; the image itself where its own grid is asked for.
    """
    image = image if image.is_floating_point() else image.float()
    step = _index_map(affine, target_affine)
    parallel = _parallel(step, target_shape)
    if parallel is None:
        if antialias and (coarser := _coarser(affine, image.shape[-3:], target_affine)):
            image, affine = resample_image(image, affine, *coarser), coarser[0]
            step = _index_map(affine, target_affine)
        return sample(image, step, (0, 0, 0), tuple(target_shape), fill=fill).to(image.dtype)
    lead = image.ndim - 3
    image = image.permute(*range(lead), *(lead + axis for axis, _, _ in parallel))
    plan = _plan(image.shape[lead:], target_shape, parallel, antialias)
    memory = sorted(range(3), key=lambda d: -image.stride(lead + d))  # neighbours in memory are the last axis
    result = along_axes(image.permute(*range(lead), *(lead + d for d in memory)), [plan[d] for d in memory])
    result = result.permute(*range(lead), *(lead + memory.index(d) for d in range(3)))
    if fill is not None:
        for d in range(3):
            if len(outside := plan[d].outside.nonzero()[:, 0]):
                result.index_fill_(lead + d, outside.to(image.device), fill)
    return result.contiguous()


def resample_labels(labels, affine, target_affine, target_shape, *, antialias: bool = False) -> torch.Tensor:
    """Resample a label map as if every class were interpolated linearly and the largest won; background outside.

    Each class is interpolated only inside its own bounding box, and a running maximum replaces the one-hot stack.
    Ties go to the smaller label, as `argmax` decides.

    Args:
        labels: `(I, J, K)` tensor of whole numbers 0 .. 255.
        affine: Of the label map.
        target_affine: Of the wanted grid.
        target_shape: Of the wanted grid.
        antialias: Weigh by volume (majority) along axes where voxels grow, in place of linear interpolation.

    Returns:
        `target_shape` uint8 tensor.
    """
    target_shape, labels = tuple(int(n) for n in target_shape), labels.to(torch.uint8)
    result = torch.zeros(target_shape, dtype=torch.uint8, device=labels.device)
    step = _index_map(affine, target_affine)
    parallel = _parallel(step, target_shape)
    if parallel is None:
        if antialias and (coarser := _coarser(affine, labels.shape, target_affine)):
            labels, affine = resample_labels(labels, affine, *coarser, antialias=True), coarser[0]
            step = _index_map(affine, target_affine)
        shares = _oblique_shares
    else:
        labels = labels.permute(*(axis for axis, _, _ in parallel)).contiguous()
        step = _plan(labels.shape, target_shape, parallel, antialias)
        shares = _parallel_shares
    foreground = _box(labels)
    if foreground is None:
        return result
    if parallel is not None and all(p.index.shape[1] == 1 for p in step):  # copies: nothing to vote on
        return _emptied(along_axes(labels, step).clone(memory_format=torch.contiguous_format), step)
    inside = labels[foreground]
    present = inside.reshape(-1).bincount().nonzero()[:, 0].tolist()
    for value in [0, *(v for v in present if v > 0)]:
        box = foreground if value == 0 else _box((inside == value).view(torch.uint8), foreground)
        found = shares(labels, value, box, step, target_shape)
        if found is None:
            if value == 0:  # the target grid lies beside every vertebra
                break
            continue
        window, share = found
        if value == 0:  # over everything that any class reaches
            whole, best = window, share
            continue
        view, chosen = (
            best[tuple(slice(w.start - f.start, w.stop - f.start) for w, f in zip(window, whole, strict=True))],
            result[window],
        )
        better = share > view
        torch.maximum(view, share, out=view)
        chosen.masked_fill_(better, value)
    return result if parallel is None else _emptied(result, step)


def nearest_labels(labels, affine, target_affine, target_shape) -> torch.Tensor:
    """Label of the nearest voxel; background outside. Takes any alignment.

    Args:
        labels: `(I, J, K)` tensor.
        affine: Of the label map.
        target_affine: Of the wanted grid.
        target_shape: Of the wanted grid.

    Returns:
        `target_shape` tensor of the same type.
    """
    step = torch.as_tensor(_index_map(affine, target_affine))
    result = torch.zeros(tuple(target_shape), dtype=labels.dtype, device=labels.device)
    j, k = (torch.arange(n, dtype=torch.float64) for n in target_shape[1:])
    size = torch.tensor(labels.shape)
    for i in range(target_shape[0]):  # one plane at a time: no array of positions for the whole scan
        position = step[:3, 3] + step[:3, 0] * i + step[:3, 1] * j[:, None, None] + step[:3, 2] * k[:, None]
        index = torch.floor(position + 0.5 - 1e-6).long()  # (J, K, 3)
        inside = ((index >= 0) & (index < size)).all(-1)
        picked = index.clamp_min(0).minimum(size - 1).to(labels.device)
        plane = labels[picked[..., 0], picked[..., 1], picked[..., 2]]
        result[i] = plane.masked_fill_(~inside.to(labels.device), 0)
    return result


def back_to_original(labels_working, affine_working, original_affine, original_shape, *, nearest: bool = False):
    """Bring a label map from a working grid onto the scan's own grid, whatever its orientation.

    Args:
        labels_working: `(I, J, K)` tensor or array of labels.
        affine_working: Of the working grid.
        original_affine: Of the scan.
        original_shape: Of the scan.
        nearest: Copy the nearest voxel in place of the smoother per-class linear vote.

    Returns:
        `original_shape` uint8 tensor.
    """
    labels = torch.as_tensor(labels_working)
    move = nearest_labels if nearest else resample_labels
    return move(labels, affine_working, original_affine, original_shape).to(torch.uint8)


def _index_map(affine, target_affine) -> np.ndarray:
    """`(4, 4)`, target index to source index."""
    return np.linalg.solve(np.asarray(affine, np.float64), np.asarray(target_affine, np.float64))


def _parallel(step: np.ndarray, target_shape) -> list[tuple[int, float, float]] | None:
    """Per target axis: source axis, scale, offset; None when the axes are not parallel."""
    matrix, drift = step[:3, :3], 0.0
    order = np.abs(matrix).argmax(0)
    if len(set(order.tolist())) < 3:
        return None
    for d, axis in enumerate(order):
        drift = max(drift, float(np.abs(np.delete(matrix[:, d], axis)).max()) * target_shape[d])
    if drift > DRIFT_VOXELS:
        return None
    return [(int(axis), float(matrix[axis, d]), float(step[axis, 3])) for d, axis in enumerate(order)]


def _plan(shape, target_shape, parallel, antialias: bool) -> list[Taps]:
    return [taps(shape[d], target_shape[d], scale, offset, antialias) for d, (_, scale, offset) in enumerate(parallel)]


def _coarser(affine, shape, target_affine) -> tuple[np.ndarray, tuple[int, int, int]] | None:
    """Grid along the source's axes with voxels as long as the target's along them; None if none is longer."""
    source, target = np.asarray(spacing_of(affine)), spacing_of(target_affine)
    directions = np.abs(np.linalg.inv(_unit(affine)) @ _unit(target_affine))
    wanted = np.maximum(source, (directions * target).max(1))
    if (wanted <= source * (1 + 1e-6)).all() or shear_degrees(affine) > 1e-3:
        return None
    return grid_at(affine, shape, tuple(wanted))


def _unit(affine) -> np.ndarray:
    return np.asarray(affine, np.float64)[:3, :3] / spacing_of(affine)


def _emptied(labels: torch.Tensor, plan: list[Taps]) -> torch.Tensor:
    """The same label map, background outside."""
    for d in range(3):
        labels.index_fill_(d, plan[d].outside.nonzero()[:, 0].to(labels.device), 0)
    return labels


def _box(labels: torch.Tensor, within=None) -> tuple[slice, slice, slice] | None:
    """Bounding box of what is not 0, as slices; shifted by the start of `within`."""
    slices, flat = [], labels.amax(2)  # of bytes: `any` takes 20 times as long
    for d, along in enumerate((flat.amax(1), flat.amax(0), labels.amax(0).amax(0))):
        used = along.nonzero()[:, 0]
        if not len(used):
            return None
        first = within[d].start if within else 0
        slices.append(slice(first + int(used[0]), first + int(used[-1]) + 1))
    return tuple(slices)


def _parallel_shares(labels, value, box, plan: list[Taps], target_shape):
    """Window of the target that `value` reaches and its share of every voxel there; one axis at a time."""
    window, source, part = [], [], []
    for d in range(3):
        index, weight, outside = plan[d]
        touches = ((index >= box[d].start) & (index < box[d].stop) & (weight > 0)).any(1).nonzero()[:, 0]
        if not len(touches):
            return None
        rows = slice(int(touches[0]), int(touches[-1]) + 1)
        low, high = int(index[rows].min()), int(index[rows].max()) + 1
        window.append(rows)
        source.append(slice(low, high))
        part.append(Taps(index[rows] - low, weight[rows], outside[rows]))
    return tuple(window), along_axes((labels[tuple(source)] == value).float(), part)


def _leaves(step: np.ndarray, start, stop, shape) -> bool:
    """Whether any voxel of a window of the target may lie outside the scan: if its corners do not, none does."""
    ends = np.array([[*c, 1] for c in itertools.product(*zip(start, stop - 1, strict=True))]) @ step[:3].T
    return bool(((ends < -0.5 + SNAP_VOXELS) | (ends > np.array(shape) - 0.5 - SNAP_VOXELS)).any())


def _oblique_shares(labels, value, box, step: np.ndarray, target_shape):
    """As `_parallel_shares`, for a target at an angle."""
    back = np.linalg.inv(step)
    corners = np.array([[*c, 1] for c in itertools.product(*((s.start - 1.01, s.stop + 0.01) for s in box))])
    reached = (corners @ back.T)[:, :3]
    start = np.maximum(np.floor(reached.min(0)).astype(int), 0)
    stop = np.minimum(np.ceil(reached.max(0)).astype(int) + 1, target_shape)
    if (start >= stop).any():
        return None
    source = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in box)
    if value == 0:
        source = (slice(0, None),) * 3
    shape, origin = tuple(int(n) for n in stop - start), tuple(s.start for s in source)
    part = (labels[source] == value).float()
    share = sample(part, step, start.tolist(), shape, origin=origin)
    if value and _leaves(step, start, stop, labels.shape):  # nothing beyond the scan
        inside = sample(torch.ones((1, 1, 1)).expand(labels.shape), step, start.tolist(), shape, fill=0.0)
        share.mul_(inside.to(share.device))
    return tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True)), share
