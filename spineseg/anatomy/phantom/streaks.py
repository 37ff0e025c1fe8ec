"""What metal does to the slices that it lies in: dark bands between two pieces, bright and dark rays around each."""

from __future__ import annotations

import numpy as np
import torch

from spineseg.anatomy.phantom.canvas import Canvas

METAL_HU = 2450.0  # nothing but metal is denser
_LEAST_MM2 = 15.0  # metal per slice below which no streak is seen
_RAYS = ((2, 5), (6, 12), (13, 24), (20, 40))  # how many rays each wave sends round the circle, at least and at most


def add_streaks(canvas: Canvas, rng: np.random.Generator) -> float:
    """Add streaks to the slices that hold metal, in the axial plane.

    Beam hardening darkens the line that joins two pieces; starved detectors and misplaced edges send out rays that fade
    with distance. Reduction software weakens both, so the strength is drawn.

    Args:
        canvas: Painted; `ct_hu` is changed in place.
        rng: Gives the same number of values whatever the canvas holds.

    Returns:
        HU of the rays near a piece of 100 mm2; 0 where the canvas holds no metal.
    """
    strength, dark = float(np.exp(rng.uniform(np.log(20.0), np.log(150.0)))), rng.uniform(0.6, 1.6)
    fade_mm = rng.uniform(25.0, 70.0)
    waves = [(int(rng.integers(low, high)), rng.uniform(0, 6.3), rng.normal(0.0, 0.08)) for low, high in _RAYS]
    has_metal = (canvas.ct_hu > METAL_HU).any(0).any(0).nonzero().flatten()
    if not len(has_metal):
        return 0.0
    low, high = max(int(has_metal[0]) - 1, 0), min(int(has_metal[-1]) + 2, canvas.shape[2])
    weight = (canvas.ct_hu[:, :, low:high] > METAL_HU).float()
    beside = torch.nn.functional.pad(weight, (1, 1))
    weight = 0.5 * weight + 0.25 * (beside[..., 2:] + beside[..., :-2])  # a detector row sees more than one slice
    area = weight.sum((0, 1)) * canvas.spacing[0] * canvas.spacing[1]
    is_streaked = area >= _LEAST_MM2
    if not is_streaked.any():
        return 0.0
    slices, weight, area = is_streaked.nonzero().flatten() + low, weight[..., is_streaked], area[is_streaked]
    x, y, z = canvas.coordinates(tuple(slice(0, n) for n in canvas.shape))
    z = z[..., slices]
    middle = (weight * x).sum((0, 1)) / weight.sum((0, 1))
    pieces = [_piece(weight * side, x, y) for side in ((x <= middle).float(), (x > middle).float())]
    size = (area / 100.0).clamp(0.2, 4.0).sqrt_()
    added = torch.zeros_like(weight)
    for cx, cy, share in pieces:
        dx, dy = x - cx, y - cy
        angle, away = torch.atan2(dy, dx), (dx * dx + dy * dy).sqrt_()
        rays = sum(torch.cos(n * angle + phase + drift * z) for n, phase, drift in waves) * 0.7
        added += rays * torch.exp(-away / fade_mm) * (strength * share * size)
    (ax, ay, _), (bx, by, _) = pieces
    length2 = ((bx - ax) ** 2 + (by - ay) ** 2).clamp(min=1.0)
    along = ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length2
    off2 = (x - ax - along * (bx - ax)) ** 2 + (y - ay - along * (by - ay)) ** 2
    between = (1.5 - (2.0 * along - 1.0).abs()).clamp_(0.0, 0.5) * 2.0
    added -= (
        between
        * torch.exp(-off2 / (2 * 5.0**2))
        * (dark * strength * size)
        * (length2 > 15.0**2)
        * pieces[0][2]
        * pieces[1][2]
    )
    added *= 1.0 - weight
    hu = canvas.ct_hu[:, :, slices]
    added *= 0.15 + 0.85 * (hu > -700.0)  # less in air, where every ray finds its way
    canvas.ct_hu[:, :, slices] = (hu + added).clamp_(min=-1024.0)
    return strength


def _piece(weight, x, y):
    """Centre of the metal per slice, and its share; where there is none the share is 0."""
    total = weight.sum((0, 1))
    cx, cy = ((weight * a).sum((0, 1)) / total.clamp(min=1.0) for a in (x, y))
    return cx, cy, (total > 0).float()
