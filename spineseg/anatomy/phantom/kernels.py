"""Sharpness of a reconstruction: smoothing in mm, as soft kernels do, and overshoot at edges, as bone kernels do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from spineseg.anatomy.phantom.ranges import within

_OVERSHOOT_MM = 1.1  # width of the halo beside an edge, standard deviation
_LEAST_TAP = 2e-3  # weights below this are not worth a pass over the image


@dataclass(frozen=True)
class Kernel:
    """What one reconstruction does to edges.

    Attributes:
        blur_mm: Standard deviation of the smoothing.
        overshoot: Share of the detail that is added a second time; 0 for soft kernels.
        slice_blur: Standard deviation of the slice profile as a share of the slice thickness; above about 0.3 the
            slices overlap.
    """

    blur_mm: float
    overshoot: float
    slice_blur: float


def draw_kernel(rng: np.random.Generator, spread: float = 1.0) -> Kernel:
    """Draw a kernel between smooth soft-tissue and edge-enhancing bone reconstructions.

    Args:
        rng: Gives the same number of values whatever is drawn.
        spread: Width of every range, see `ranges.within`.

    Returns:
        Half of the kernels overshoot.
    """
    blur_mm = within(rng, 0.15, 1.25, spread, least=0.0, most=1.8)
    overshoot = within(rng, -0.9, 1.1, spread, least=0.0, most=1.6)
    return Kernel(blur_mm, overshoot, within(rng, 0.0, 0.5, spread, least=0.0, most=0.8))


def sharpen_or_smooth(image: torch.Tensor, spacing, kernel: Kernel) -> torch.Tensor:
    """Apply a kernel to an image that was sampled voxel by voxel.

    Args:
        image: HU, `(I, J, K)`; not changed.
        spacing: Voxel size in mm.
        kernel: What to apply; the slices are taken to lie along the axis of the largest spacing.

    Returns:
        A new image; flat regions keep their HU.
    """
    slices, mean_mm = int(np.argmax(spacing)), float(np.prod(spacing)) ** (1 / 3)
    for d, step in enumerate(spacing):
        variance = kernel.blur_mm**2
        if d == slices:
            # a painted edge is as wide as a voxel of the mean size; a thick slice averages over all its thickness
            variance += (kernel.slice_blur * step) ** 2 + max(step**2 - mean_mm**2, 0.0) / 12
        image = _convolve(image, d, _taps(float(np.sqrt(variance)) / step, _OVERSHOOT_MM / step, kernel.overshoot))
    return image


def _taps(sigma, halo, overshoot):
    """Weights of a voxel's neighbours at 1, 2, .. on either side; the voxel's own makes the sum one."""
    soft = _gaussian(sigma)
    if overshoot > 0:
        wide = _gaussian(float(np.hypot(sigma, halo)))
        soft = np.pad(soft, (0, max(len(wide) - len(soft), 0)))
        soft = soft + overshoot * (soft - np.pad(wide, (0, len(soft) - len(wide))))
    return [float(w) for w in soft]


def _gaussian(sigma):
    """One-sided weights, their variance that of the Gaussian also where it is narrower than a voxel."""
    if sigma < 0.6:  # three taps that keep the variance; sampling the bell would lose it
        return np.array([0.5 * sigma**2])
    reach = np.arange(-3, 4) if sigma > 0.9 else np.arange(-2, 3)
    bell = np.exp(-0.5 * (reach / sigma) ** 2)
    return (bell / bell.sum())[len(reach) // 2 + 1 :]


def _convolve(image, axis, taps):
    """Symmetric filter along one axis; beyond the border the last voxel goes on."""
    count = image.shape[axis]
    taps = [w for w in taps[: count - 1]]
    while taps and abs(taps[-1]) < _LEAST_TAP:
        taps.pop()
    if not taps:
        return image.clone()
    out = image * (1.0 - 2.0 * sum(taps))
    first, last = image.narrow(axis, 0, 1), image.narrow(axis, count - 1, 1)
    for n, weight in enumerate(taps, start=1):
        out.narrow(axis, n, count - n).add_(image.narrow(axis, 0, count - n), alpha=weight)
        out.narrow(axis, 0, count - n).add_(image.narrow(axis, n, count - n), alpha=weight)
        out.narrow(axis, 0, n).add_(first, alpha=weight)
        out.narrow(axis, count - n, n).add_(last, alpha=weight)
    return out
