"""Sliding windows over a scan of any length: one slab of logits at a time, so memory does not grow with the scan."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from spineseg.anatomy.labels import N_CLASSES

Start = tuple[int, int, int]
PIECE = 16  # slices whose means exist at one time
SUM_DTYPE = {"cuda": torch.float16}  # of sums over windows; fp32 elsewhere


def starts(length: int, window: int, overlap_share: float) -> list[int]:
    """First indices of windows along one axis, evenly spread; neighbours share at least the overlap.

    Args:
        length: Voxels to cover.
        window: Voxels of a window.
        overlap_share: Of the window, in [0, 1).

    Returns:
        At least one start; the last window ends at `length` (or covers it whole).
    """
    if length <= window:
        return [0]
    step = max(1, int(window * (1 - overlap_share)))
    count = -(-(length - window) // step) + 1
    return [round(i * (length - window) / (count - 1)) for i in range(count)]


def wanted(region: np.ndarray | None, shape, window, overlap_share: float) -> tuple[Start, Start, list[Start]]:
    """Windows that cover a region of interest.

    Along K they are spread evenly over the region's box; across, each slab has its own few, about the middle of what
    the region holds there: a spine that bends through a wide box needs no windows beside it.

    Args:
        region: Boolean `(I, J, K)`, or None for everything.
        shape: Of the scan.
        window: Side lengths of a window.
        overlap_share: Of the window.

    Returns:
        First and past-the-end corner of the covered box, and the starts of the windows that touch the region, relative
        to the first corner and ordered along K. Empty for an empty region.
    """
    if region is None:
        axes = [starts(n, w, overlap_share) for n, w in zip(shape, window, strict=True)]
        return (0, 0, 0), tuple(shape), [(i, j, k) for k in axes[2] for i in axes[0] for j in axes[1]]
    extent = _extent(region)
    if extent is None:
        return (0, 0, 0), (0, 0, 0), []
    low, high = extent
    inside = region[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    chosen = []
    for k in starts(inside.shape[2], window[2], overlap_share):
        slab = inside[:, :, k : k + window[2]]
        held = _extent(slab)
        if held is None:
            continue
        across = [
            _about(first, end, n, w, overlap_share)
            for first, end, n, w in zip(held[0][:2], held[1][:2], inside.shape[:2], window[:2], strict=True)
        ]
        for i in across[0]:
            chosen += [(i, j, k) for j in across[1] if slab[i : i + window[0], j : j + window[1]].any()]
    return low, high, chosen


def _about(first: int, end: int, length: int, window: int, overlap_share: float) -> list[int]:
    """Starts along one axis of `length` voxels that cover `first` to `end`, with the same room at both sides."""
    spare = max(0, window - (end - first)) // 2
    last = max(0, length - window)
    return sorted({min(max(first - spare + s, 0), last) for s in starts(end - first, window, overlap_share)})


def _extent(region: np.ndarray) -> tuple[Start, Start] | None:
    """First and past-the-end corner of what is true; None if nothing is."""
    along = [np.flatnonzero(region.any(tuple(a for a in range(3) if a != d))) for d in range(3)]
    if not len(along[0]):
        return None
    return tuple(int(a[0]) for a in along), tuple(int(a[-1]) + 1 for a in along)


def averaged(
    values_of: Callable[[Start], Tensor], channels: int, low: Start, high: Start, windows: list[Start], window,
    device="cpu",
) -> Iterator[tuple[Start, Tensor, Tensor]]:  # fmt: skip
    """Average what overlapping windows say, one slab along K after the other.

    Args:
        values_of: Gives `(channels, *window)` for a window that begins at an index of the scan.
        channels: How many values a voxel has.
        low: First corner of the covered box.
        high: Past-the-end corner.
        windows: Starts relative to `low`, ordered along K.
        window: Side lengths of a window.
        device: Where sums are kept.

    Yields:
        First corner of a slab in the scan, its means `(channels, i, j, k)`, and `(i, j, k)` how many windows lie there.
    """
    across = [max(h - a, w) for a, h, w in zip(low[:2], high[:2], window[:2], strict=True)]
    size = [h - a for a, h in zip(low[:2], high[:2], strict=True)]
    # a ring along K: the slice k of the box lies at k modulo the window's depth
    dtype = SUM_DTYPE.get(torch.device(device).type, torch.float32)
    sums = torch.zeros(channels, *across, window[2], device=device, dtype=dtype)
    hits = torch.zeros(1, *across, window[2], device=device)
    for first, following, group in _slabs(windows, high[2] - low[2]):
        turn = first % window[2]
        for i, j, k in group:
            box = (slice(None), slice(i, i + window[0]), slice(j, j + window[1]))
            values = values_of((low[0] + i, low[1] + j, low[2] + k)).to(device)
            sums[(*box, slice(turn, None))] += values[..., : window[2] - turn]
            sums[(*box, slice(0, turn))] += values[..., window[2] - turn :]
            hits[box] += 1  # a window fills the whole ring
            del values  # before the next window is computed
        done = min(following - first, window[2])
        for start, stop in _pieces(first, first + done, window[2]):
            along = slice(start % window[2], start % window[2] + stop - start)
            part = (slice(None), slice(0, size[0]), slice(0, size[1]), along)
            yield (low[0], low[1], low[2] + start), sums[part] / hits[part].clamp(min=1), hits[part][0].clone()
            sums[..., along], hits[..., along] = 0, 0


def likeliest(means: Tensor) -> tuple[Tensor, Tensor]:
    """Largest of `(C, i, j, k)` and its channel as uint8, the first one of equals; several times as fast on a CPU as
    torch's own maximum over the first axis."""
    best, place = means[0].clone(), torch.zeros(means.shape[1:], dtype=torch.uint8, device=means.device)
    for channel in range(1, means.shape[0]):
        better = means[channel] > best
        place.masked_fill_(better, channel)
        torch.maximum(best, means[channel], out=best)
    return best, place


def label_by_windows(
    logits_of: Callable[[Start], Tensor], low: Start, high: Start, windows: list[Start], window, shape, device="cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """The class with the largest mean logit.

    Args:
        logits_of: Gives `(26, *window)` logits for a window that begins at an index of the scan.
        low: First corner of the covered box.
        high: Past-the-end corner.
        windows: Starts relative to `low`, ordered along K.
        window: Side lengths of a window.
        shape: Of the scan.
        device: Where sums are kept.

    Returns:
        `shape` uint8 labels, 0 where no window lies, and `(26,)` mean probability of the winning class over its voxels
        (nan for a class that won nowhere).
    """
    labels = np.zeros(shape, np.uint8)
    won, count = np.zeros(N_CLASSES), np.zeros(N_CLASSES)
    for corner, means, hits in averaged(logits_of, N_CLASSES, low, high, windows, window, device):
        best, place = likeliest(means)
        best = (best - means.logsumexp(0)).exp_()
        place[hits == 0] = 0
        flat = place.flatten().int()
        won += torch.bincount(flat, best.flatten().double(), N_CLASSES).cpu().numpy()
        count += torch.bincount(flat, minlength=N_CLASSES).cpu().numpy()
        target = tuple(slice(a, a + n) for a, n in zip(corner, place.shape, strict=True))
        labels[target] = place.cpu().numpy()
    return labels, np.divide(won, count, out=np.full(N_CLASSES, np.nan), where=count > 0)


def _pieces(first: int, end: int, depth: int) -> Iterator[tuple[int, int]]:
    """Cut slices `first` to `end` where a ring of some depth begins anew, and into at most `PIECE` each."""
    while first < end:
        stop = min(first + PIECE, end, (first // depth + 1) * depth)
        yield first, stop
        first = stop


def _slabs(windows: list[Start], length: int) -> Iterator[tuple[int, int, list[Start]]]:
    """Group windows by their start along K, with the start of the next group (or the end of the box)."""
    levels = sorted({k for _, _, k in windows})
    for first, following in zip(levels, [*levels[1:], length], strict=False):
        yield first, following, [w for w in windows if w[2] == first]
